"""Sentences that were written in English elsewhere (by the worker, by errors), in other languages.

`assets/sentences.<language>.json` maps an English sentence with {names} to its translation. The
names match whatever stands there; what no sentence matches stays English.
"""

from __future__ import annotations

import json
import re
from functools import cache, lru_cache, partial
from pathlib import Path

ASSETS = Path(__file__).parent / "assets"
NAME = re.compile(r"\{(\w+)\}")


@lru_cache(maxsize=2048)
def translate(sentence: str, language: str) -> str:
    """`sentence` in `language`, or unchanged."""
    for pattern, template in _patterns(language):
        found = pattern.fullmatch(sentence)
        if found is not None:
            values = {k: translate(v, language) for k, v in found.groupdict().items()}
            return NAME.sub(partial(_filled, values), template)
    return sentence


def _filled(values: dict[str, str], name: re.Match[str]) -> str:
    return values.get(name[1], name[0])


@cache
def _patterns(language: str) -> list[tuple[re.Pattern[str], str]]:
    path = ASSETS / f"sentences.{language}.json"
    if not path.is_file():
        return []
    table: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    # The longest first: the most exact of two that match.
    ordered = sorted(table.items(), key=lambda pair: -len(NAME.sub("", pair[0])))
    return [(_pattern(english), other) for english, other in ordered]


def _pattern(english: str) -> re.Pattern[str]:
    seen: set[str] = set()
    parts = []
    at = 0
    for name in NAME.finditer(english):
        parts.append(re.escape(english[at : name.start()]))
        parts.append(f"(?P={name[1]})" if name[1] in seen else f"(?P<{name[1]}>.*?)")
        seen.add(name[1])
        at = name.end()
    return re.compile("".join([*parts, re.escape(english[at:])]), re.DOTALL)
