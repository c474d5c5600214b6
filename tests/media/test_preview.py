"""Previews are small, loop, and replace one another whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from studio.core.errors import MediaError, StorageError
from studio.media.preview import write_preview


def test_frames_become_an_animation(tmp_path: Path) -> None:
    frames = np.zeros((3, 32, 48, 3), np.uint8)
    frames[1] = 128
    frames[2] = 255
    write_preview(tmp_path / "p.webp", frames, fps=10)
    with Image.open(tmp_path / "p.webp") as picture:
        assert (picture.n_frames, picture.size) == (3, (48, 32))
        picture.seek(2)
        assert np.asarray(picture.convert("RGB")).mean() > 250
        assert picture.info["duration"] == 100


def test_one_picture_is_a_still_and_large_ones_shrink(tmp_path: Path) -> None:
    write_preview(tmp_path / "p.webp", np.zeros((100, 400, 3), np.uint8), max_side=200)
    with Image.open(tmp_path / "p.webp") as picture:
        assert picture.size == (200, 50)
        assert not getattr(picture, "is_animated", False)


def test_no_frame_or_no_folder_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="at least one frame"):
        write_preview(tmp_path / "p.webp", np.zeros((0, 8, 8, 3), np.uint8))
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        write_preview(tmp_path / "file" / "p.webp", np.zeros((8, 8, 3), np.uint8))
