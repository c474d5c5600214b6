"""Only whole, ordinary clips under the limits are decoded."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.core.errors import MediaError, StudioError
from studio.media.audio import load_sound
from studio.media.decode import Limits, probe, read_clip, read_frames, read_last_frames
from studio.media.metadata import read_metadata
from studio.media.mux import ClipWriter


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten frames 48x32: frame i has brightness 20 * i."""
    path = tmp_path_factory.mktemp("clip") / "ten.mp4"
    with ClipWriter(path, 10, (48, 32)) as writer:
        for i in range(10):
            writer.write(np.full((32, 48, 3), 20 * i, np.uint8))
    return path


def level(frame: np.ndarray) -> int:
    return round(float(frame.mean()) / 20)


def test_a_range_of_frames_is_read(clip: Path) -> None:
    assert [level(f) for f in read_frames(clip, 3, 4)] == [3, 4, 5, 6]
    assert [level(f) for f in read_frames(clip, 8, 5)] == [8, 9]
    assert len(read_clip(clip)) == 10


def test_last_frames_are_the_last(clip: Path) -> None:
    assert [level(f) for f in read_last_frames(clip, 3)] == [7, 8, 9]
    assert len(read_last_frames(clip, 99)) == 10


def test_frames_are_read_one_at_a_time(clip: Path) -> None:
    frames = read_frames(clip)
    assert level(next(frames)) == 0
    frames.close()


@pytest.mark.parametrize(
    ("limits", "rule"),
    [
        (Limits(pixels=48 * 31), "million pixels"),
        (Limits(frames=9), "at most"),
        (Limits(seconds=0.5), "at most"),
        (Limits(size_bytes=100), "MB"),
    ],
)
def test_clips_over_a_limit_are_refused(clip: Path, limits: Limits, rule: str) -> None:
    with pytest.raises(MediaError, match=rule):
        probe(clip, limits)


def make_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.mp4", b"0" * 5000)


HOSTILE: dict[str, Callable[[Path], object]] = {
    "zip": make_zip,
    "empty": lambda p: p.write_bytes(b""),
    "text": lambda p: p.write_text("not a clip\n" * 500),
    "zeros": lambda p: p.write_bytes(bytes(50_000)),
    "hls": lambda p: p.write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n"
    ),
    "hls-http": lambda p: p.write_text("#EXTM3U\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n"),
    "concat": lambda p: p.write_text("ffconcat version 1.0\nfile /etc/hostname\n"),
    "folder": lambda p: p.mkdir(),
    "missing": lambda p: None,
    "index-too-large": lambda p: p.write_bytes(
        b"\0\0\0\x10ftypisom\0\0\0\0" + (1 << 30).to_bytes(4) + b"moov" + bytes(100)
    ),
    "index-compressed": lambda p: p.write_bytes(
        b"\0\0\0\x10ftypisom\0\0\0\0\0\0\0\x40moov\0\0\0\x38cmov" + bytes(60)
    ),
}


@pytest.mark.parametrize("kind", sorted(HOSTILE))
def test_files_that_are_no_clips_get_one_sentence(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"{kind}.mp4"
    HOSTILE[kind](path)
    began = time.monotonic()
    with pytest.raises(MediaError) as caught:
        read_clip(path)
    assert time.monotonic() - began < 5
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value) or kind in ("folder", "missing")


def test_names_that_are_no_paths_are_refused() -> None:
    for name in ("a\0b.mp4", "x" * 5000, "http://127.0.0.1:9/a.mp4", "/dev/zero", "concat:a|b"):
        with pytest.raises(MediaError):
            probe(name)


def test_a_cut_off_clip_is_an_error_and_not_a_shorter_clip(clip: Path, tmp_path: Path) -> None:
    data = clip.read_bytes()
    for keep in (len(data) - 30, len(data) // 2, 100):
        (tmp_path / "cut.mp4").write_bytes(data[:keep])
        with pytest.raises(MediaError):
            read_clip(tmp_path / "cut.mp4")
    assert len(read_clip(clip)) == 10


def encode(path: Path, frames: np.ndarray, codec: str, pix_fmt: str, **more: object) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pix_fmt
        for pixels in frames:
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=pix_fmt)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.webm", "libvpx-vp9", "yuv420p"),
        ("a.mkv", "libx264", "yuv444p10le"),
        ("a.gif", "gif", "rgb8"),
        ("a.avi", "mjpeg", "yuvj420p"),
    ],
)
def test_other_containers_and_depths_become_rgb(
    tmp_path: Path, name: str, codec: str, pix_fmt: str
) -> None:
    frames = np.full((4, 32, 48, 3), (200, 100, 50), np.uint8)
    got = read_clip(encode(tmp_path / name, frames, codec, pix_fmt))
    assert got.shape == frames.shape
    assert got.dtype == np.uint8
    # rgb8 has 3, 3 and 2 bits
    assert np.abs(got.astype(int) - frames).max() <= (60 if name == "a.gif" else 8)


def test_a_turned_clip_is_read_upright(clip: Path, tmp_path: Path) -> None:
    data = bytearray(clip.read_bytes())
    with ClipWriter(tmp_path / "plain.mp4", 10, (48, 32)) as writer:
        half = np.zeros((32, 48, 3), np.uint8)
        half[:, 24:] = 255
        writer.write(np.stack([half, half]))
    data = bytearray((tmp_path / "plain.mp4").read_bytes())
    at = data.index(b"tkhd") + 44
    one, width = 1 << 16, 32 << 16
    # the matrix for a turn by 90 degrees clockwise: x' = -y + height, y' = x
    matrix = [0, one, 0, -one, 0, 0, width, 0, 1 << 30]
    data[at : at + 36] = b"".join(v.to_bytes(4, signed=True) for v in matrix)
    (tmp_path / "turned.mp4").write_bytes(data)
    got = read_clip(tmp_path / "turned.mp4")
    assert got.shape == (2, 48, 32, 3)
    # what was right is now below
    assert got[0, 40:].mean() > 240
    assert got[0, :8].mean() < 15


@settings(max_examples=25, deadline=None)
@given(
    hits=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=20),
    keep=st.floats(0.2, 1),
)
def test_damaged_clips_never_raise_anything_else(
    tmp_path_factory: pytest.TempPathFactory,
    clip: Path,
    hits: list[tuple[int, int]],
    keep: float,
) -> None:
    data = bytearray(clip.read_bytes())
    for at, value in hits:
        data[at % len(data)] = value
    path = tmp_path_factory.getbasetemp() / "damaged.mp4"
    path.write_bytes(data[: round(keep * len(data))])
    for read in (probe, read_clip, read_metadata, load_sound):
        try:
            found: object = read(path)
        except StudioError as error:
            found = str(error)
        assert found is not None
