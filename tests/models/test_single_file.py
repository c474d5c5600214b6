"""A checkpoint in the original layout gives the same weights as its diffusers folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from studio.core.errors import WeightsError
from studio.models.family import family_for
from studio.models.lora import WAN_NAMES
from studio.models.manager import ModelManager
from tests.parity import tiny


def original_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """`state` of a diffusers Wan under the names of the published code."""
    found = {}
    for key, value in state.items():
        name = key
        for theirs, ours in sorted(WAN_NAMES.items(), key=lambda pair: -len(pair[1])):
            head, middle, tail = name.partition(f"{ours}.")
            if middle and (not head or head.endswith(".")):
                name = f"{head}{theirs}.{tail}"
                break
        if name == "scale_shift_table":
            name = "head.modulation"
        found[name.replace("scale_shift_table", "modulation")] = value.clone()
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny.wan_pipeline("t2v").save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_the_weights_are_the_same(prefix: str, folder: Path, tmp_path: Path) -> None:
    other = tiny.wan_transformer(seed=77)
    path = tmp_path / "wan.safetensors"
    names = original_names(other.state_dict())
    assert "blocks.0.self_attn.q.weight" in names
    save_file({prefix + k: v for k, v in names.items()}, path)
    models = ModelManager(2**33)
    preset = tiny.preset_for(folder, ("t2v",), options={"transformer_file": str(path)})
    with models.use(family_for(preset).components()["transformer"]) as loaded:
        state = loaded.state_dict()
    assert all(torch.equal(v, state[k]) for k, v in other.state_dict().items())


def test_a_file_that_does_not_fit_is_refused_with_the_list(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "wan.safetensors"
    names = original_names(tiny.wan_transformer().state_dict())
    del names["blocks.1.ffn.0.bias"]
    names["extra.weight"] = torch.zeros(1)
    save_file(names, path)
    models = ModelManager(2**33)
    preset = tiny.preset_for(folder, ("t2v",), options={"transformer_file": str(path)})
    message = r"1 are missing \(blocks\.1\.ffn\.net\.0\.proj\.bias\) and 1 are unknown \(extra"
    with (
        pytest.raises(WeightsError, match=message),
        models.use(family_for(preset).components()["transformer"]),
    ):
        pass
    assert models.resident_bytes() == 0


def test_a_pickle_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "wan.pt").write_bytes(b"x")
    options = {"transformer_file": str(tmp_path / "wan.pt")}
    preset = tiny.preset_for(folder, ("t2v",), options=options)
    with pytest.raises(WeightsError, match="models convert"):
        family_for(preset).components()
