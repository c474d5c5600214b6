"""Clips appear whole, with the frames, the sound and the tags that were given."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studio.core.errors import MediaError, StorageError
from studio.media.decode import probe, read_clip
from studio.media.mux import ClipWriter, concat_segments
from studio.media.sound import Sound

SIZE = (48, 32)


def flat_frames(n: int, seed: int = 0) -> np.ndarray:
    """`n` frames of one colour each."""
    colours = np.random.default_rng(seed).integers(0, 256, (n, 1, 1, 3), dtype=np.uint8)
    return np.broadcast_to(colours, (n, SIZE[1], SIZE[0], 3))


def tone(seconds: float, rate: int = 16_000) -> Sound:
    t = np.arange(round(seconds * rate)) / rate
    return Sound((0.5 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)[None], rate)


def write(path: Path, frames: np.ndarray, fps: float = 12.5, **options: object) -> Path:
    with ClipWriter(path, fps, SIZE, **options) as writer:
        writer.write(frames)
    return path


def write_until_it_fails(writer: ClipWriter, frames: Iterator[np.ndarray]) -> None:
    while True:
        writer.write(next(frames))


def test_frames_come_back_in_their_colours(tmp_path: Path) -> None:
    frames = flat_frames(9)
    got = read_clip(write(tmp_path / "a.mp4", frames))
    assert got.shape == frames.shape
    assert np.abs(got.astype(int) - frames).max() <= 3


def test_colours_are_right_for_a_reader_that_ignores_the_tags(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", np.full((2, 32, 48, 3), (220, 30, 40), np.uint8))
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        # 5 is BT.601, what a decoder assumes when it is told nothing
        pixel = frame.to_ndarray(format="rgb24", src_colorspace=5)[16, 24]
        assert frame.colorspace in (5, 6)
    assert np.abs(pixel.astype(int) - (220, 30, 40)).max() <= 3


def test_clip_is_h264_yuv420p_with_the_index_in_front(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", flat_frames(25))
    info = probe(path)
    assert (info.codec, info.pixel_format, info.frames) == ("h264", "yuv420p", 25)
    assert (info.fps, info.seconds, info.has_audio) == (12.5, 2.0, False)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_same_frames_make_the_same_bytes(tmp_path: Path) -> None:
    one = write(tmp_path / "a.mp4", flat_frames(6), metadata={"comment": "x"}, audio=tone(0.5))
    two = write(tmp_path / "b.mp4", flat_frames(6), metadata={"comment": "x"}, audio=tone(0.5))
    assert one.read_bytes() == two.read_bytes()


def test_batches_do_not_matter(tmp_path: Path) -> None:
    frames = flat_frames(5)
    with ClipWriter(tmp_path / "a.mp4", 8, SIZE) as writer:
        writer.write(frames[0])
        writer.write(frames[1:4])
        writer.write(frames[4:])
    whole = write(tmp_path / "b.mp4", frames, fps=8)
    assert (tmp_path / "a.mp4").read_bytes() == whole.read_bytes()


def test_tags_of_60_kb_come_back(tmp_path: Path) -> None:
    tags = {"comment": '{"é":"%s"}' % ("好" * 20_000), "parameters": "a\nSteps: 8", "title": "t"}
    info = probe(write(tmp_path / "a.mp4", flat_frames(2), metadata=tags))
    assert {key: info.tags[key] for key in tags} == tags


@pytest.mark.parametrize("seconds", [0.5, 1.0, 1.03])
def test_sound_is_as_long_as_given_and_the_same(tmp_path: Path, seconds: float) -> None:
    sound = tone(seconds)
    path = write(tmp_path / "a.mp4", flat_frames(13), audio=sound)
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        assert abs(float(stream.duration * stream.time_base) - seconds) < 0.002
        blocks = [f.to_ndarray() for f in container.decode(stream)]
    got = np.concatenate(blocks, axis=1)[0, : sound.length]
    assert np.corrcoef(got, sound.samples[0])[0, 1] > 0.999


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(lengths=st.lists(st.integers(1, 7), min_size=1, max_size=4))
def test_joined_segments_are_the_same_frames(tmp_path: Path, lengths: list[int]) -> None:
    paths = [write(tmp_path / f"{k}.mp4", flat_frames(n, k)) for k, n in enumerate(lengths)]
    out = tmp_path / "out.mp4"
    seconds = sum(lengths) / 12.5
    assert concat_segments(paths, out, {"title": "joined"}, tone(seconds)) == sum(lengths)
    info = probe(out)
    assert (info.frames, info.fps, info.tags["title"]) == (sum(lengths), 12.5, "joined")
    assert info.seconds == pytest.approx(seconds, abs=1e-6)
    assert np.array_equal(read_clip(out), np.concatenate([read_clip(p) for p in paths]))


def test_join_refuses_what_does_not_fit(tmp_path: Path) -> None:
    one = write(tmp_path / "a.mp4", flat_frames(3))
    with ClipWriter(tmp_path / "b.mp4", 12.5, (32, 32)) as writer:
        writer.write(np.zeros((2, 32, 32, 3), np.uint8))
    slower = write(tmp_path / "c.mp4", flat_frames(3), fps=10)
    (tmp_path / "d.mp4").write_bytes(one.read_bytes()[:-40])
    (tmp_path / "e.mp4").write_bytes(b"")
    before = sorted(tmp_path.iterdir())
    for other in (
        tmp_path / "b.mp4",
        slower,
        tmp_path / "d.mp4",
        tmp_path / "e.mp4",
        tmp_path / "f",
    ):
        with pytest.raises(MediaError, match="make it again"):
            concat_segments([one, other], tmp_path / "out.mp4")
    assert sorted(tmp_path.iterdir()) == before


def test_nothing_is_left_when_the_block_fails(tmp_path: Path) -> None:
    old = write(tmp_path / "a.mp4", flat_frames(2)).read_bytes()
    with pytest.raises(StopIteration), ClipWriter(tmp_path / "a.mp4", 8, SIZE) as writer:
        write_until_it_fails(writer, iter([flat_frames(3)]))
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]
    assert (tmp_path / "a.mp4").read_bytes() == old


def test_wrong_frames_and_no_frames_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="32x48x3"), ClipWriter(tmp_path / "a.mp4", 8, SIZE) as w:
        w.write(np.zeros((1, 16, 16, 3), np.uint8))
    with pytest.raises(MediaError, match="at least one frame"):
        write(tmp_path / "a.mp4", np.zeros((0, 32, 48, 3), np.uint8))
    with pytest.raises(MediaError, match="even"):
        ClipWriter(tmp_path / "a.mp4", 8, (33, 32))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("missing", [1, 50, 1_000, 8_000, 10**9])
def test_full_disk_is_a_storage_error_without_a_partial_file(tmp_path: Path, missing: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (12, 32, 48, 3), dtype=np.uint8)
    whole = write(tmp_path / "a.mp4", noise)
    limit = max(1, whole.stat().st_size - missing)
    whole.unlink()
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(StorageError, match="disk"):
            write(tmp_path / "a.mp4", noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert list(tmp_path.iterdir()) == []


def test_full_disk_while_joining(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (12, 32, 48, 3), dtype=np.uint8)
    path = write(tmp_path / "a.mp4", noise)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, hard))
    try:
        with pytest.raises(StorageError, match="disk"):
            concat_segments([path, path], tmp_path / "out.mp4")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="cannot be written"):
        write(tmp_path / "file" / "a.mp4", flat_frames(1))
