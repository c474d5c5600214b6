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
    tile_vae: bool = False
    window_frames: int | None = None
    """Latent frames of a window from here on; None leaves them."""


def rungs(request: Request, preset: Preset) -> list[Rung]:
    """The steps below `request`, nearest first.

    Tiles change pixels where they meet and a stronger offload nothing, so finished windows are
    kept; with other windows or another size the clip is made anew. A retake or a continuation
    keeps both as its clip has them.
    """
    said = (
        "pictures are encoded and decoded in tiles from here on, which may be seen faintly where "
        "tiles meet; finished windows are kept"
    )
    found = [Rung(said, tile_vae=True)]
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
        found += _windows(request, preset)
        found += _sizes(request, preset)
    return found


def below(request: Request, preset: Preset, deaths: int) -> list[Rung]:
    """The steps to take at once for a job whose worker was killed `deaths` times for its memory.

    Two a death: nobody was there to say which would do, and three deaths end a job.
    """
    return rungs(request, preset)[: 2 * deaths]


def _windows(request: Request, preset: Preset) -> list[Rung]:
    """Windows of half the length, where the model takes them and the overlap fits into them."""
    if preset.long.full_windows or not preset.long.methods or request.mode == "avatar":
        return []
    half = preset.long.window_frames // 2 + 1
    overlap = request.overlap_frames or preset.long.overlap_frames
    shift = request.shift_frames or preset.long.shift_frames
    if half <= max(overlap, shift) or half >= preset.long.window_frames:
        return []
    said = (
        f"the clip is made anew in windows of {preset.rule.pixel_frames(half)} frames instead of "
        f"{preset.rule.pixel_frames(preset.long.window_frames)}"
    )
    return [Rung(said, {"offload": "disk"}, window_frames=half)]


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
