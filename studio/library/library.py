"""The gallery's truth: which clips are finished, starred or in the bin.

A clip is `<id>.mp4` and `<id>.json` in one folder; the JSON is written last and removed first, so
whatever has both is complete. Stars and the bin are kept in hidden places beside them.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from studio.core.errors import MediaError, StorageError
from studio.library.clip import MAX_SIDECAR_BYTES, Clip, check_id, parse_sidecar, sidecar_text
from studio.media.decode import LIMITS, read_frames
from studio.media.preview import write_preview
from studio.media.publish import storage_error, write_bytes

VIDEO, SIDECAR, POSTER = ".mp4", ".json", ".webp"
TRASH, STARS = ".trash", ".stars.json"
POSTER_SIDE_PX = 320


@dataclass(frozen=True)
class Usage:
    """The storage meter, in bytes."""

    clips: int
    clips_bytes: int
    trash: int
    trash_bytes: int
    free_bytes: int
    total_bytes: int


class Library:
    """The clips in `outputs_dir`. Safe for several threads; processes may publish side by side."""

    def __init__(self, outputs_dir: str | Path) -> None:
        self.folder = Path(outputs_dir)
        self._trash = self.folder / TRASH
        self._stars = self.folder / STARS
        self._lock = threading.RLock()
        self._cache: dict[str, tuple[tuple[int, int], Clip | None]] = {}

    def path(self, clip_id: str) -> Path:
        """Where the video of `clip_id` is or will be."""
        return self.folder / f"{check_id(clip_id)}{VIDEO}"

    def publish(self, clip_id: str, sidecar: Mapping[str, Any]) -> Clip:
        """List the clip whose video is at `path(clip_id)`.

        `sidecar` is {request, summary, plan, versions, owner?}; id, schema and time are filled in.

        Raises:
            MediaError: if the video is not there.
            StorageError: if the sidecar cannot be written; the clip is not listed then.
        """
        path = self.path(clip_id)
        if not path.is_file():
            raise MediaError(f"there is no video for clip {clip_id}; write it before publishing")
        self._make_poster(path)
        write_bytes(path.with_suffix(SIDECAR), sidecar_text(clip_id, sidecar))
        return self.get(clip_id)

    def list(
        self,
        limit: int = 50,
        after: str | None = None,
        *,
        owner: str | None = None,
        missing: bool = False,
    ) -> Sequence[Clip]:
        """The newest clips first, at most `limit` of them, those that follow the id `after`.

        `missing` also lists clips whose video was deleted from outside. Unreadable sidecars and
        half-written clips are not listed.
        """
        clips = sorted(self._scan(), key=lambda c: (c.created, c.id), reverse=True)
        shown = [
            c for c in clips if (missing or not c.missing) and (owner is None or c.owner == owner)
        ]
        start = next((i + 1 for i, c in enumerate(shown) if c.id == after), 0)
        return shown[start : start + max(0, limit)]

    def get(self, clip_id: str) -> Clip:
        """The clip `clip_id`, with `missing` set if its video is gone.

        Raises:
            MediaError: if there is no such clip.
        """
        path = self.path(clip_id)
        clip = self._load(clip_id, path.with_suffix(SIDECAR), _size(path))
        if clip is None:
            raise MediaError(f"there is no clip {clip_id} in the library; it may be in the bin")
        return replace(clip, starred=clip_id in self._starred())

    def poster(self, clip_id: str) -> Path | None:
        """A small still of the clip (WebP), made now if it is not there; None if it cannot be."""
        path = self.path(clip_id)
        poster = path.with_suffix(POSTER)
        if poster.is_file() or (path.is_file() and self._make_poster(path)):
            return poster
        return None

    def star(self, clip_id: str, starred: bool = True) -> Clip:
        """Mark a clip as a favourite, or not."""
        clip = self.get(clip_id)
        with self._lock:
            names = self._starred() - {clip_id} | ({clip_id} if starred else set())
            write_bytes(self._stars, json.dumps(sorted(names)).encode())
        return replace(clip, starred=starred)

    def trash(self, clip_id: str) -> None:
        """Move a clip to the bin.

        Raises:
            MediaError: if there is no such clip.
            StorageError: if it cannot be moved.
        """
        self.get(clip_id)
        _move(clip_id, self.folder, self._trash, (SIDECAR, VIDEO, POSTER))
        stamp = time.time()
        os.utime(self._trash / f"{clip_id}{SIDECAR}", (stamp, stamp))

    def restore(self, clip_id: str) -> Clip:
        """Undo `trash`.

        Raises:
            MediaError: if it is not in the bin.
        """
        check_id(clip_id)
        if not (self._trash / f"{clip_id}{SIDECAR}").is_file():
            raise MediaError(f"clip {clip_id} is not in the bin; it may have been deleted for good")
        _move(clip_id, self._trash, self.folder, (POSTER, VIDEO, SIDECAR))
        return self.get(clip_id)

    def trashed(self) -> Sequence[Clip]:
        """What is in the bin, newest clips first."""
        found = []
        for sidecar in self._trash.glob(f"*{SIDECAR}"):
            clip = self._load(sidecar.stem, sidecar, _size(sidecar.with_suffix(VIDEO)))
            if clip is not None:
                found.append(clip)
        return sorted(found, key=lambda c: (c.created, c.id), reverse=True)

    def empty_trash(self, older_than_s: float = 0.0) -> int:
        """Delete for good what has been in the bin for `older_than_s`; how many clips went."""
        count = 0
        for sidecar in list(self._trash.glob(f"*{SIDECAR}")):
            if time.time() - sidecar.stat().st_mtime < older_than_s:
                continue
            for suffix in (VIDEO, POSTER, SIDECAR):
                sidecar.with_suffix(suffix).unlink(missing_ok=True)
            count += 1
        return count

    def usage(self) -> Usage:
        """How much the clips take and how much is left."""
        clips, clips_bytes = _measure(self.folder)
        trash, trash_bytes = _measure(self._trash)
        there = next(f for f in (self.folder, *self.folder.absolute().parents) if f.is_dir())
        disk = shutil.disk_usage(there)
        return Usage(clips, clips_bytes, trash, trash_bytes, disk.free, disk.total)

    def _scan(self) -> Sequence[Clip]:
        """All clips with a sidecar, in no order; one pass over the folder."""
        if not self.folder.is_dir():
            return []
        with os.scandir(self.folder) as entries:
            files = {e.name: e for e in entries if e.name.endswith((VIDEO, SIDECAR))}
        if len(self._cache) > 2 * len(files) + 100:
            self._cache.clear()
        stars = self._starred()
        clips = []
        for name in files:
            stem, suffix = name[: -len(SIDECAR)], name[-len(SIDECAR) :]
            if suffix != SIDECAR:
                continue
            path = self.folder / f"{stem}{VIDEO}"
            clip = self._load(stem, self.folder / name, _size(path) if path.name in files else None)
            if clip is not None:
                clips.append(replace(clip, starred=True) if clip.id in stars else clip)
        return clips

    def _load(self, clip_id: str, sidecar: Path, size_bytes: int | None) -> Clip | None:
        """The clip of a sidecar; files that did not change are not read again."""
        try:
            stat = sidecar.stat()
            stamp = (stat.st_mtime_ns, stat.st_size)
            key = str(sidecar)
            known = self._cache.get(key)
            if known is None or known[0] != stamp:
                data = sidecar.read_bytes() if stat.st_size <= MAX_SIDECAR_BYTES else b""
                known = (stamp, parse_sidecar(data, clip_id, sidecar.with_suffix(VIDEO), 0))
                self._cache[key] = known
        except OSError:
            return None
        clip = known[1]
        if clip is None:
            return None
        return replace(clip, size_bytes=size_bytes or 0, missing=not size_bytes)

    def _starred(self) -> set[str]:
        try:
            names = json.loads(self._stars.read_bytes())
        except (OSError, ValueError):
            return set()
        return {str(n) for n in names} if isinstance(names, list) else set()

    def _make_poster(self, video: Path) -> bool:
        """Write the poster of `video`; a clip without one is still a clip."""
        try:
            first = next(read_frames(video, limits=LIMITS), None)
            if first is None:
                return False
            write_preview(video.with_suffix(POSTER), first, max_side=POSTER_SIDE_PX)
        except (MediaError, StorageError):
            return False
        return True


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _move(clip_id: str, source: Path, target: Path, suffixes: tuple[str, ...]) -> None:
    """Move a clip's files; the order keeps it listed either there or nowhere, never half."""
    try:
        target.mkdir(parents=True, exist_ok=True)
        for suffix in suffixes:
            file = source / f"{clip_id}{suffix}"
            if file.exists():
                file.replace(target / file.name)
    except OSError as error:
        raise storage_error(target / clip_id, error) from error


def _measure(folder: Path) -> tuple[int, int]:
    """How many sidecars a folder has and how many bytes all its files take."""
    count = total = 0
    if folder.is_dir():
        with os.scandir(folder) as entries:
            for entry in entries:
                size = _size(Path(entry.path)) if entry.is_file(follow_symlinks=False) else 0
                total += size or 0
                count += entry.name.endswith(SIDECAR) and not entry.name.startswith(".")
    return count, total
