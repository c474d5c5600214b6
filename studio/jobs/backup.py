"""The job store's backup: made at every start, used when the store turns out to be broken."""

from __future__ import annotations

import logging
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from studio.core.errors import StorageError
from studio.jobs.database import explain
from studio.jobs.space import Space
from studio.jobs.store import JobStore

log = logging.getLogger("studio.jobs")


def open_store(path: Path) -> JobStore:
    """The store at `path`, checked; a broken one is set aside and its last backup takes its place.

    Raises:
        StorageError: if it cannot be read or written at all.
    """
    try:
        return _open(path)
    except StorageError:
        # SQLite needs a few bytes even to read; they were set aside for this.
        if not Space(path.parent).drop_ballast():
            raise
        log.warning("the disk is full; the bytes set aside were given up to open the job store")
        return _open(path)


def _open(path: Path) -> JobStore:
    if path.exists() and not is_sound(path):
        aside = path.with_name(f"{path.name}.broken-{int(time.time())}")
        _set_aside(path, aside)
        restored = _restore(path)
        log.error(
            "the job store was broken; %s, the broken one is %s",
            "its last backup is used" if restored else "an empty one is used",
            aside.name,
        )
    store = JobStore(path)
    try:
        back_up(store)
    except StorageError as error:
        # A full disk is no reason not to start: the queue waits, and clips can be deleted.
        log.warning("no backup of the job store was made: %s", error)
    return store


def is_sound(path: Path) -> bool:
    """Whether SQLite finds nothing wrong with the file.

    Raises:
        StorageError: if it cannot be opened or is locked, which says nothing about its contents.
    """
    try:
        with closing(sqlite3.connect(path, timeout=15)) as db:
            return bool(db.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
    except sqlite3.OperationalError as error:
        raise explain(error, path) from error
    except sqlite3.DatabaseError:
        return False


def back_up(store: JobStore) -> Path:
    """A copy of the store as it is now, beside it; replaced in one piece.

    Raises:
        StorageError: if it cannot be written; the last backup is left.
    """
    target = backup_path(store.path)
    fresh = target.with_name(target.name + ".tmp")
    fresh.unlink(missing_ok=True)
    try:
        with store.reading() as db, closing(sqlite3.connect(fresh)) as copy:
            db.backup(copy)
        fresh.replace(target)
    except OSError as error:
        raise explain(error, store.path) from error
    finally:
        # Half a backup would take the space that is lacking.
        fresh.unlink(missing_ok=True)
    return target


def backup_path(path: Path) -> Path:
    """Where the backup of the store at `path` is."""
    return path.with_name(path.name + ".bak")


def _restore(path: Path) -> bool:
    backup = backup_path(path)
    if not backup.exists() or not is_sound(backup):
        return False
    try:
        with (
            closing(sqlite3.connect(backup)) as source,
            closing(sqlite3.connect(path)) as target,
        ):
            source.backup(target)
    except sqlite3.Error as error:
        raise explain(error, path) from error
    return True


def _set_aside(path: Path, aside: Path) -> None:
    try:
        path.replace(aside)
        for tail in ("-wal", "-shm"):
            # A log that belongs to the broken file would spoil the restored one.
            path.with_name(path.name + tail).unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"the job store {path} is broken and cannot be replaced ({error.strerror}); "
            "move it away by hand or choose another --data-dir"
        ) from error
