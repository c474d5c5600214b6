"""The job store's connections and transactions; SQLite's errors become sentences here."""

from __future__ import annotations

import json
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from studio.core.errors import JobError, StorageError, StudioError
from studio.core.events import SegmentDone
from studio.jobs.records import Job, job_from, segment_from
from studio.jobs.schema import connect, migrate


class Database:
    """A pool of connections to one store: any thread may ask, each gets a connection to itself."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self.clock = clock
        self._idle: deque[sqlite3.Connection] = deque()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            db = connect(path)
            migrate(db)
        except (OSError, sqlite3.Error) as error:
            raise explain(error, path) from error
        self._idle.append(db)

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection to read from."""
        try:
            db = self._idle.pop()
        except IndexError:
            db = connect(self.path)
        try:
            yield db
        except sqlite3.Error as error:
            raise explain(error, self.path) from error
        finally:
            self._idle.append(db)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A connection inside one immediate transaction: all of it happens or nothing."""
        with self.reading() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            finally:
                if db.in_transaction:
                    with suppress(sqlite3.Error):
                        db.execute("ROLLBACK")


def explain(error: Exception, path: Path) -> StudioError:
    """SQLite's complaint as a sentence with a remedy."""
    text = str(error)
    if "full" in text:
        return StorageError(f"the disk of {path.parent} is full; free some space")
    if "locked" in text:
        return StorageError("the job store is busy for too long; try again in a moment")
    if "readonly" in text or "unable to open" in text or isinstance(error, OSError):
        return StorageError(
            f"the job store {path} cannot be written ({text}); "
            "correct its permissions or choose another --data-dir"
        )
    return StorageError(f"the job store {path} cannot be used ({text}); restart the studio")


def find(db: sqlite3.Connection, job_id: str) -> Job:
    """The job called `job_id` with its segments.

    Raises:
        JobError: if there is none.
    """
    row = db.execute("SELECT * FROM job WHERE id = ?", (job_id,)).fetchone()
    if row is None:
        raise JobError(f"there is no job {job_id!r}; look at the list of jobs")
    return with_segments(db, [row])[0]


def with_segments(db: sqlite3.Connection, rows: Iterable[sqlite3.Row]) -> list[Job]:
    """The jobs of `rows`, each with its finished windows."""
    rows = list(rows)
    found: dict[int, list[SegmentDone]] = {row["seq"]: [] for row in rows}
    query = (
        "SELECT * FROM segment WHERE job IN (SELECT value FROM json_each(?)) ORDER BY job, window"
    )
    for segment in db.execute(query, (json.dumps(list(found)),)):
        found[segment["job"]].append(segment_from(segment))
    return [job_from(row, found[row["seq"]]) for row in rows]
