"""A shot list while a person edits it: the idea, what it became, and what may be done to it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Literal

from pydantic import Field, ValidationError

from studio.core.errors import RequestError
from studio.core.preset import Preset
from studio.core.request import Frozen
from studio.director.rewrite import Writer, rewrite
from studio.director.rules import compose, split_moments
from studio.director.shots import Backend, DirectedShot, DirectorMode, Rewrite
from studio.director.words import CJK

MAX_CARDS = 32
MAX_CHARS = 200_000
LEAST_SECONDS = 0.1
Change = Literal["same", "gone", "new"]


class Cards(Frozen):
    """The cards of one form."""

    original: str
    mode: DirectorMode
    backend: Backend = "rules"
    notes: tuple[str, ...] = ()
    shots: tuple[DirectedShot, ...] = Field(min_length=1, max_length=MAX_CARDS)

    @property
    def text(self) -> str:
        """All prompts, one a line."""
        return "\n".join(shot.text for shot in self.shots)


def cards_of(result: Rewrite) -> Cards:
    """A rewrite as cards."""
    kept = result.model_dump(include={"original", "mode", "backend", "notes"})
    return Cards(shots=result.shots[:MAX_CARDS], **kept)


def read_cards(text: object) -> Cards | None:
    """Cards from JSON that a browser kept; None for an empty text.

    Raises:
        RequestError: if it is not a shot list.
    """
    said = str(text or "").strip()
    if not said:
        return None
    try:
        if len(said) > MAX_CHARS:
            raise ValueError("too long")
        return Cards.model_validate_json(said)
    except (ValidationError, ValueError) as error:
        raise RequestError(
            "the shot list cannot be read; every shot needs a text, 0.1 to 600 seconds and a "
            "camera move: correct it or rewrite the idea again"
        ) from error


def edited(cards: Cards, shots: Sequence[DirectedShot], preset: Preset) -> Cards:
    """The cards with `shots`; the prompt of one whose fields changed is composed anew."""
    fresh = []
    for index, shot in enumerate(shots):
        before = cards.shots[index] if index < len(cards.shots) else None
        same = before is not None and _fields(before) == _fields(shot)
        text = before.text if same and before is not None else compose(shot, preset)
        fresh.append(shot.model_copy(update={"text": text}))
    return cards.model_copy(update={"shots": tuple(fresh)})


def _fields(shot: DirectedShot) -> dict[str, object]:
    return shot.model_dump(exclude={"text", "seconds", "join", "locked"})


def change(cards: Cards, what: str, index: int, preset: Preset, writer: Writer = rewrite) -> Cards:
    """One of add, split, drop, up, down and rewrite (by `writer`), done to the card at `index`.

    Raises:
        RequestError: if there is no such card or action, or it is locked or the last one.
    """
    shots = list(cards.shots)
    if not 0 <= index < len(shots):
        raise RequestError(f"there is no shot {index + 1}; the list has {len(shots)}")
    shot = shots[index]
    if what == "add":
        shots.insert(index + 1, shot.model_copy(update={"join": "continue", "locked": False}))
    elif what == "split":
        shots[index : index + 1] = _halves(shot, preset)
    elif what == "drop":
        if len(shots) == 1:
            raise RequestError("a shot list has at least one shot; turn the director off instead")
        del shots[index]
    elif what in ("up", "down"):
        other = index + (1 if what == "down" else -1)
        if 0 <= other < len(shots):
            shots[index], shots[other] = shots[other], shots[index]
    elif what == "rewrite":
        shots[index] = _again(cards, shot, preset, writer)
    else:
        raise RequestError(f"a shot cannot be {what[:20]!r}; choose one of the card's buttons")
    if len(shots) > MAX_CARDS:
        raise RequestError(f"a shot list has at most {MAX_CARDS} shots; delete one first")
    return cards.model_copy(update={"shots": tuple(shots)})


def _halves(shot: DirectedShot, preset: Preset) -> list[DirectedShot]:
    """Two shots of half the length: one moment each where the text has two."""
    seconds = max(LEAST_SECONDS, round(shot.seconds / 2, 3))
    moments = split_moments(shot.short)[0]
    texts = [moments[0], "; ".join(moments[1:])] if len(moments) > 1 else [shot.short] * 2
    first = shot.model_copy(update={"seconds": seconds, "short": texts[0]})
    second = first.model_copy(update={"short": texts[1], "join": "continue"})
    return [s.model_copy(update={"text": compose(s, preset)}) for s in (first, second)]


def _again(cards: Cards, shot: DirectedShot, preset: Preset, writer: Writer) -> DirectedShot:
    if shot.locked:
        raise RequestError("this shot is locked; unlock it to rewrite it")
    mode: DirectorMode = cards.mode if cards.mode != "off" else "normal"
    fresh = writer(shot.short, mode, preset).shots[0]
    return fresh.model_copy(update={"seconds": shot.seconds, "join": shot.join})


def differences(before: str, after: str) -> list[tuple[Change, str]]:
    """`after` against `before`, word for word; a Chinese character counts as a word."""
    old, new = (re.findall(rf"[{CJK}]|[^\s{CJK}]+|\s+", text) for text in (before, after))
    said: list[tuple[Change, str]] = []
    matcher = SequenceMatcher(None, [w.lower() for w in old], [w.lower() for w in new], False)
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag == "equal":
            said.append(("same", "".join(new[c:d])))
            continue
        said += [("gone", "".join(old[a:b]))] if b > a else []
        said += [("new", "".join(new[c:d]))] if d > c else []
    return said
