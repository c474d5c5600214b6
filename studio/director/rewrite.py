"""`rewrite()`: one door to all back ends, with a fallback that is always there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from studio.core.errors import BackendError, RequestError
from studio.core.preset import Preset
from studio.core.request import Shot, clean_prompt
from studio.director.rules import rewrite_by_rules
from studio.director.shots import DirectedShot, DirectorMode, Rewrite

Writer = Callable[[str, DirectorMode, Preset], Rewrite]
"""A back end: takes the cleaned idea; raises BackendError when it has no good answer in time."""


def rewrite(
    idea: str,
    mode: DirectorMode,
    preset: Preset,
    *,
    writer: Writer | None = None,
    user_file: Path | None = None,
) -> Rewrite:
    """The idea as a shot list in the words of `preset`'s model.

    `writer` is tried first when given (an endpoint or a local model); when it fails, the built-in
    rules answer and the result's notes say why.

    Raises:
        RequestError: for an idea that is empty, too long or has control characters.
    """
    try:
        text = clean_prompt(idea, "idea")
    except ValueError as error:
        raise RequestError(str(error)) from error
    if not text:
        raise RequestError("a rewrite needs an idea; write what should be seen")
    if mode == "off":
        shot = DirectedShot(seconds=preset.defaults.seconds, short=text, text=text)
        return Rewrite(original=text, mode=mode, shots=(shot,), text=text, backend="none")
    if writer is None:
        return rewrite_by_rules(text, mode, preset, user_file)
    try:
        return writer(text, mode, preset)
    except BackendError as error:
        result = rewrite_by_rules(text, mode, preset, user_file)
        return result.model_copy(update={"notes": (f"{error}; the built-in rules were used",)})


def directed_shots(request_shots: tuple[Shot, ...]) -> tuple[DirectedShot, ...]:
    """Cards for a plain shot list, so that it can be edited."""
    return tuple(
        DirectedShot(seconds=s.seconds, join=s.join, short=s.prompt, text=s.prompt)
        for s in request_shots
    )
