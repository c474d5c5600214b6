"""What the worker and the planner say is said in Chinese too; nothing new is forgotten."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from studio.core.settings import ROOT
from studio.ui.sentences import ASSETS, translate

TABLE = json.loads((ASSETS / "sentences.zh.json").read_text(encoding="utf-8"))
FOLDERS = ("jobs", "stitching")
SAYS = ("Notice", "notice")
LETTERS = "abcdefghijkl"


def sentences(path: Path) -> set[str]:
    """Sentences of errors and notices of a module; what is filled in is called {a}, {b}, ..."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if name in SAYS or (name.endswith("Error") and name != "ValueError"):
            found |= {template(arg) for arg in node.args} - {""}
    return {text for text in found if " " in text and len(text) > 25}


def template(node: ast.expr) -> str:
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    text, count = "", 0
    for part in parts:
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            text += part.value
        elif isinstance(node, ast.JoinedStr):
            text += f"{{{LETTERS[count]}}}"
            count += 1
    return text


@pytest.mark.parametrize("folder", FOLDERS)
def test_nothing_is_forgotten(folder):
    said = {s for path in (ROOT / "studio" / folder).glob("*.py") for s in sentences(path)}
    assert len(said) > 10
    assert sorted(said - set(TABLE)) == []


def test_every_translation_fills_in_the_same_names():
    for english, chinese in TABLE.items():
        assert set(re.findall(r"\{(\w)\}", english)) == set(re.findall(r"\{(\w)\}", chinese)), (
            english
        )
        assert re.search(r"[\u4e00-\u9fff]", chinese), english


def test_a_sentence_is_translated_with_what_it_says():
    said = "wan2.1-t2v-14b makes at most 30 s (got 60 s); ask for 30 s or less"
    assert translate(said, "zh") == "wan2.1-t2v-14b 最长 30 秒(现在是 60 秒);请不超过 30 秒"
    assert translate(said, "en") == said
    assert translate("no such sentence {a}", "zh") == "no such sentence {a}"
    assert translate("the disk of D is full; free some space", "zh").startswith("D 所在磁盘")


def test_every_model_is_described_in_chinese():
    from studio.core.preset import load_presets
    from studio.ui.texts import texts

    t = texts("zh")
    for preset in load_presets([ROOT / "presets"]).values():
        said = t.words.get(f"model.{preset.id}") or t.said(preset.description)
        assert re.search(r"[\u4e00-\u9fff]", said), preset.id
