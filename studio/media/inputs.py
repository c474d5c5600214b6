"""Files that people give, kept under their content's name so that the same file is kept once."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from studio.core.errors import MediaError
from studio.media.audio import probe_sound
from studio.media.decode import probe
from studio.media.images import probe_image
from studio.media.publish import atomic_path, storage_error

Kind = Literal["image", "audio", "clip"]
SUFFIXES: dict[Kind, tuple[str, ...]] = {
    "image": (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"),
    "audio": (
        *(".wav", ".flac", ".mp3", ".m4a", ".aac", ".ogg", ".opus", ".oga", ".aif", ".aiff"),
        *(".caf", ".mp4", ".mov", ".mkv", ".webm"),
    ),
    "clip": (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".gif"),
}
CHUNK_BYTES = 1 << 20


def store_input(path: str | Path, inputs_dir: str | Path, kind: Kind = "image") -> Path:
    """A copy of `path` in `inputs_dir` called by its SHA-256; looked at first, never decoded.

    The same content is stored once. The suffix says what the file is, never what its name says.

    Raises:
        MediaError: if it is not a usable picture, sound or clip.
        StorageError: if it cannot be written.
    """
    source = Path(path)
    suffix = _suffix(source, kind)
    try:
        target = Path(inputs_dir) / f"{_sha256(source)}{suffix}"
        if target.is_file() and target.stat().st_size == source.stat().st_size:
            return target
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)
    except OSError as error:
        raise storage_error(Path(inputs_dir) / source.name, error) from error
    return target


def find_input(name: str, inputs_dir: str | Path) -> Path | None:
    """The stored file that a clip's metadata calls `name`, or None; `name` is untrusted."""
    if not re.fullmatch(r"[0-9a-f]{64}\.[a-z0-9]{2,5}", name):
        return None
    found = Path(inputs_dir) / name
    return found if found.is_file() else None


def _suffix(source: Path, kind: Kind) -> str:
    """The suffix for a file that passed the probe of its kind."""
    if kind == "image":
        return probe_image(source).suffix
    probes: dict[Kind, Callable[[Path], object]] = {"audio": probe_sound, "clip": probe}
    if kind not in probes:
        raise MediaError(f"an input is an image, audio or clip (got {kind!r}); choose one")
    probes[kind](source)
    suffix = source.suffix.lower()
    return suffix if suffix in SUFFIXES[kind] else ".mkv"


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while chunk := handle.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
