"""Fetching, checking and converting weights without a network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from studio.core.errors import PresetError, WeightsError
from studio.models import hub
from studio.models.weights import LoadReport, count_elements, fingerprint, read_header, weight_files
from tests.parity import tiny


def test_a_partial_load_is_refused_with_the_list() -> None:
    LoadReport(5).require_complete("x")
    report = LoadReport(5, tuple(f"a{i}" for i in range(20)), ("b",))
    with pytest.raises(WeightsError, match=r"5 keys match, 20 are missing \(a0, .*\.\.\.\) and 1"):
        report.require_complete("x")


def test_all_shards_of_an_index_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(
        '{"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}'
    )
    save_file({"a": torch.zeros(3)}, tmp_path / "one.safetensors")
    with pytest.raises(WeightsError, match=r"lacks 1 of 2 weight files \(two"):
        weight_files(tmp_path)
    save_file({"b": torch.zeros(4)}, tmp_path / "two.safetensors")
    assert [p.name for p in weight_files(tmp_path)] == ["one.safetensors", "two.safetensors"]
    assert count_elements(tmp_path) == 7


def test_a_fingerprint_changes_with_the_content(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"one")
    before = fingerprint([path])
    os.utime(path, (1, 1))
    assert fingerprint([path]) == before, "small files are known by content"
    path.write_bytes(b"two")
    assert fingerprint([path]) != before


def test_a_header_that_lies_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    for data in (b"", b"\xff" * 16, b"\x02" + b"\0" * 7 + b"[]", b"\x02" + b"\0" * 7 + b"{}more"):
        path.write_bytes(data)
        with pytest.raises(WeightsError, match="not a whole safetensors file"):
            read_header(path)


def test_pull_fetches_neither_code_nor_pickles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def download(repo: str, **options: Any) -> str:
        asked.append((repo, options))
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    weights = {"source": "hub", "path": "some/model", "licence": "MIT", "adapters": ["an/adapter"]}
    assert hub.pull(tiny.preset_for(tmp_path, ("t2v",), weights=weights)) == tmp_path
    assert [repo for repo, _ in asked] == ["some/model", "an/adapter"]
    assert all("*.bin" not in options["allow_patterns"] for _, options in asked)
    with pytest.raises(PresetError, match="nothing is to be fetched"):
        hub.pull(tiny.preset_for(tmp_path, ("t2v",)))


def test_pull_without_a_network_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(repo: str, **options: Any) -> str:
        raise ConnectionError("no route")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    weights = {"source": "hub", "path": "some/model", "licence": "MIT"}
    with pytest.raises(WeightsError, match="check the network"):
        hub.pull(tiny.preset_for(tmp_path, ("t2v",), weights=weights))


def test_verify_names_what_is_damaged(tmp_path: Path) -> None:
    tiny.wan_pipeline("t2v").save_pretrained(tmp_path)
    preset = tiny.preset_for(tmp_path, ("t2v",))
    assert {r.part: r.problem for r in hub.verify(preset)} == {
        "text_encoder": "",
        "transformer": "",
        "vae": "",
    }
    path = tmp_path / "vae" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    (damaged,) = (r for r in hub.verify(preset) if r.problem)
    assert damaged.part == "vae"
    assert "download it again" in damaged.problem
