"""Blocks from their file: the same numbers, few bytes, nothing left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from studio.core.errors import WeightsError
from studio.models.layer_major import layer_major
from studio.models.offload import BlockStream, open_streamed, stream_of
from tests.parity import tiny

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("parts")
    tiny.wan_transformer().to(torch.bfloat16).save_pretrained(root / "transformer")
    whole = tiny.wan_transformer()
    flat = type(whole).from_config({**whole.config, "patch_size": (1, 1, 1)})
    flat.save_pretrained(root / "flat")
    tiny.umt5().save_pretrained(root / "text_encoder")
    return root


def streamed(folder: Path, dtype: torch.dtype) -> Any:
    from diffusers import WanTransformer3DModel

    config = WanTransformer3DModel.load_config(folder)
    return open_streamed(WanTransformer3DModel, config, folder, dtype, CPU)


def loaded(folder: Path, dtype: torch.dtype) -> Any:
    from diffusers import WanTransformer3DModel

    from studio.models.families.diffusers_parts import _align

    module = WanTransformer3DModel.from_pretrained(folder, torch_dtype=dtype).eval()
    _align(module)
    return module


def call(module: Any, frames: int, seed: int) -> dict[str, Any]:
    draw = torch.Generator().manual_seed(seed)
    config = module.config
    text = torch.randn(1, 6, config.text_dim, generator=draw)
    return {
        "hidden_states": torch.randn(1, config.in_channels, frames, 4, 4, generator=draw).to(
            module.dtype
        ),
        "timestep": torch.tensor([500.0]),
        "encoder_hidden_states": text.to(module.dtype),
        "return_dict": False,
    }


def stream(module: Any) -> BlockStream:
    found = stream_of(module)
    assert found is not None
    return found


@pytest.mark.parametrize("part", ["transformer", "flat"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@torch.no_grad()
def test_a_streamed_transformer_gives_the_same_bits(
    part: str, dtype: torch.dtype, folder: Path
) -> None:
    ours, theirs = streamed(folder / part, dtype), loaded(folder / part, dtype)
    given = call(theirs, 2, 1)
    assert torch.equal(ours(**given)[0], theirs(**given)[0])
    kinds = {name: p.dtype for name, p in theirs.named_parameters()}
    assert kinds == {name: p.dtype for name, p in ours.named_parameters()}
    assert all(p.is_meta for block in ours.blocks for p in block.parameters())
    assert stream(ours).bytes_read == stream(ours).file_bytes


@torch.no_grad()
def test_a_streamed_text_encoder_gives_the_same_bits(folder: Path) -> None:
    from transformers import UMT5Config, UMT5EncoderModel

    path = folder / "text_encoder"
    theirs = UMT5EncoderModel.from_pretrained(path).eval()
    config = UMT5Config.from_pretrained(path)
    ours = open_streamed(UMT5EncoderModel, config, path, torch.float32, CPU)
    tokens = torch.tensor([[3, 4, 5, 1]])
    made = ours(tokens, torch.ones_like(tokens)).last_hidden_state
    assert torch.equal(made, theirs(tokens, torch.ones_like(tokens)).last_hidden_state)
    assert stream(ours).loads == config.num_layers


@torch.no_grad()
def test_layer_major_reads_each_block_once_for_all_calls(folder: Path) -> None:
    ours = streamed(folder / "flat", torch.float32)
    calls = [call(ours, frames, seed) for seed, frames in enumerate((2, 3, 2, 2, 1, 3, 2, 2))]
    one_by_one = [ours(**given)[0] for given in calls]
    before = stream(ours).bytes_read
    together = layer_major(ours, calls)
    assert stream(ours).bytes_read - before == stream(ours).file_bytes
    assert all(torch.equal(a, b) for a, b in zip(together, one_by_one, strict=True))
    assert len(ours.blocks) == ours.config.num_layers


@torch.no_grad()
def test_an_error_inside_a_block_leaves_nothing_behind(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = streamed(folder / "transformer", torch.bfloat16)
    given = call(ours, 2, 1)
    good = ours(**given)[0]

    def broken(*_args: Any, **_named: Any) -> Any:
        raise torch.OutOfMemoryError("in the block")

    with monkeypatch.context() as patched:
        patched.setattr(ours.blocks[1], "forward", broken)
        with pytest.raises(torch.OutOfMemoryError):
            ours(**given)
        with pytest.raises(torch.OutOfMemoryError):
            layer_major(ours, [given, given])
    assert all(p.is_meta for block in ours.blocks for p in block.parameters())
    assert torch.equal(ours(**given)[0], good)


@torch.no_grad()
def test_a_file_that_changes_is_noticed(tmp_path: Path) -> None:
    tiny.wan_transformer().save_pretrained(tmp_path)
    ours = streamed(tmp_path, torch.float32)
    with next(tmp_path.glob("*.safetensors")).open("r+b") as file:
        file.seek(-4, 2)
        file.write(b"\0\0\0\0\0\0")
    with pytest.raises(WeightsError, match="changed"):
        ours(**call(ours, 2, 1))


def test_keys_that_do_not_fit_are_listed(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    tiny.wan_transformer().save_pretrained(tmp_path)
    [path] = tmp_path.glob("*.safetensors")
    tensors = load_file(path)
    tensors["blocks.0.extra"] = tensors.pop("proj_out.weight")
    save_file(tensors, path)
    with pytest.raises(WeightsError, match=r"proj_out\.weight.*blocks\.0\.extra"):
        streamed(tmp_path, torch.float32)
