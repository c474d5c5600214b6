"""Edited clips have the frames and the sound that the edit says, and keep how they were made."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from studio.core.errors import MediaError
from studio.core.request import TextToVideo
from studio.media.audio import load_sound
from studio.media.decode import probe, read_clip
from studio.media.edit import join, loop, set_sound, trim
from studio.media.metadata import clip_tags, read_metadata
from studio.media.mux import ClipWriter
from studio.media.sound import Sound

FPS = 10
REQUEST = TextToVideo(prompt="a ball", seed=4)


def tone(seconds: float, hz: float = 440.0) -> Sound:
    t = np.arange(round(seconds * 16_000)) / 16_000
    return Sound((0.5 * np.sin(2 * np.pi * hz * t)).astype(np.float32)[None], 16_000)


def make(path: Path, levels: list[int], sound: Sound | None = None, fps: float = FPS) -> Path:
    """A clip whose frame i is grey of `levels[i]`."""
    with ClipWriter(path, fps, (32, 16), clip_tags(REQUEST), sound) as writer:
        for level in levels:
            writer.write(np.full((16, 32, 3), level, np.uint8))
    return path


def levels(path: Path) -> list[int]:
    return [round(float(frame.mean())) for frame in read_clip(path)]


def near(got: list[int], want: list[float]) -> bool:
    return len(got) == len(want) and max(abs(a - b) for a, b in zip(got, want, strict=True)) <= 3


TEN = [20 * i for i in range(10)]


def test_a_trim_keeps_the_part_with_its_sound(tmp_path: Path) -> None:
    silence_then_tone = np.concatenate([np.zeros((1, 8000)), tone(0.5).samples], axis=1)
    sound = Sound(silence_then_tone.astype(np.float32), 16_000)
    source = make(tmp_path / "a.mp4", TEN, sound)
    done = trim(source, tmp_path / "b.mp4", 0.4, 0.8)
    assert (done.frames, done.seconds) == (4, 0.4)
    assert near(levels(done.path), [80, 100, 120, 140])
    cut = load_sound(done.path)
    assert cut.seconds == pytest.approx(0.4, abs=0.001)
    assert np.abs(cut.samples[0, :1400]).max() < 0.05
    assert np.abs(cut.samples[0, 2000:]).max() > 0.4


def test_how_it_was_made_stays_and_edits_add_up(tmp_path: Path) -> None:
    source = make(tmp_path / "a.mp4", TEN)
    trim(source, tmp_path / "b.mp4", 0.1, 0.9)
    loop(tmp_path / "b.mp4", tmp_path / "c.mp4")
    assert read_metadata(tmp_path / "c.mp4").request == REQUEST
    edits = json.loads(probe(tmp_path / "c.mp4").tags["comment"])["edits"]
    assert edits == ["trimmed to 0.10-0.90 s", "looped as ping-pong, 1 times"]


def test_a_ping_pong_turns_without_standing_still(tmp_path: Path) -> None:
    source = make(tmp_path / "a.mp4", [0, 60, 120, 180], tone(0.4))
    done = loop(source, tmp_path / "b.mp4", "ping-pong", times=2)
    assert near(levels(done.path), [0, 60, 120, 180, 120, 60] * 2)
    assert not probe(done.path).has_audio
    assert "sound was left out" in done.notices[0]


def test_a_long_ping_pong_comes_back_in_order(tmp_path: Path) -> None:
    ramp = [2 * i for i in range(110)]
    source = make(tmp_path / "a.mp4", ramp)
    done = loop(source, tmp_path / "b.mp4")
    assert near(levels(done.path), [*ramp, *ramp[-2:0:-1]])


def test_a_ring_ends_where_it_begins(tmp_path: Path) -> None:
    source = make(tmp_path / "a.mp4", TEN, tone(1.0))
    done = loop(source, tmp_path / "b.mp4", "ring", times=2, fade_s=0.3)
    # frames 7, 8, 9 (140, 160, 180) go into 0, 1, 2 (0, 20, 40) with shares 1/4, 2/4, 3/4
    once = [140 * 0.75, 90, 180 * 0.25 + 40 * 0.75, 60, 80, 100, 120]
    assert near(levels(done.path), once * 2)
    assert load_sound(done.path).seconds == pytest.approx(1.4, abs=0.001)


def test_a_join_blends_pictures_and_sounds(tmp_path: Path) -> None:
    one = make(tmp_path / "a.mp4", [0] * 8, tone(0.8))
    two = make(tmp_path / "b.mp4", [200] * 6)
    three = make(tmp_path / "c.mp4", [100] * 5, tone(0.5, 880))
    done = join([one, two, three], tmp_path / "d.mp4", fade_s=0.3)
    blend = [50, 100, 150]
    assert near(levels(done.path), [0] * 5 + blend + [175, 150, 125] + [100] * 2)
    sound = load_sound(done.path)
    assert sound.seconds == pytest.approx(1.3, abs=0.001)
    level = [np.abs(sound.samples[0, i * 1600 : (i + 1) * 1600]).max() for i in range(13)]
    assert level[2] > 0.45
    assert level[7] < level[5]
    assert level[12] > 0.45
    assert read_metadata(done.path).request == REQUEST


def test_a_join_without_a_fade_is_a_cut(tmp_path: Path) -> None:
    one, two = make(tmp_path / "a.mp4", [0, 20]), make(tmp_path / "b.mp4", [200, 220])
    done = join([one, two], tmp_path / "c.mp4", fade_s=0)
    assert near(levels(done.path), [0, 20, 200, 220])
    assert not probe(done.path).has_audio


def test_a_join_fits_size_and_rate_to_the_first(tmp_path: Path) -> None:
    one = make(tmp_path / "a.mp4", [0] * 4)
    with ClipWriter(tmp_path / "b.mp4", 20, (64, 64)) as writer:
        for level in (100, 110, 120, 130, 140, 150, 160, 170):
            writer.write(np.full((64, 64, 3), level, np.uint8))
    done = join([one, tmp_path / "b.mp4"], tmp_path / "c.mp4", fade_s=0)
    assert near(levels(done.path), [0, 0, 0, 0, 110, 130, 150, 170])
    assert (probe(done.path).width, probe(done.path).fps) == (32, 10)
    assert "b.mp4 was fitted" in done.notices[0]


def test_a_sound_is_set_or_laid_over(tmp_path: Path) -> None:
    source = make(tmp_path / "a.mp4", TEN, tone(1.0))
    make(tmp_path / "s.mp4", [0] * 5, tone(0.5, 3000))
    done = set_sound(source, tmp_path / "b.mp4", tmp_path / "s.mp4")
    sound = load_sound(done.path)
    assert sound.seconds == pytest.approx(1.0, abs=0.001)
    assert np.abs(sound.samples[0, 9000:]).max() < 0.05
    both = load_sound(set_sound(source, tmp_path / "c.mp4", tmp_path / "s.mp4", keep=True).path)
    assert np.abs(both.samples[0, 9000:]).max() > 0.3
    assert near(levels(tmp_path / "c.mp4"), TEN)
    long = make(tmp_path / "l.mp4", [0] * 20, tone(2.0))
    assert "cut" in set_sound(source, tmp_path / "d.mp4", long).notices[0]


def test_edits_that_leave_nothing_are_refused(tmp_path: Path) -> None:
    source = make(tmp_path / "a.mp4", TEN)
    out = tmp_path / "out.mp4"
    nan = float("nan")
    for start, stop in ((0.5, 0.5), (0.8, 0.2), (5, 9), (-1, 1), (nan, 1), (0, nan)):
        with pytest.raises(MediaError):
            trim(source, out, start, stop)
    for style, times, fade in (
        ("spiral", 1, 0.1),
        ("ring", 0, 0.1),
        ("ring", 1, 0.6),
        ("ring", 1, nan),
    ):
        with pytest.raises(MediaError):
            loop(source, out, style, times, fade)
    for sources, fade in (([source], 0), ([source, source], 1.5), ([source] * 3, 0.7)):
        with pytest.raises(MediaError):
            join(sources, out, fade)
    with pytest.raises(MediaError, match="has no sound"):
        set_sound(source, out, source)
    assert not out.exists()


def test_hostile_tags_do_not_stop_an_edit(tmp_path: Path) -> None:
    for k, comment in enumerate(("[]", "{", '{"edits": 5}', "[" * 5000)):
        path = tmp_path / f"{k}.mp4"
        with ClipWriter(path, FPS, (32, 16), {"comment": comment}) as writer:
            writer.write(np.zeros((3, 16, 32, 3), np.uint8))
        assert trim(path, tmp_path / "out.mp4", 0, 0.2).frames == 2
