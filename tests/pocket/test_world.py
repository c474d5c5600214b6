"""The drawn world shows what its attributes say, also in mirrors and backwards."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from studio.pocket.dataset import Row, backwards, mirror, random_scene
from studio.pocket.people import draw_figures, draw_person, talking
from studio.pocket.tracks import mirrored, reversed_in_time, scene_track
from studio.pocket.vocabulary import CAMERAS, COLOURS, MOTIONS, SHAPES, Person, Scene
from studio.pocket.world import RGB, draw_backdrop, draw_scene, draw_track

PLAIN = Scene("large", "star", "red", "stays still", "meadow", "day", "static")
PERSON = Person("tan", "short", "black", "red", "blue", "grey")


def _track(motion: str, camera: str = "static", frames: int = 25, **parts: str):
    scene = replace(PLAIN, motion=motion, camera=camera, **parts)
    return scene_track(scene, np.random.default_rng(3), frames)


@pytest.mark.parametrize(
    ("motion", "axis", "sign"),
    [("moves right", 0, 1), ("moves left", 0, -1), ("falls", 1, 1), ("rises", 1, -1)],
)
def test_moving_goes_the_right_way(motion: str, axis: int, sign: int) -> None:
    steps = np.diff(_track(motion).centre, axis=0)
    assert (steps[:, axis] * sign > 1.5).all()
    assert np.allclose(steps[:, 1 - axis], 0.0)


def test_other_motions() -> None:
    assert np.ptp(_track("stays still").centre) > 0
    assert np.allclose(np.diff(_track("stays still").centre, axis=0), 0)
    assert 1.9 < _track("grows").radius[-1] / _track("grows").radius[0] < 2.5
    assert 1.9 < _track("shrinks").radius[0] / _track("shrinks").radius[-1] < 2.5
    assert abs(_track("spins").angle[-1]) > np.pi
    hops = _track("bounces").centre[:, 1]
    assert np.ptp(hops) > 30
    assert np.allclose(hops, hops[::-1])


def test_cameras() -> None:
    assert np.allclose(np.diff(_track("stays still", "pans right").centre[:, 0]), -1.0)
    assert np.allclose(np.diff(_track("stays still", "pans left").centre[:, 0]), 1.0)
    zoom = _track("stays still", "zooms in").zoom
    assert zoom[0] == 1.0
    assert zoom[-1] == pytest.approx(1.35)
    assert np.allclose(zoom, _track("stays still", "zooms out").zoom[::-1])


def test_objects_stay_in_sight() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        track = scene_track(random_scene(rng), rng)
        assert (track.centre > 6).all()
        assert (track.centre < 122).all()


def test_long_clips_turn_back_and_say_so() -> None:
    track = _track("moves right", frames=49 + 48)
    named = {MOTIONS[m] for m in track.motions}
    assert named == {"moves right", "moves left"}
    assert (track.centre[:, 0] < 112).all()


def test_a_mirror_swaps_left_and_right_and_the_speakers() -> None:
    assert mirrored("moves left") == "moves right"
    assert mirrored("rises") == "rises"
    row = Row(PLAIN, (), (MOTIONS.index("moves left"),), (CAMERAS.index("pans right"),))
    frames, shown = mirror(np.arange(4).reshape(1, 1, 4, 1), row)
    assert frames.ravel().tolist() == [3, 2, 1, 0]
    assert MOTIONS[shown.motions[0]] == "moves right"
    assert CAMERAS[shown.cameras[0]] == "pans left"
    two = (PERSON, replace(PERSON, skin="dark"))
    assert mirror(frames, Row(None, two))[1].people == two[::-1]


@pytest.mark.parametrize("motion", MOTIONS)
@pytest.mark.parametrize("camera", CAMERAS)
def test_backwards_is_the_named_clip(motion: str, camera: str) -> None:
    track = _track(motion, camera)
    other = _track(reversed_in_time(motion), reversed_in_time(camera))
    change, wanted = np.diff(track.centre[::-1], axis=0), np.diff(other.centre, axis=0)
    assert (
        np.sign(np.round(change.sum(0), 3)).tolist() == np.sign(np.round(wanted.sum(0), 3)).tolist()
    )
    assert (track.radius[-1] > track.radius[0]) == (other.radius[0] > other.radius[-1])
    row = Row(PLAIN, (), tuple(track.motions.tolist()), tuple(track.cameras.tolist()))
    shown = backwards(np.zeros((25, 1, 1, 1)), row)[1]
    assert MOTIONS[shown.motions[12]] == reversed_in_time(motion)
    assert CAMERAS[shown.cameras[12]] == reversed_in_time(camera)


@pytest.mark.parametrize("colour", COLOURS)
def test_the_object_has_its_colour(colour: str) -> None:
    scene = replace(PLAIN, colour=colour, shape="ball")
    rng = np.random.default_rng(1)
    track = scene_track(scene, rng)
    frames = draw_track(scene, track, rng)
    x, y = track.centre[0].astype(int)
    assert np.abs(frames[0, y, x].astype(float) - RGB[colour]).max() < 24


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_cover_about_their_radius(shape: str) -> None:
    scene = replace(PLAIN, shape=shape)
    track = scene_track(scene, np.random.default_rng(4))
    frames = draw_track(scene, track, np.random.default_rng(5))
    bare = np.clip(draw_backdrop("meadow", "day", np.random.default_rng(5)) + 0.5, 0, 255)
    covered = (np.abs(frames[0].astype(float) - bare[:, 64:192]).max(-1) > 12).sum()
    assert 0.3 < covered / (np.pi * track.radius[0] ** 2) < 1.2


def test_drawing_repeats_with_its_seed() -> None:
    first = draw_scene(PLAIN, np.random.default_rng(8))
    assert first.shape == (25, 128, 128, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, draw_scene(PLAIN, np.random.default_rng(8)))


def test_mouths_open_with_their_track() -> None:
    mouths = np.zeros((1, 25))
    mouths[0, 12] = 1.0
    drawn = draw_figures([PERSON], mouths, np.random.default_rng(2))
    dark = []
    for frame in (11, 12):
        x0, y0, x1, y1 = drawn.mouths[0, frame].astype(int)
        dark.append((drawn.frames[frame, y0:y1, x0:x1].mean(-1) < 70).mean())
    assert dark[1] > dark[0] + 0.15
    assert drawn.faces[0, 0, 1] < drawn.mouths[0, 0, 1]


def test_two_people_and_talking() -> None:
    rng = np.random.default_rng(6)
    tracks = np.stack([talking(rng, 49), talking(rng, 49)])
    assert tracks.min() >= 0
    assert tracks.max() <= 1
    assert np.ptp(tracks) > 0.5
    assert draw_person([PERSON, PERSON], tracks, rng, 49).shape == (49, 128, 128, 3)


@pytest.mark.parametrize("motion", MOTIONS)
@pytest.mark.parametrize("camera", CAMERAS)
def test_a_composed_path_follows_from_the_words_alone(motion: str, camera: str) -> None:
    scene = replace(PLAIN, motion=motion, camera=camera)
    first, second = (
        scene_track(scene, np.random.default_rng(seed), composed=True) for seed in (1, 2)
    )
    assert np.array_equal(first.centre, second.centre)
    assert first.centre[:, 0].mean() == pytest.approx(64.0, abs=6.0)
