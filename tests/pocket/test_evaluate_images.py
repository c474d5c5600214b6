"""Paths of objects, and the judge's sight of them."""

from __future__ import annotations

import numpy as np
import pytest

from studio.pocket.evaluate_images import goes_straight, shots
from studio.pocket.judge import object_path
from studio.pocket.tracks import scene_track
from studio.pocket.vocabulary import Scene
from studio.pocket.world import draw_track

WAY = np.stack([np.linspace(40, 88, 25), np.full(25, 60.0)], 1)


def test_the_path_of_a_drawing_is_found() -> None:
    scene = Scene("small", "star", "red", "moves right", "meadow", "day", "static")
    rng = np.random.default_rng(1)
    track = scene_track(scene, rng)
    found = object_path(draw_track(scene, track, rng))
    assert np.abs(found - track.centre).max() < 3.0
    assert goes_straight(found, track.centre)


def _dissolve() -> np.ndarray:
    path = WAY.copy()
    path[:12], path[12:] = WAY[0], WAY[-1]
    return path


@pytest.mark.parametrize(
    ("path", "straight"),
    [
        (WAY, True),
        (WAY + np.random.default_rng(0).normal(0, 0.3, WAY.shape), True),
        (WAY[::-1], False),
        (_dissolve(), False),
        (np.repeat(WAY[:1], 25, 0), False),
        (np.where(np.arange(25)[:, None] < 10, np.nan, WAY), False),
    ],
)
def test_only_a_way_without_jumps_is_straight(path: np.ndarray, straight: bool) -> None:
    assert goes_straight(path, WAY) is straight


def test_shots_for_paths_move_under_a_still_camera() -> None:
    asked = shots(4, 0, ("rises", "moves left"))
    assert {s.scene.motion for s in asked} <= {"rises", "moves left"}
    assert all(s.scene.camera == "static" and s.frames.shape == (25, 128, 128, 3) for s in asked)
