"""GIFs last as long as the clip; stills are the frame that was asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from studio.core.errors import MediaError
from studio.media.export import export_gif, export_still
from studio.media.mux import ClipWriter


def make(path: Path, count: int, fps: float) -> Path:
    """Frame i is grey of 10 * i."""
    with ClipWriter(path, fps, (64, 32)) as writer:
        for i in range(count):
            writer.write(np.full((32, 64, 3), 10 * i % 256, np.uint8))
    return path


@pytest.mark.parametrize(("count", "fps", "frames"), [(25, 12.5, 25), (24, 24, 12), (7, 30, 4)])
def test_a_gif_lasts_as_long_as_the_clip(
    tmp_path: Path, count: int, fps: float, frames: int
) -> None:
    assert export_gif(make(tmp_path / "a.mp4", count, fps), tmp_path / "a.gif") == frames
    with Image.open(tmp_path / "a.gif") as picture:
        assert picture.n_frames == frames
        assert picture.info["loop"] == 0
        total = 0
        for i in range(frames):
            picture.seek(i)
            total += picture.info["duration"]
    assert total == pytest.approx(1000 * count / fps, abs=10)


def test_a_gif_shows_the_frames_and_shrinks(tmp_path: Path) -> None:
    export_gif(make(tmp_path / "a.mp4", 5, 10), tmp_path / "a.gif", max_side=32)
    with Image.open(tmp_path / "a.gif") as picture:
        assert picture.size == (32, 16)
        picture.seek(4)
        assert abs(float(np.asarray(picture.convert("L")).mean()) - 40) < 3


def test_a_gif_may_not_be_endless(tmp_path: Path) -> None:
    source = make(tmp_path / "a.mp4", 601, 15)
    with pytest.raises(MediaError, match="at most 600 frames"):
        export_gif(source, tmp_path / "a.gif")
    assert not (tmp_path / "a.gif").exists()


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_a_still_is_the_frame_of_that_time(tmp_path: Path, suffix: str) -> None:
    source = make(tmp_path / "a.mp4", 10, 10)
    for at, level in ((0.0, 0), (0.35, 30), (0.9, 90), (1.0, 90)):
        export_still(source, tmp_path / f"s.{suffix}", at)
        with Image.open(tmp_path / f"s.{suffix}") as picture:
            assert picture.size == (64, 32)
            assert abs(float(np.asarray(picture.convert("L")).mean()) - level) < 4


def test_other_stills_are_refused(tmp_path: Path) -> None:
    source = make(tmp_path / "a.mp4", 3, 10)
    for name, at in (("s.html", 0.0), ("s.png", -1.0), ("s.png", 9.0), ("s.png", float("nan"))):
        with pytest.raises(MediaError):
            export_still(source, tmp_path / name, at)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4"]
