"""Clips as they leave the studio."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import av
import numpy as np
import pytest

from studio.core.errors import MediaError
from studio.core.request import TextToVideo, dump_request
from studio.library.library import Library
from studio.library.share import archive, plain_copy
from studio.media.decode import read_clip
from studio.media.metadata import clip_tags, read_metadata
from studio.media.mux import ClipWriter, concat_segments
from studio.media.sound import Sound

SECRET = "a sentence that nobody else should read"


def make_clip(folder: Path, name: str, *, sound: bool = False) -> Path:
    part, path = folder / f".{name}.part.mp4", folder / f"{name}.mp4"
    dice = np.random.default_rng(len(name))
    with ClipWriter(part, 12, (32, 32)) as writer:
        writer.write(dice.integers(0, 255, (7, 32, 32, 3), np.uint8))
    tags = clip_tags(TextToVideo(prompt=SECRET, seed=77), {"seed": 77})
    wave = np.sin(np.arange(28_000) / 40, dtype=np.float32)[None] if sound else None
    concat_segments([part], path, tags, None if wave is None else Sound(wave, 48_000))
    part.unlink()
    return path


@pytest.mark.parametrize("sound", [False, True])
def test_a_plain_copy_has_the_frames_and_says_nothing(tmp_path: Path, sound: bool) -> None:
    path = make_clip(tmp_path, "spoken", sound=sound)
    assert SECRET.encode() in path.read_bytes()
    copy = plain_copy(path, tmp_path / "plain" / "spoken.mp4")
    assert SECRET.encode() not in copy.read_bytes()
    assert b"Seed" not in copy.read_bytes()
    assert np.array_equal(read_clip(path), read_clip(copy))
    with av.open(str(copy)) as opened:
        assert len(opened.streams.audio) == int(sound)
    with pytest.raises(MediaError):
        read_metadata(copy)


def test_a_damaged_clip_is_a_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 9)
    with pytest.raises(MediaError, match="damaged"):
        plain_copy(path, tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()
    assert list(tmp_path.glob("*.tmp")) + list(tmp_path.glob(".*.tmp")) == []


def test_all_clips_fit_in_one_archive_that_is_never_whole_in_memory(tmp_path: Path) -> None:
    library = Library(tmp_path)
    for name in ("one", "two", "three"):
        make_clip(tmp_path, name)
        request = dump_request(TextToVideo(prompt=SECRET, continue_from="/home/me/secret/x.mp4"))
        summary = {"path": str(tmp_path / name), "seed": 77}
        library.publish(name, {"request": request, "summary": summary, "owner": "b" * 32})
    clips = library.list()
    (tmp_path / "two.mp4").unlink()
    pieces = list(archive(clips))
    assert len(pieces) > 3
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as folder:
        assert folder.testzip() is None
        assert sorted(folder.namelist()) == ["one.json", "one.mp4", "three.json", "three.mp4"]
        assert folder.read("one.mp4") == (tmp_path / "one.mp4").read_bytes()
        record = folder.read("one.json").decode()
    assert "b" * 32 not in record
    assert "/home/me" not in record
    assert str(tmp_path) not in record
    (tmp_path / "back.json").write_text(record)
    assert read_metadata(tmp_path / "back.json").request.prompt == SECRET
    assert json.loads(record)["summary"] == {"seed": 77}


def test_an_archive_without_settings_has_clips_alone(tmp_path: Path) -> None:
    library = Library(tmp_path)
    make_clip(tmp_path, "one")
    library.publish("one", {"request": {}, "summary": {}})
    plain = tmp_path / "plain"
    data = b"".join(
        archive(
            library.list(),
            settings=False,
            file_of=lambda clip: plain_copy(clip.path, plain / clip.path.name),
        )
    )
    assert SECRET.encode() not in data
    with zipfile.ZipFile(io.BytesIO(data)) as folder:
        assert folder.namelist() == ["one.mp4"]
