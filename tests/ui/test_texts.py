"""The words of the interface."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import studio.ui
from studio.ui.texts import texts


def holes(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def test_chinese_has_every_english_sentence_with_the_same_holes():
    english, chinese = texts("en").words, texts("zh-CN").words
    own = {key for key in english if not key.startswith("example.")}
    same = {key for key in own if english[key] == chinese[key]}
    assert same <= {"generate.hint", "fit.size"}
    assert {k for k in english if holes(english[k]) != holes(chinese[k])} == set()


def test_unknown_language_is_english():
    assert texts("xx").language == "en"
    assert texts("../../etc").language == "en"


def test_every_word_that_the_code_asks_for_is_there():
    words = texts("en").words
    source = "".join(p.read_text() for p in Path(studio.ui.__path__[0]).rglob("*.py"))
    asked = set(re.findall(r"""\bt\(\s*["']([a-z0-9_.]+)["']""", source))
    assert len(asked) > 30
    assert asked - set(words) == set()
