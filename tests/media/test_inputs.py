"""What people give is kept once, under its content's name, after a look at it."""

from __future__ import annotations

import hashlib
import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from studio.core.errors import MediaError, StorageError
from studio.media.inputs import find_input, store_input
from studio.media.mux import ClipWriter


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.new("RGB", (32, 32), "red").save(tmp_path / "my photo.PNG", "PNG")
    return tmp_path / "my photo.PNG"


def test_a_picture_is_stored_once_under_its_hash(picture: Path, tmp_path: Path) -> None:
    folder = tmp_path / "inputs"
    stored = store_input(picture, folder)
    assert stored.name == hashlib.sha256(picture.read_bytes()).hexdigest() + ".png"
    assert stored.read_bytes() == picture.read_bytes()
    copy = tmp_path / "other.png"
    copy.write_bytes(picture.read_bytes())
    assert store_input(copy, folder) == stored
    assert len(list(folder.iterdir())) == 1


def test_the_suffix_says_what_the_file_is(picture: Path, tmp_path: Path) -> None:
    named = tmp_path / "page.html"
    named.write_bytes(picture.read_bytes())
    assert store_input(named, tmp_path / "in").suffix == ".png"


def test_sounds_and_clips_are_looked_at_too(picture: Path, tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as out:
        out.setparams((1, 2, 16_000, 0, "NONE", ""))
        out.writeframes(bytes(16_000))
    with ClipWriter(tmp_path / "a.mp4", 8, (32, 32)) as writer:
        writer.write(np.zeros((2, 32, 32, 3), np.uint8))
    folder = tmp_path / "inputs"
    assert store_input(tmp_path / "a.wav", folder, "audio").suffix == ".wav"
    assert store_input(tmp_path / "a.mp4", folder, "clip").suffix == ".mp4"
    for path, kind in (
        (picture, "audio"),
        (tmp_path / "a.mp4", "audio"),
        (tmp_path / "a.wav", "clip"),
    ):
        with pytest.raises(MediaError):
            store_input(path, folder, kind)
    with pytest.raises(MediaError, match="image, audio or clip"):
        store_input(picture, folder, "movie")
    assert len(list(folder.iterdir())) == 2


def test_an_html_named_like_a_sound_is_not_kept_by_name(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.html"), "wb") as out:
        out.setparams((1, 2, 16_000, 0, "NONE", ""))
        out.writeframes(bytes(16_000))
    assert store_input(tmp_path / "a.html", tmp_path / "in", "audio").suffix == ".mkv"


def test_a_folder_that_cannot_be_written_is_a_storage_error(picture: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        store_input(picture, tmp_path / "file")


def test_only_names_of_stored_files_are_found(picture: Path, tmp_path: Path) -> None:
    stored = store_input(picture, tmp_path / "in")
    assert find_input(stored.name, tmp_path / "in") == stored
    for name in ("", "..", "../my photo.PNG", "a" * 64 + ".png", str(stored), "x.png"):
        assert find_input(name, tmp_path / "in") is None
