"""Wildcards: `__colour__` in a prompt becomes a line of colour.txt, chosen by the request's seed.

Built-in lists lie in wildcards/ beside this file, a person's own in wildcards/ of the data
directory; of two with one name the person's counts. A name is looked up, never used as a path.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studio.core.errors import RequestError

SHIPPED = Path(__file__).with_name("wildcards")
MAX_BYTES = 2**20
MAX_ROUNDS = 8
MAX_CHARS = 20_000
_NAME = re.compile(r"__([A-Za-z0-9]+(?:[_-][A-Za-z0-9]+)*)__")
Lists = Mapping[str, tuple[str, ...]]


def has_wildcards(text: str) -> bool:
    """Whether `text` names a wildcard."""
    return _NAME.search(text) is not None


def load_wildcards(data_dir: Path) -> dict[str, tuple[str, ...]]:
    """The lists by name, in lower case; blank lines and those after # are no choices.

    Raises:
        RequestError: for a file that is too large or no text.
    """
    found: dict[str, tuple[str, ...]] = {}
    for folder in (SHIPPED, data_dir / "wildcards"):
        for path in sorted(folder.glob("*.txt")):
            found[path.stem.lower()] = _read(path)
    return {name: lines for name, lines in found.items() if lines}


def _read(path: Path) -> tuple[str, ...]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise RequestError(f"wildcards/{path.name} has more than 1 MB; split it")
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"wildcards/{path.name} is no UTF-8 text; save it as such") from error
    return tuple(line for line in lines if line and not line.startswith("#"))


def expand(text: str, seed: int, lists: Lists) -> str:
    """`text` with every wildcard replaced; the same seed, text and lists give the same words.

    Raises:
        RequestError: for a name that no list has, or lists that name each other without end.
    """
    for turn in range(MAX_ROUNDS):
        if not has_wildcards(text):
            return text
        parts, last = [], 0
        for number, match in enumerate(_NAME.finditer(text)):
            parts += [text[last : match.start()], _choice(match[1], (seed, turn, number), lists)]
            last = match.end()
        text = "".join([*parts, text[last:]])
        if len(text) > MAX_CHARS:
            break
    raise RequestError("these wildcards name each other without end; correct their text files")


def _choice(name: str, place: tuple[int, int, int], lists: Lists) -> str:
    lines = lists.get(name.lower())
    if lines is None:
        raise RequestError(
            f"there is no wildcard __{name[:40]}__; take one of {', '.join(sorted(lists))[:300]}, "
            "or write wildcards/NAME.txt in the data directory"
        )
    digest = hashlib.sha256(f"{place}:{name.lower()}".encode()).digest()
    return lines[int.from_bytes(digest[:8], "big") % len(lines)]


def expand_request(data: Mapping[str, Any], data_dir: Path) -> dict[str, Any]:
    """A request's plain data with its prompts expanded by its seed.

    The prompt as it was written is kept as `idea`, unless a director's idea stands there already:
    metadata holds both, and reproducing a clip needs no list.

    Raises:
        RequestError: as `expand` does.
    """
    plain = dict(data)
    prompt, seed = str(plain.get("prompt") or ""), plain.get("seed", 0)
    shots = plain.get("shots") or ()
    known = isinstance(shots, list | tuple) and all(isinstance(s, Mapping) for s in shots)
    texts = [prompt, *(str(s.get("prompt", "")) for s in shots)] if known else [prompt]
    if not isinstance(seed, int) or not any(map(has_wildcards, texts)):
        return plain
    lists = load_wildcards(data_dir)
    if not plain.get("idea"):
        plain["idea"] = "; ".join(text for text in texts if text)
    plain["prompt"] = expand(prompt, seed, lists)
    if known and shots:
        # Each shot draws for itself.
        plain["shots"] = [
            {**shot, "prompt": expand(str(shot.get("prompt", "")), seed + number, lists)}
            for number, shot in enumerate(shots)
        ]
    return plain
