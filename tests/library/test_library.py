"""Only complete clips are listed; nothing is lost by stars, the bin or a deleted file."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from studio.core.errors import MediaError, StorageError
from studio.core.request import TextToVideo, dump_request
from studio.library.clip import new_clip_id
from studio.library.library import Library
from studio.media.mux import ClipWriter

SIDECAR = {
    "request": dump_request(TextToVideo(prompt="a ball", seed=3)),
    "summary": {"seed": 3, "seconds": 2.0},
    "plan": {"frames": 25},
    "versions": {"studio": "0"},
}


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "outputs")


def video(library: Library, clip_id: str) -> None:
    with ClipWriter(library.path(clip_id), 8, (32, 16)) as writer:
        writer.write(np.full((2, 16, 32, 3), (200, 40, 40), np.uint8))


def add(library: Library, clip_id: str, **more: object) -> None:
    video(library, clip_id)
    library.publish(clip_id, {**SIDECAR, **more})


def ids(library: Library, **options: object) -> list[str]:
    return [clip.id for clip in library.list(**options)]


def test_a_published_clip_is_listed_with_all_that_is_known(library: Library) -> None:
    add(library, "one")
    (clip,) = library.list()
    assert clip == library.get("one")
    assert (clip.prompt, clip.mode, clip.seed, clip.seconds) == ("a ball", "t2v", 3, 2.0)
    assert clip.path == library.path("one")
    assert clip.size_bytes == clip.path.stat().st_size
    record = json.loads(clip.path.with_suffix(".json").read_text())
    assert (record["schema"], record["id"], record["plan"]) == (1, "one", {"frames": 25})


def test_the_newest_come_first_and_pages_follow_one_another(library: Library) -> None:
    for k in range(5):
        add(library, f"c{k}", created=f"2026-01-0{5 - k}T00:00:00")
    assert ids(library) == ["c0", "c1", "c2", "c3", "c4"]
    assert ids(library, limit=2) == ["c0", "c1"]
    assert ids(library, limit=2, after="c1") == ["c2", "c3"]
    assert ids(library, after="c4") == []
    assert ids(library, limit=0) == []


def test_owners_see_their_own(library: Library) -> None:
    add(library, "a", owner="ann")
    add(library, "b", owner="bob")
    add(library, "c")
    assert ids(library, owner="bob") == ["b"]
    assert len(library.list()) == 3


def test_half_written_clips_are_not_listed(library: Library) -> None:
    video(library, "no-sidecar")
    library.folder.joinpath("no-video.json").write_text(json.dumps({"id": "no-video"}))
    video(library, "cut-sidecar")
    library.folder.joinpath("cut-sidecar.json").write_text('{"id": "cut-si')
    video(library, "other-id")
    library.folder.joinpath("other-id.json").write_text('{"id": "../x"}')
    library.folder.joinpath("empty.mp4").touch()
    library.folder.joinpath("empty.json").write_text('{"id": "empty"}')
    library.folder.joinpath(".a.1-2.tmp").touch()
    assert ids(library) == []
    assert sorted(ids(library, missing=True)) == ["empty", "no-video"]


def test_publishing_needs_the_video(library: Library) -> None:
    with pytest.raises(MediaError, match="no video"):
        library.publish("x", SIDECAR)
    assert ids(library, missing=True) == []


def test_a_video_deleted_from_outside_is_a_tombstone(library: Library) -> None:
    add(library, "a")
    add(library, "b")
    library.path("a").unlink()
    library.path("a").with_suffix(".webp").unlink()
    assert ids(library) == ["b"]
    assert library.get("a").missing
    assert library.poster("a") is None
    library.trash("a")
    assert ids(library, missing=True) == ["b"]


def test_a_sidecar_deleted_from_outside_is_forgotten(library: Library) -> None:
    add(library, "a")
    assert ids(library) == ["a"]
    library.path("a").with_suffix(".json").unlink()
    assert ids(library) == []
    with pytest.raises(MediaError, match="there is no clip a"):
        library.get("a")


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../a", "a/b", "a\\b", "/etc/passwd", "a\0", ".trash", "a.b", "x" * 81, "é"],
)
def test_ids_cannot_leave_the_folder(library: Library, name: str) -> None:
    for act in (library.get, library.path, library.poster, library.trash, library.restore):
        with pytest.raises(MediaError, match="id has letters"):
            act(name)


def test_a_poster_is_a_small_picture(library: Library) -> None:
    add(library, "a")
    poster = library.poster("a")
    assert poster is not None
    with Image.open(poster) as picture:
        assert picture.format == "WEBP"
        assert (
            np.abs(np.asarray(picture.convert("RGB"))[8, 16].astype(int) - (200, 40, 40)).max() < 20
        )
    poster.unlink()
    assert library.poster("a") == poster


def test_stars_stay_through_a_restart_and_the_bin(library: Library) -> None:
    add(library, "a")
    add(library, "b")
    assert library.star("a").starred
    again = Library(library.folder)
    assert {c.id: c.starred for c in again.list()} == {"a": True, "b": False}
    again.trash("a")
    assert again.restore("a").starred
    assert not again.star("a", False).starred
    assert not library.get("a").starred


def test_damaged_stars_are_no_stars(library: Library) -> None:
    add(library, "a")
    (library.folder / ".stars.json").write_text("{")
    assert not library.get("a").starred
    assert library.star("a").starred


def test_the_bin_can_be_undone(library: Library) -> None:
    add(library, "a")
    before = {p.name: p.read_bytes() for p in library.folder.iterdir()}
    library.trash("a")
    assert ids(library, missing=True) == []
    assert [c.id for c in library.trashed()] == ["a"]
    with pytest.raises(MediaError, match="in the bin"):
        library.get("a")
    assert library.restore("a").prompt == "a ball"
    after = {p.name: p.read_bytes() for p in library.folder.iterdir() if p.is_file()}
    assert after == before
    with pytest.raises(MediaError, match="not in the bin"):
        library.restore("a")


def test_emptying_the_bin_spares_what_is_new(library: Library) -> None:
    add(library, "a")
    add(library, "b")
    library.trash("a")
    library.trash("b")
    old = time.time() - 1000
    os.utime(library.folder / ".trash" / "a.json", (old, old))
    assert library.empty_trash(older_than_s=500) == 1
    assert [c.id for c in library.trashed()] == ["b"]
    assert library.empty_trash() == 1
    assert list((library.folder / ".trash").iterdir()) == []


def test_the_meter_counts_clips_and_the_bin(library: Library) -> None:
    assert library.usage().clips == 0
    add(library, "a")
    add(library, "b")
    library.trash("b")
    usage = library.usage()
    assert (usage.clips, usage.trash) == (1, 1)
    assert usage.clips_bytes > library.get("a").size_bytes
    assert usage.trash_bytes > 0
    assert 0 < usage.free_bytes <= usage.total_bytes


def test_a_sidecar_that_changes_is_read_again(library: Library) -> None:
    add(library, "a")
    assert library.list()[0].seed == 3
    library.publish("a", {**SIDECAR, "summary": {"seed": 44}})
    assert library.list()[0].seed == 44


def test_a_folder_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    library = Library(tmp_path)
    add(library, "a")
    (tmp_path / ".trash").touch()
    with pytest.raises(StorageError):
        library.trash("a")
    assert ids(library) == ["a"]


def test_a_thousand_clips_are_listed_quickly(library: Library) -> None:
    add(library, "first")
    data = library.path("first").read_bytes()
    text = library.path("first").with_suffix(".json").read_text()
    for k in range(1000):
        library.path(f"n{k:04}").write_bytes(data)
        library.path(f"n{k:04}").with_suffix(".json").write_text(
            text.replace('"first"', f'"n{k:04}"')
        )
    began = time.monotonic()
    assert len(library.list(limit=60)) == 60
    first = time.monotonic() - began
    began = time.monotonic()
    assert len(library.list(limit=2000)) == 1001
    assert first < 1.0
    assert time.monotonic() - began < 0.5


def test_new_ids_are_valid_and_differ(library: Library) -> None:
    names = {new_clip_id() for _ in range(50)}
    assert len(names) == 50
    assert all(library.path(name).parent == library.folder for name in names)
