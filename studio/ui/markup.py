"""Small pieces of HTML. Everything a person or a file may have written goes through `esc`."""

from __future__ import annotations

import json
from functools import cache
from html import escape
from math import floor
from pathlib import Path

ASSETS = Path(__file__).parent / "assets"


@cache
def _drawings() -> dict[str, str]:
    """SVG paths on a 24 x 24 field, by name."""
    paths: dict[str, str] = json.loads((ASSETS / "icons.json").read_text(encoding="utf-8"))
    return paths


def esc(text: object) -> str:
    """`text` as it may stand in HTML text and in quoted attributes."""
    return escape(str(text), quote=True)


def icon(name: str) -> str:
    """A small drawing that takes the colour of the text around it; silent for screen readers."""
    path = _drawings()[name]
    return f'<svg class="vs-icon" viewBox="0 0 24 24" aria-hidden="true"><path d="{path}"/></svg>'


def button(event: str, do: str, target: str, label: str, *, look: str = "", mark: str = "") -> str:
    """A button that says `event` with {do, id}; with `mark` an icon and the label as its name."""
    inside = f"{icon(mark)}<span>{esc(label)}</span>" if mark else esc(label)
    return (
        f'<button type="button" class="vs-button {look}" data-event="{event}" data-do="{esc(do)}" '
        f'data-id="{esc(target)}" title="{esc(label)}" aria-label="{esc(label)}">{inside}</button>'
    )


def chip(label: str, value: object) -> str:
    """A fact: what it is and its value."""
    return f'<span class="vs-chip"><b>{esc(label)}</b> {esc(value)}</span>'


def duration(seconds: float) -> str:
    """A time span as people read it: 4 s, 1 min 20 s, 2 h 5 min."""
    whole = max(0, floor(seconds + 0.5))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(count: float) -> str:
    """A number of bytes as people read it: 512 KB, 3.4 MB, 12 GB."""
    value, units = count / 1024, ["KB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{number(value, 1 if value < 10 else 0)} {units[0]}"


def number(value: float, digits: int = 1) -> str:
    """A number without needless zeros."""
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def shorten(text: str, length: int = 140) -> str:
    """`text`, at most `length` characters of it."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"
