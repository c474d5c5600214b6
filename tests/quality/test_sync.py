"""Mouth opening and its lag on drawn faces."""

from __future__ import annotations

import numpy as np

from studio.quality.sync import mouth_opening, sync


def face(opening: float) -> np.ndarray:
    """A skin-coloured picture with a dark mouth of up to 14 px height at (32, 50)."""
    picture = np.full((64, 64, 3), (222, 164, 118), np.uint8)
    y, x = np.mgrid[0:64, 0:64]
    inside = ((x - 32) / 9) ** 2 + ((y - 50) / max(7 * opening, 0.3)) ** 2 < 1
    picture[inside] = (84, 14, 30)
    return picture


def test_opening_grows_with_the_mouth() -> None:
    values = [mouth_opening(face(o), (0, 0, 64, 64)) for o in (0, 0.25, 0.5, 0.75, 1.0)]
    assert values == sorted(values)
    assert values[0] < 0.03
    assert values[-1] > 0.1
    assert mouth_opening(face(1), (100, 100, 5, 5)) == 0.0


def test_sync_finds_correlation_and_lag() -> None:
    rng = np.random.default_rng(0)
    sound = np.convolve(rng.random(80), np.ones(3) / 3, "same")
    for lag in (-3, 0, 2):
        mouth = np.roll(sound, lag) + 0.01 * rng.standard_normal(80)
        found = sync(mouth[5:-5], sound[5:-5])
        assert found[1] == lag
        assert found[0] > 0.95
    assert sync(np.zeros(80), sound) == (0.0, 0)


def test_a_drawn_face_follows_its_track() -> None:
    track = np.abs(np.sin(np.arange(40) / 3.0))
    opening = np.array([mouth_opening(face(o), (0, 0, 64, 64)) for o in track])
    corr, lag = sync(opening, track)
    assert corr > 0.95
    assert lag == 0
