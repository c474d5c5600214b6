"""Seam figures on the pocket model's own world: drawn truth is clean, an inserted jump is found."""

from __future__ import annotations

import numpy as np
import pytest

from studio.core.geometry import parse_rule
from studio.pocket.vocabulary import Scene
from studio.pocket.world import draw_scene
from studio.quality.measure import Meter, layout_of_summary

FRAMES = 73
WINDOWS = [
    {"start_frame": 0, "frames": 25, "cut": True},
    *({"start_frame": at, "frames": 24, "cut": False} for at in (25, 49)),
]
SCENES = [
    Scene("large", "square", "red", "moves right", "meadow", "day", "static"),
    Scene("large", "ball", "blue", "bounces", "sea", "sunset", "static"),
    Scene("small", "star", "yellow", "spins", "desert", "night", "static"),
    Scene("large", "heart", "pink", "stays still", "city", "day", "zooms in"),
    Scene("large", "triangle", "white", "stays still", "meadow", "sunset", "pans left"),
]


def ratios(clip: np.ndarray) -> list[float]:
    """The seam ratio of a clip, taken for overlap-prefix and for position shift."""
    meter = Meter()
    for frame in clip:
        meter.push(frame)
    rows = [
        layout_of_summary({"method": method, "windows": WINDOWS}, parse_rule("4k+1"))
        for method in ("overlap-prefix", "position-shift")
    ]
    return [meter.report(layout)["seam_ratio"] for layout in rows]


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: f"{scene.motion}, {scene.camera}")
def test_drawn_truth_is_clean_and_a_jump_is_found(scene: Scene) -> None:
    clip = draw_scene(scene, np.random.default_rng(3), frames=FRAMES)
    assert max(ratios(clip)) <= 1.25
    clip[49:] = np.roll(clip[49:], 12, axis=2)
    assert min(ratios(clip)) >= 1.5
