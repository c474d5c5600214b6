"""Every preset's family and mode makes a clip of tiny weights somewhere among the tests."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from studio.core.preset import load_presets
from studio.core.settings import ROOT

TESTS = ROOT / "tests"
DECLARED = re.compile(r"^COVERED\b", re.MULTILINE)
"""A test module that makes clips says which: (preset, mode), or (family, mode) where all presets
of the family differ in size alone."""


def covered() -> set[tuple[str, str]]:
    """All pairs that the tests declare; each declaration is the parameters of a test."""
    found: set[tuple[str, str]] = set()
    for path in sorted(TESTS.rglob("test_*.py")):
        if path != Path(__file__) and DECLARED.search(path.read_text(encoding="utf-8")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found |= set(importlib.import_module(name).COVERED)
    return found


PRESETS = load_presets([ROOT / "presets"])


def test_there_are_at_least_25_presets() -> None:
    assert len(PRESETS) >= 25


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_is_covered_in_every_mode(name: str) -> None:
    done = covered()
    family = PRESETS[name].family
    lacking = [m for m in PRESETS[name].modes if not {(name, m), (family, m)} & done]
    assert not lacking, f"{name}: {lacking} make no clip of tiny weights in any test"


def test_nothing_is_declared_that_is_not_there() -> None:
    pairs = {(x, m) for p in PRESETS.values() for m in p.modes for x in (p.id, p.family)}
    assert covered() <= pairs


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_says_licence_and_memory(name: str) -> None:
    preset = PRESETS[name]
    assert preset.weights.licence
    assert preset.memory.weights_bytes > 0
    assert preset.memory.activation_bytes > 0
    if preset.weights.source == "hub":
        assert preset.weights.licence_url.startswith("https://huggingface.co/")
        assert preset.weights.download_bytes >= preset.memory.transformer_bytes
