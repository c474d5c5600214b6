"""Word lists of the rules: shipped in words.toml, with a user's director.toml in front."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from studio.core.errors import PresetError
from studio.director.shots import CAMERA_MOVES

SHIPPED = Path(__file__).with_name("words.toml")
CJK = "\u3400-\u9fff\uf900-\ufaff"
_CJK_RUN = re.compile(f"[{CJK}]+")


@dataclass(frozen=True)
class Entry:
    """One meaning, the words a person may use for it, and what a composed text says."""

    means: str
    words: tuple[str, ...]
    en: str
    zh: str

    def text(self, language: str) -> str:
        """How `language` ("en" or "zh") says it."""
        return self.zh if language == "zh" else self.en


@dataclass(frozen=True)
class Words:
    """All lists, in the order in which they are tried."""

    camera: tuple[Entry, ...]
    light: tuple[Entry, ...]
    style: tuple[Entry, ...]
    shot_type: tuple[Entry, ...]
    pocket: dict[str, tuple[Entry, ...]]


def _listed(row: dict[str, Any]) -> tuple[str, ...]:
    words = row["words"]
    return (words,) if isinstance(words, str) else tuple(map(str, words))


def _entries(rows: Sequence[dict[str, Any]], where: str) -> tuple[Entry, ...]:
    try:
        return tuple(
            Entry(str(r.get("means", r.get("move"))), _listed(r), str(r["en"]), str(r["zh"]))
            for r in rows
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise PresetError(
            f"{where}: an entry needs words, en and zh ({error} is missing); add it"
        ) from error


def load_words(user_file: Path | None = None) -> Words:
    """The shipped lists with the user's entries in front; a file that changed is read again.

    Raises:
        PresetError: when the user's file is not TOML, an entry lacks a key or a move is unknown.
    """
    try:
        changed = user_file.stat().st_mtime_ns if user_file is not None else 0
    except OSError:
        return _load(None, 0)
    return _load(user_file, changed)


@lru_cache(maxsize=8)
def _load(user_file: Path | None, changed: int) -> Words:
    del changed
    shipped = tomllib.loads(SHIPPED.read_text(encoding="utf-8"))
    own: dict[str, Any] = {}
    if user_file is not None and user_file.is_file():
        try:
            own = tomllib.loads(user_file.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
            raise PresetError(f"{user_file.name} is not TOML: {error}; correct it") from error
    where = user_file.name if user_file is not None else SHIPPED.name
    moves = [row.get("move") for row in own.get("camera", []) if isinstance(row, dict)]
    unknown = next((move for move in moves if move not in CAMERA_MOVES), None)
    if unknown is not None:
        raise PresetError(f"{where}: {unknown!r} is no camera move; take {', '.join(CAMERA_MOVES)}")

    def both(kind: str) -> tuple[Entry, ...]:
        return _entries([*own.get(kind, []), *shipped[kind]], where)

    pocket = {
        slot: tuple(Entry(value, tuple(words), value, value) for value, words in table.items())
        for slot, table in shipped["pocket"].items()
    }
    return Words(both("camera"), both("light"), both("style"), both("shot_type"), pocket)


@lru_cache(maxsize=2048)
def _pattern(word: str) -> re.Pattern[str]:
    if _CJK_RUN.search(word):
        return re.compile(re.escape(word))
    return re.compile(rf"(?<![\w-]){re.escape(word)}(?![\w-])", re.IGNORECASE)


def find(text: str, entries: Sequence[Entry]) -> Entry | None:
    """The entry whose longest word occurs in `text`; of equally long ones the earliest in it."""
    best: tuple[int, int, Entry] | None = None
    low = text.lower()
    for entry in entries:
        for word in entry.words:
            # Most words are not there at all, which `in` tells thirty times faster than a pattern.
            if word.lower() not in low:
                continue
            match = _pattern(word).search(text)
            if match is not None and (best is None or (-len(word), match.start()) < best[:2]):
                best = (-len(word), match.start(), entry)
    return best[2] if best else None


def spans(text: str, entries: Sequence[Entry]) -> Iterator[tuple[int, int]]:
    """Where words of `entries` occur in `text`."""
    low = text.lower()
    for entry in entries:
        for word in (w for w in entry.words if w.lower() in low):
            for match in _pattern(word).finditer(text):
                yield match.span()


def language_of(text: str) -> str:
    """ "zh" when at least a third of the letters are Chinese characters, else "en"."""
    chinese = sum(len(run) for run in _CJK_RUN.findall(text))
    letters = sum(c.isalpha() for c in text)
    return "zh" if letters and 3 * chinese >= letters else "en"


def count_words(text: str) -> int:
    """Words of a text: what blanks separate; a run of Chinese counts a word for two characters."""
    latin = _CJK_RUN.sub(" ", text)
    chinese = sum(-(-len(run) // 2) for run in _CJK_RUN.findall(text))
    return sum(any(c.isalnum() for c in w) for w in latin.split()) + chinese
