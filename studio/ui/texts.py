"""All words of the interface, by language; what is missing in one language is said in English."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from studio.ui.sentences import translate

ASSETS = Path(__file__).parent / "assets"
LANGUAGES = ("en", "zh")


@dataclass(frozen=True)
class Texts:
    """`texts("key", name=value)` is the sentence called key."""

    language: str
    words: dict[str, str]

    def __call__(self, key: str, **values: object) -> str:
        return self.words[key].format(**values) if values else self.words[key]

    def said(self, sentence: object) -> str:
        """A sentence of the worker's or of an error's in this language, as far as it is known."""
        return translate(str(sentence), self.language)


@cache
def _load(language: str) -> dict[str, str]:
    path = ASSETS / f"words.{language}.json"
    words: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return words


def texts(language: str) -> Texts:
    """The words of `language` ("en", "zh", "zh-CN", ...); English for unknown languages."""
    short = language.lower().replace("_", "-").split("-")[0]
    known = short if (ASSETS / f"words.{short}.json").is_file() and short in LANGUAGES else "en"
    return Texts(language=known, words={**_load("en"), **_load(known)})
