"""Clips as they leave the studio: all in one archive, and without the settings inside them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import av

from studio.core.errors import MediaError, StudioError
from studio.library.clip import SCHEMA, Clip
from studio.media.metadata import without_folders
from studio.media.publish import atomic_path

CHUNK_BYTES = 2**20


def plain_copy(path: Path, target: Path) -> Path:
    """`target`: the same pictures and sound, packet by packet, and nothing about how it was made.

    Raises:
        MediaError: if the clip cannot be read.
        StorageError: if `target` cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(target) as temporary:
        try:
            _copy_packets(path, temporary)
        except (av.error.InvalidDataError, av.error.EOFError, ValueError, IndexError) as error:
            raise MediaError(
                f"{path.name} is damaged and cannot be copied ({error}); download it as it is"
            ) from error
    return target


def _copy_packets(path: Path, out: Path) -> None:
    options = {"movflags": "faststart", "fflags": "+bitexact"}
    source: Any
    with av.open(str(path)) as source, av.open(str(out), "w", "mp4", options=options) as output:
        wanted = [s for s in source.streams if s.type in ("video", "audio")]
        streams = {}
        for stream in wanted:
            made: Any = output.add_stream_from_template(stream, opaque=True)
            made.metadata.clear()
            streams[stream.index] = made
        output.metadata.clear()
        for packet in source.demux(wanted):
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                output.mux(packet)


class _Pipe:
    """A file that only grows; what was written is taken out piece by piece."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        """Keep `data` until it is taken."""
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def take(self) -> bytes:
        """What was written since the last time."""
        parts, self._parts = self._parts, []
        return b"".join(parts)


def archive(
    clips: Sequence[Clip],
    *,
    settings: bool = True,
    file_of: Callable[[Clip], Path] = lambda clip: clip.path,
) -> Iterator[bytes]:
    """A ZIP file of `clips`, made while it is sent: it needs neither memory nor disk.

    Clips that are gone by then are left out; `settings` adds a JSON file to each, without the
    names of owners and folders. `file_of` gives the video of a clip.
    """
    pipe: Any = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED, allowZip64=True) as folder:
        for clip in clips:
            try:
                file = file_of(clip).open("rb")
            except (OSError, StudioError):
                continue
            with file:
                yield from _member(folder, pipe, f"{clip.id}.mp4", file)
            if settings:
                folder.writestr(f"{clip.id}.json", _record(clip))
    yield pipe.take()


def _record(clip: Clip) -> str:
    record = {
        "schema": SCHEMA,
        "id": clip.id,
        "created": clip.created,
        "request": without_folders(clip.request),
        "summary": {k: v for k, v in clip.summary.items() if k != "path"},
        "versions": dict(clip.versions),
    }
    return json.dumps(record, ensure_ascii=False, indent=1, default=str)


def _member(folder: zipfile.ZipFile, pipe: _Pipe, name: str, file: IO[bytes]) -> Iterator[bytes]:
    about = zipfile.ZipInfo(name)
    with folder.open(about, "w", force_zip64=True) as inside:
        while chunk := file.read(CHUNK_BYTES):
            inside.write(chunk)
            yield pipe.take()
    yield pipe.take()
