"""Lip sync: how far the mouth's opening follows the sound."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from studio.quality.colour import Picture, to_lab

Array = npt.NDArray[np.float64]

MOUTH = (0.25, 0.55, 0.75, 1.0)
"""Where a mouth is in a face box, as shares: left, top, right, bottom."""


def mouth_opening(frame: Picture, face: tuple[float, float, float, float]) -> float:
    """The share of the mouth's region that is much darker than the face around it, 0 to 1.

    `face` is (left, top, width, height) in pixels of `frame` uint8 [H, W, 3].
    """
    x, y, width, height = face
    left, top, right, bottom = MOUTH
    rows = slice(max(0, round(y + top * height)), round(y + bottom * height))
    columns = slice(max(0, round(x + left * width)), round(x + right * width))
    region = to_lab(frame[rows, columns])[..., 0]
    if region.size == 0:
        return 0.0
    skin = float(np.percentile(region, 75))
    return float((region < 0.5 * skin).mean())


def sync(opening: Array, envelope: Array, max_lag: int = 4) -> tuple[float, int]:
    """(sync_corr, sync_lag_frames): the best correlation of opening and sound, and where it lies.

    Both are one number a video frame. A positive lag means that the mouth comes after the sound.
    Of equal correlations the smallest lag counts; (0, 0) if one of the two does not move.
    """
    count = min(len(opening), len(envelope))
    best = (0.0, 0)
    for lag in sorted(range(-max_lag, max_lag + 1), key=abs):
        mouth = opening[max(0, lag) : count + min(0, lag)]
        sound = envelope[max(0, -lag) : count - max(0, lag)]
        found = _correlation(mouth, sound)
        if found > best[0] + 1e-9:
            best = (found, lag)
    return best


def _correlation(a: Array, b: Array) -> float:
    if len(a) < 3 or np.std(a) < 1e-9 or np.std(b) < 1e-9:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
