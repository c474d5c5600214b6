"""LoRA files: names of three tools, alpha, weights, and what does not belong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from studio.core.errors import WeightsError
from studio.core.request import Lora
from studio.models.lora import for_expert, merge_lora
from tests.parity import tiny

NAMES = {
    "diffusers": ("transformer.blocks.1.attn1.to_q", "lora_A.weight", "lora_B.weight"),
    "original": ("diffusion_model.blocks.1.self_attn.q", "lora_A.weight", "lora_B.weight"),
    "avatar": ("blocks.1.self_attn.q", "lora_A.default.weight", "lora_B.default.weight"),
    "kohya": ("lora_unet_blocks_1_self_attn_q", "lora_down.weight", "lora_up.weight"),
}


@pytest.fixture
def transformer() -> Any:
    return tiny.wan_transformer()


def write(path: Path, tensors: dict[str, torch.Tensor]) -> Lora:
    save_file({k: v.clone() for k, v in tensors.items()}, path)
    return Lora(path=str(path), weight=0.5)


def matrices(rank: int = 2, width: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    down = torch.randn(rank, width, generator=generator)
    return down, torch.randn(width, rank, generator=generator)


@pytest.mark.parametrize("tool", NAMES)
@pytest.mark.parametrize("alpha", [None, 1.0])
def test_a_file_changes_the_weights_by_the_rule(
    tool: str, alpha: float | None, transformer: Any, tmp_path: Path
) -> None:
    base, down_name, up_name = NAMES[tool]
    down, up = matrices()
    tensors = {f"{base}.{down_name}": down, f"{base}.{up_name}": up}
    if alpha is not None:
        tensors[f"{base}.alpha"] = torch.tensor(alpha)
    before = transformer.blocks[1].attn1.to_q.weight.detach().clone()
    assert merge_lora(transformer, write(tmp_path / "a.safetensors", tensors)) == 1
    # weight 0.5, rank 2: alpha 1 halves it once more
    scale = 0.5 * (1.0 if alpha is None else alpha / 2)
    torch.testing.assert_close(
        transformer.blocks[1].attn1.to_q.weight.detach(), before + scale * up @ down
    )


def test_several_files_add_up(transformer: Any, tmp_path: Path) -> None:
    base, down_name, up_name = NAMES["diffusers"]
    down, up = matrices()
    lora = write(tmp_path / "a.safetensors", {f"{base}.{down_name}": down, f"{base}.{up_name}": up})
    before = transformer.blocks[1].attn1.to_q.weight.detach().clone()
    merge_lora(transformer, lora)
    merge_lora(transformer, lora)
    torch.testing.assert_close(transformer.blocks[1].attn1.to_q.weight.detach(), before + up @ down)


def test_a_file_of_another_architecture_changes_nothing(transformer: Any, tmp_path: Path) -> None:
    base, down_name, up_name = NAMES["diffusers"]
    down, up = matrices()
    good = {f"{base}.{down_name}": down, f"{base}.{up_name}": up}
    before = {k: v.clone() for k, v in transformer.state_dict().items()}
    foreign = {"unet.down_blocks.0.to_q.lora_A.weight": down}
    wide = matrices(width=32)
    wrong_shape = {
        "transformer.blocks.0.attn1.to_k.lora_A.weight": wide[0],
        "transformer.blocks.0.attn1.to_k.lora_B.weight": wide[1],
    }
    half = {"transformer.blocks.0.attn1.to_k.lora_A.weight": down}
    for index, extra in enumerate((foreign, wrong_shape, half)):
        lora = write(tmp_path / f"{index}.safetensors", {**good, **extra})
        with pytest.raises(WeightsError, match=r"2 keys match.*unknown \(") as caught:
            merge_lora(transformer, lora)
        assert next(iter(extra)) in str(caught.value)
    assert all(torch.equal(v, before[k]) for k, v in transformer.state_dict().items())


def test_only_whole_safetensors_files_are_read(transformer: Any, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"x")
    (tmp_path / "b.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{}")
    for name, message in (("a.bin", "pickles"), ("b.safetensors", "not a whole"), ("c", "no LoRA")):
        with pytest.raises(WeightsError, match=message):
            merge_lora(transformer, Lora(path=str(tmp_path / name)))


def test_files_for_one_expert_go_to_it_alone() -> None:
    high, low, both = (Lora(path=f"{n}.safetensors") for n in ("x_HIGH_noise", "x_low", "x"))
    assert [for_expert(high, k, 2) for k in (0, 1)] == [True, False]
    assert [for_expert(low, k, 2) for k in (0, 1)] == [False, True]
    assert [for_expert(both, k, 2) for k in (0, 1)] == [True, True]
    assert for_expert(low, 0, 1)
