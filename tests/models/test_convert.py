"""Pickled weights become safetensors; pickled code does not run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from studio.core.errors import WeightsError
from studio.models.convert import convert


class Trap:
    """Unpickles by running a command."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.proof}",)


def test_tensors_are_kept_wherever_training_code_put_them(tmp_path: Path) -> None:
    base = torch.arange(6.0)
    weights = {"a": base.view(2, 3), "b": base[2:4], "steps": 7}
    torch.save({"epoch": 3, "module": {"state_dict": weights}}, tmp_path / "w.pt")
    found = convert(tmp_path / "w.pt", tmp_path / "w.safetensors")
    assert (found["tensors"], found["dropped"]) == (2, ["steps"])
    loaded = load_file(tmp_path / "w.safetensors")
    assert torch.equal(loaded["a"], weights["a"])
    assert torch.equal(loaded["b"], weights["b"])


def test_code_in_a_pickle_does_not_run(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    torch.save({"a": torch.zeros(1), "trap": Trap(proof)}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="not a plain weights file"):
        convert(tmp_path / "w.pt", tmp_path / "w.safetensors")
    assert not proof.exists()
    assert not (tmp_path / "w.safetensors").exists()


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04broken"])
def test_what_is_no_weights_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(WeightsError):
        convert(tmp_path / "w.pt", tmp_path / "w.safetensors")


def test_a_file_without_tensors_is_refused(tmp_path: Path) -> None:
    torch.save({"steps": 7}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="no tensors"):
        convert(tmp_path / "w.pt", tmp_path / "w.safetensors")
