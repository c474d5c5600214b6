"""Lip sync: how far the mouth's opening follows the sound."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from studio.quality.colour import Picture, to_lab

Array = npt.NDArray[np.float64]

MOUTH = (0.25, 0.55, 0.75, 1.0)
"""Where a mouth is in a face box, as shares: left, top, right, bottom."""


def mouth_opening(frame: Picture, face: tuple[float, float, float, float]) -> float:
    """How much of the mouth's region is darker than the face around it, 0 to 1.

    A pixel counts from 15 % darker than the skin on, in full from 65 % on: soft edges count in
    part, and the inside of a mouth is seen in dark faces, too. `face` is
    (left, top, width, height) in pixels of `frame` uint8 [H, W, 3].
    """
    x, y, width, height = face
    left, top, right, bottom = MOUTH
    rows = slice(max(0, round(y + top * height)), round(y + bottom * height))
    columns = slice(max(0, round(x + left * width)), round(x + right * width))
    region = to_lab(frame[rows, columns])[..., 0]
    if region.size == 0:
        return 0.0
    skin = float(np.percentile(region, 75))
    darker = (0.85 * skin - region) / max(0.5 * skin, 1e-6)
    return float(np.clip(darker, 0.0, 1.0).mean())


def smooth(envelope: Array) -> Array:
    """A sound's envelope as a mouth can follow it: a frame and a quarter of its neighbours."""
    if len(envelope) < 3:
        return envelope
    padded = np.pad(envelope, 1, mode="edge")
    return 0.25 * padded[:-2] + 0.5 * padded[1:-1] + 0.25 * padded[2:]


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
