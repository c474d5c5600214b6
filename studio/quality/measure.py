"""The measures of a clip, from its frames one after another: memory does not grow with pixels.

Of every frame only its mean colour and its distance to the frame before are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from studio.core.geometry import FrameRule
from studio.core.plan import Plan
from studio.quality.colour import Lab, Picture, psnr, to_lab
from studio.quality.seams import colour_drift, join_ratios, seam_ratio, spikes

SEAM_LIMIT = {"overlap-prefix": 1.25, "position-shift": 1.15}
"""Above these a join is called bad."""

FROZEN, FLAT = 0.01, 1.0
"""LAB units: a clip that moves less than the first is frozen, with less contrast than the other
flat."""


@dataclass(frozen=True)
class Layout:
    """Where a clip's joins are, in video frames; see `layout_of`.

    `window_starts` are the windows' first new frames, `latent_starts` the first frames of all
    latent frames, `cuts` the frames at which a shot begins on purpose.
    """

    method: str = "single"
    ring: bool = False
    window_starts: tuple[int, ...] = (0,)
    latent_starts: tuple[int, ...] = (0,)
    cuts: tuple[int, ...] = ()

    @property
    def joins(self) -> tuple[int, ...]:
        """Window starts that should not be seen."""
        return tuple(f for f in self.window_starts if f > 0 and f not in self.cuts)


def layout_of(plan: Plan, rule: FrameRule, source_frames: int = 0) -> Layout:
    """The joins of a planned clip; of a continued one `source_frames` stand in front of it."""
    rows = [(w.first_frame, w.frames, w.cut) for w in plan.windows]
    return _layout(plan.method, plan.ends == "ring", rows, rule, source_frames)


def layout_of_summary(
    summary: Mapping[str, Any], rule: FrameRule, *, ring: bool = False, source_frames: int = 0
) -> Layout:
    """The same from a clip's stored summary (`method`, and `windows` with `start_frame`, `frames`,
    `cut`).
    """
    rows = [(w["start_frame"], w["frames"], w.get("cut", False)) for w in summary["windows"]]
    return _layout(str(summary.get("method", "single")), ring, rows, rule, source_frames)


def _layout(
    method: str, ring: bool, rows: list[tuple[int, int, bool]], rule: FrameRule, source: int
) -> Layout:
    """`rows` are (first frame, frames, cut) of the windows, without the `source` frames ahead."""
    rows = [(start + source, frames, cut) for start, frames, cut in rows if frames > 0]
    cuts = sorted(start for start, _, cut in rows if cut and start > 0)
    starts = {start for start, _, _ in rows} | {0}
    total = source + sum(frames for _, frames, _ in rows)
    latents: list[int] = []
    for begin, end in pairwise([source, *cuts, total]):
        warm = begin == source and (ring or source > 0)
        first = rule.stride if warm else rule.first
        latents += [begin, *range(begin + first, end, rule.stride)]
    return Layout(method, ring, tuple(sorted(starts)), tuple(latents), tuple(cuts))


class Meter:
    """Takes frames uint8 [H, W, 3] in order; `report` says what they amount to."""

    def __init__(self, first_image: Picture | None = None) -> None:
        self._first_image = first_image
        self._first: Lab | None = None
        self._last: Lab | None = None
        self._last_frame: Picture | None = None
        self._first_psnr: float | None = None
        self._d: list[float] = []
        self._means: list[Lab] = []
        self._contrast = 0.0

    def push(self, frame: Picture) -> None:
        """Take the next frame."""
        lab = to_lab(frame)
        if self._last is None:
            self._first = lab
            if self._first_image is not None:
                self._first_psnr = psnr(frame, self._first_image)
        else:
            self._d.append(_distance(self._last, lab))
        self._means.append(lab.mean(axis=(0, 1)))
        self._contrast = max(self._contrast, float(lab.std(axis=(0, 1)).max()))
        self._last, self._last_frame = lab, frame

    def report(self, layout: Layout, last_image: Picture | None = None) -> dict[str, Any]:
        """The measures of all frames so far; see `measure`."""
        assert self._first is not None, "no frame was pushed"
        spike = spikes(self._d, layout.cuts)
        joins, usual = _compared(layout, len(self._means))
        names = layout.joins
        ratios = join_ratios(spike, names, usual)
        limit = SEAM_LIMIT.get(layout.method, SEAM_LIMIT["overlap-prefix"])
        result: dict[str, Any] = {
            "frames": len(self._means),
            "method": layout.method,
            "seam_ratio": _round(seam_ratio(spike, joins, usual)),
            "seam_limit": limit,
            "seams": [
                {"frame": frame, "ratio": _round(ratio), "bad": bool(ratio and ratio > limit)}
                for frame, ratio in zip(names, ratios, strict=True)
            ],
            "colour_drift": _round(
                colour_drift(np.array(self._means, np.float64), layout.window_starts)
            ),
            "loop_step": _round(self._loop_step()) if layout.ring else None,
            "first_psnr": _round(self._first_psnr),
            "end_psnr": self._end_psnr(last_image),
            "motion": [round(d, 3) for d in self._d],
            "warnings": self._warnings(),
        }
        return result

    def _loop_step(self) -> float | None:
        if self._first is None or self._last is None or not self._d:
            return None
        median = max(float(np.median(self._d)), 1e-6)
        return _distance(self._last, self._first) / median

    def _end_psnr(self, last_image: Picture | None) -> float | None:
        if last_image is None or self._last_frame is None:
            return None
        return _round(psnr(self._last_frame, last_image))

    def _warnings(self) -> list[str]:
        found = []
        if self._contrast < FLAT:
            found.append("The picture is flat: every frame has one colour; try another seed.")
        elif self._d and max(self._d) < FROZEN:
            found.append("The picture is frozen: nothing moves; try another seed or prompt.")
        return found


def measure(
    frames: Iterable[Picture],
    layout: Layout,
    *,
    first_image: Picture | None = None,
    last_image: Picture | None = None,
) -> dict[str, Any]:
    """The measures of a clip as plain JSON data; what does not apply is None.

    `seam_ratio` (1.0 to 1.1 on perfect pictures), `seams` (each join's own ratio and whether it is
    bad), `colour_drift` (LAB units per 100 frames), `loop_step` (rings: last to first frame over
    the median step), `first_psnr` and `end_psnr` (dB against the given pictures, which have the
    clip's size), `motion` (the distances of neighbouring frames, LAB units) and `warnings`.

    Raises:
        ValueError: if there are no frames.
    """
    meter = Meter(first_image)
    empty = True
    for frame in frames:
        meter.push(frame)
        empty = False
    if empty:
        raise ValueError("a clip without frames cannot be measured")
    return meter.report(layout, last_image)


def _compared(layout: Layout, frames: int) -> tuple[list[int], list[int]]:
    """(frames of the joins, frames they are compared with).

    For position shift every latent boundary was a join at some step.
    """
    boundaries = [f for f in layout.latent_starts if 0 < f < frames and f not in layout.cuts]
    if layout.method != "position-shift":
        joins = set(layout.joins)
        return sorted(joins), [f for f in boundaries if f not in joins]
    inside = set(range(1, frames)) - set(boundaries) - set(layout.cuts)
    return boundaries, sorted(inside)


def _distance(a: Lab, b: Lab) -> float:
    return float(np.abs(a - b).mean(dtype=np.float64))


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
