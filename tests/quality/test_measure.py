"""Seam, drift and loop figures on pictures whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from studio.core.geometry import parse_rule
from studio.quality.measure import Layout, Meter, layout_of_summary, measure
from studio.quality.seams import colour_drift, spikes

RULE = parse_rule("4k+1")
SIZE = 64


def draw(frames: int, path, background=(40, 90, 160)) -> np.ndarray:
    """An anti-aliased disc over a gradient; `path(t)` is its centre in pixels."""
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float64)
    clip = np.empty((frames, SIZE, SIZE, 3), np.uint8)
    base = np.array(background) * (0.6 + 0.4 * y / SIZE)[..., None]
    for t in range(frames):
        cx, cy = path(t)
        cover = np.clip(9.5 - np.hypot(x - cx, y - cy), 0, 1)[..., None]
        clip[t] = (base * (1 - cover) + np.array((230, 60, 40)) * cover).round()
    return clip


def right(t: int) -> tuple[float, float]:
    return 10 + 1.3 * (t % 33), 32


def bouncing(t: int) -> tuple[float, float]:
    return 32, 50 - 34 * abs(np.sin(t / 7))


def still(t: int) -> tuple[float, float]:
    return 32, 32


def circling(period: int):
    return lambda t: (
        32 + 15 * np.cos(2 * np.pi * t / period),
        32 + 15 * np.sin(2 * np.pi * t / period),
    )


def layout(method: str, frames: int, window: int = 24, **more) -> Layout:
    """Windows as the pocket model's: 25 frames, then `window` new ones each."""
    windows = [{"start_frame": 0, "frames": 25, "cut": True}]
    while (at := sum(w["frames"] for w in windows)) < frames:
        windows.append({"start_frame": at, "frames": min(window, frames - at), "cut": False})
    return layout_of_summary({"method": method, "windows": windows}, RULE, **more)


PATHS = {"circling": circling(40), "bouncing": bouncing, "still": still}


@pytest.mark.parametrize("method", ["overlap-prefix", "position-shift"])
@pytest.mark.parametrize("name", PATHS)
def test_perfect_drawings_have_no_seams(method: str, name: str) -> None:
    clip = draw(249, PATHS[name])
    found = measure(clip, layout(method, 249))
    limit = 1.15 if method == "overlap-prefix" else 1.25
    assert found["seam_ratio"] < limit
    assert found["colour_drift"] < 1.5


@pytest.mark.parametrize("method", ["overlap-prefix", "position-shift"])
@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("jump", ["place", "brightness"])
def test_an_inserted_jump_at_a_join_is_found(method: str, name: str, jump: str) -> None:
    """From frame 73 (a join) on the disc is 5 px off, or everything 8 levels brighter."""
    path = PATHS[name]
    shift = 5 if jump == "place" else 0

    def jumping(t: int) -> tuple[float, float]:
        x, y = path(t)
        return x + (shift if t >= 73 else 0), y

    clip = draw(249, jumping)
    if jump == "brightness":
        clip[73:] = np.minimum(clip[73:].astype(int) + 8, 255).astype(np.uint8)
    found = measure(clip, layout(method, 249))
    assert found["seam_ratio"] > 1.5
    bad = [seam["frame"] for seam in found["seams"] if seam["bad"]]
    assert bad == [73]


def test_the_right_join_is_named_among_many() -> None:
    clip = draw(121, circling(40))
    clip[49:] = np.roll(clip[49:], 3, axis=1)
    found = measure(clip, layout("overlap-prefix", 121))
    worst = max(found["seams"], key=lambda seam: seam["ratio"])
    assert (worst["frame"], worst["bad"]) == (49, True)
    assert [seam["frame"] for seam in found["seams"]] == [25, 49, 73, 97]


def test_a_cut_on_purpose_is_no_seam() -> None:
    clip = np.concatenate((draw(25, circling(40)), draw(49, circling(40), (200, 180, 60))))
    windows = [
        {"start_frame": 0, "frames": 25, "cut": True},
        {"start_frame": 25, "frames": 25, "cut": True},
        {"start_frame": 50, "frames": 24, "cut": False},
    ]
    where = layout_of_summary({"method": "overlap-prefix", "windows": windows}, RULE)
    assert where.cuts == (25,)
    assert where.joins == (50,)
    assert {21, 25, 26, 30, 50, 54} <= set(where.latent_starts)
    assert 29 not in where.latent_starts
    assert measure(clip, where)["seam_ratio"] < 1.15


def test_latents_of_a_ring_and_of_a_continued_clip_are_four_frames_each() -> None:
    windows = [{"start_frame": 0, "frames": 28, "cut": True}]
    ring = layout_of_summary({"method": "position-shift", "windows": windows}, RULE, ring=True)
    assert ring.latent_starts == (0, 4, 8, 12, 16, 20, 24)
    windows = [{"start_frame": 0, "frames": 8, "cut": False}]
    after = layout_of_summary({"method": "single", "windows": windows}, RULE, source_frames=30)
    assert (after.joins, after.latent_starts) == ((30,), (30, 34))


def test_colour_drift_is_the_slope_of_the_windows_colour() -> None:
    """Grey that brightens by 0.02 L a frame drifts 2 LAB units in 100 frames."""
    means = np.zeros((200, 3))
    means[:, 0] = 50 + 0.02 * np.arange(200)
    assert abs(colour_drift(means, range(0, 200, 24)) - 2.0) < 1e-9
    means[:, 1] = 0.015 * np.arange(200)
    assert abs(colour_drift(means, range(0, 200, 24)) - 2.5) < 1e-9
    assert colour_drift(means, (0,)) is None


def test_drift_of_a_brightening_clip_is_found() -> None:
    clip = draw(121, circling(24)).astype(int)
    clip += (np.arange(121) // 6)[:, None, None, None]  # 20 levels in 121 frames
    found = measure(np.clip(clip, 0, 255).astype(np.uint8), layout("overlap-prefix", 121))
    assert found["colour_drift"] > 5


def test_loop_step_is_about_one_on_a_true_loop_only() -> None:
    ring = layout("position-shift", 121, ring=True)
    assert abs(measure(draw(121, circling(121)), ring)["loop_step"] - 1) < 0.3
    assert measure(draw(121, circling(90)), ring)["loop_step"] > 3
    assert measure(draw(121, circling(121)), layout("position-shift", 121))["loop_step"] is None


def test_end_frames_are_compared_with_the_given_pictures() -> None:
    clip = draw(25, circling(40))
    found = measure(clip, Layout(), first_image=clip[0], last_image=clip[-1] + 5)
    assert found["first_psnr"] == 99.0
    assert abs(found["end_psnr"] - 20 * np.log10(255 / 5)) < 0.2
    assert found["seam_ratio"] is None
    assert measure(clip, Layout())["first_psnr"] is None


def test_flat_and_frozen_clips_are_warned_of() -> None:
    assert "flat" in measure(np.full((9, 8, 8, 3), 90, np.uint8), Layout())["warnings"][0]
    assert "frozen" in measure(draw(9, still), Layout())["warnings"][0]
    assert measure(draw(9, circling(20)), Layout())["warnings"] == []


def test_spikes_use_the_neighbours_that_exist() -> None:
    # At the start the neighbours are 1 and 4: their median is 2.5.
    assert spikes([1.0, 1.0, 4.0, 1.0, 1.0]).tolist() == [0.4, 1.0, 4.0, 1.0, 0.4]
    assert spikes([3.0]).tolist() == [3.0 / 0.05]
    cut = spikes([1.0, 1.0, 40.0, 1.0, 2.0], cuts=[3])
    assert np.isnan(cut[2])
    assert cut[4] == 2.0


def test_memory_does_not_grow_with_pixels() -> None:
    """After any number of frames the meter holds three pictures: first, last, last in LAB."""
    meter = Meter()
    for frame in draw(40, circling(20)):
        meter.push(frame)
    held = [v for v in vars(meter).values() if isinstance(v, np.ndarray)]
    assert len(held) == 3
    kept = [row for v in vars(meter).values() if isinstance(v, list) for row in v]
    assert all(np.size(row) <= 3 for row in kept)


def test_a_clip_without_frames_is_refused() -> None:
    with pytest.raises(ValueError, match="without frames"):
        measure([], Layout())
