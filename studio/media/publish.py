"""Files appear whole or not at all: written beside their place, flushed, then moved into it."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from studio.core.errors import StorageError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
TEMPORARY = ".tmp"


def storage_error(path: Path, error: OSError) -> StorageError:
    """`error` while writing `path`, as a sentence for the user."""
    if error.errno in FULL:
        return StorageError(
            f"the disk is full: {path.name} could not be written to {path.parent}; "
            "free some space and go on with the job"
        )
    return StorageError(
        f"{path.name} cannot be written to {path.parent} ({error.strerror or error}); "
        "check the folder's permissions or choose another"
    )


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path in `path`'s folder; it becomes `path` when the block ends well.

    Other errors of the block pass through; either way nothing is left behind.

    Raises:
        StorageError: if the folder cannot be written or the disk is full.
    """
    temporary = path.parent / f".{path.stem[:60]}.{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY}"
    _make_folder(path)
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(path)
        _flush(path.parent)
    except OSError as error:
        if error.errno in FULL or str(error.filename) in (str(temporary), str(path.parent)):
            raise storage_error(path, error) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Publish `data` as `path`.

    Raises:
        StorageError: as `atomic_path`.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def remove_leftovers(folder: Path) -> int:
    """Delete temporary files that killed processes left in `folder`; how many there were.

    Files of processes that are still alive are kept.
    """
    count = 0
    for leftover in folder.glob(f".*{TEMPORARY}"):
        owner = leftover.name.rsplit(".", 2)[-2].split("-")[0]
        if owner.isdigit() and Path(f"/proc/{owner}").exists():
            continue
        leftover.unlink(missing_ok=True)
        count += 1
    return count


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(path, error) from error


def _flush(path: Path) -> None:
    """Make what was written to a file or folder survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
