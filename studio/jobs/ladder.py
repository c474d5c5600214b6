"""What is tried, one after the other, when memory runs out in the middle of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from studio.core.preset import Preset
from studio.core.request import Offload, Request

ORDER: tuple[Offload, ...] = ("none", "auto", "model", "block", "disk")


@dataclass(frozen=True)
class Rung:
    """One step down: what the user is told, and fields of the request that change."""

    sentence: str
    changes: dict[str, Any] = field(default_factory=dict)


def rungs(request: Request, preset: Preset) -> list[Rung]:
    """The steps below `request`, nearest first.

    A stronger offload gives the same clip, so finished windows are kept; another size does not.
    A retake or a continuation keeps the size of its clip.
    """
    found = []
    place = ORDER.index(request.offload)
    if place < ORDER.index("model"):
        said = (
            "the run goes on with only one part of the model in memory at a time, which is "
            "slower; finished windows are kept"
        )
        found.append(Rung(said, {"offload": "model"}))
    if place < ORDER.index("disk"):
        said = (
            "the run goes on with the model's blocks read from disk one at a time; finished "
            "windows are kept"
        )
        found.append(Rung(said, {"offload": "disk"}))
    if request.retake is None and getattr(request, "continue_from", None) is None:
        found += _sizes(request, preset)
    return found


def _sizes(request: Request, preset: Preset) -> list[Rung]:
    width, height = request.width, request.height
    if width is None or height is None:
        width, height = preset.limits.sizes[0]
    smaller = [s for s in preset.limits.sizes if s[0] * s[1] < width * height]
    return [
        Rung(
            f"the clip is made anew at {w}x{h}, since no offload was enough",
            {"width": w, "height": h, "offload": "disk"},
        )
        for w, h in sorted(smaller, key=lambda s: s[0] * s[1], reverse=True)
    ]
