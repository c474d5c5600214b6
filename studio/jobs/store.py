"""The job store: the row is the truth. SQLite in WAL mode, used by the web process and workers."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Iterable
from typing import Any

from studio.core.errors import JobError
from studio.core.request import Request, dump_request, parse_request
from studio.jobs.database import find, with_segments
from studio.jobs.lease import LeaseSide
from studio.jobs.records import ENDED, Entry, Hold, Job, LeaseLost, Reason, State, Stop, entry_from

__all__ = ["Entry", "Hold", "Job", "JobStore", "LeaseLost", "State"]

_STOPS: tuple[Stop, ...] = ("", "pause", "cancel", "kill")
Entries = list[Entry]
Ids = list[str]

MIN_GAP = 1e-6
MAX_QUEUED = 1000
"""Jobs one owner may have waiting."""


class JobStore(LeaseSide):
    """Jobs as people and pages see them; `LeaseSide` has what workers do."""

    def submit(
        self, request: Request, owner: str, key: str | None = None, *, priority: int = 0
    ) -> str:
        """Queue `request`; the id. The same owner and key again give the same id, not a new job.

        Raises:
            JobError: if the owner has too many jobs waiting.
        """
        data = dump_request(request)
        job_id = secrets.token_hex(8)
        with self.writing() as db:
            if key is not None:
                known = db.execute(
                    "SELECT id FROM job WHERE owner = ? AND key = ?", (owner, key)
                ).fetchone()
                if known is not None:
                    return str(known["id"])
            _refuse_too_many(db, owner)
            row = db.execute(
                "INSERT INTO job (id, owner, key, kind, preset, request, priority, created) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING seq",
                (
                    job_id,
                    owner,
                    key,
                    data["kind"],
                    data["preset"],
                    json.dumps(data),
                    priority,
                    self.clock(),
                ),
            ).fetchone()
            db.execute("UPDATE job SET position = seq WHERE seq = ?", (row["seq"],))
            db.execute("INSERT OR IGNORE INTO turn (owner) VALUES (?)", (owner,))
        return job_id

    def get(self, job_id: str) -> Job:
        """The job called `job_id`.

        Raises:
            JobError: if there is none.
        """
        with self.reading() as db:
            return find(db, job_id)

    def list(
        self,
        owner: str | None = None,
        states: Iterable[State] | None = None,
        limit: int = 100,
    ) -> list[Job]:
        """Jobs, newest first."""
        where, values = ["1"], list[Any]()
        if owner is not None:
            where.append("owner = ?")
            values.append(owner)
        if states is not None:
            wanted = list(states)
            where.append(f"state IN ({','.join('?' * len(wanted))})")
            values += wanted
        query = f"SELECT * FROM job WHERE {' AND '.join(where)} ORDER BY seq DESC LIMIT ?"
        with self.reading() as db:
            return with_segments(db, db.execute(query, (*values, limit)))

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state that occurs."""
        with self.reading() as db:
            rows = db.execute("SELECT state, count(*) AS n FROM job GROUP BY state")
            return {row["state"]: row["n"] for row in rows}

    def ahead(self, job_id: str) -> int:
        """How many jobs stand before a queued one, if turns are not counted; 0 for others."""
        with self.reading() as db:
            row = db.execute(
                "SELECT count(*) FROM job AS other, job AS mine WHERE mine.id = ? "
                "AND mine.state = 'queued' AND (other.state = 'running' OR other.state = 'queued' "
                "AND (other.priority > mine.priority OR other.priority = mine.priority "
                "AND other.position < mine.position))",
                (job_id,),
            ).fetchone()
            return int(row[0])

    def events(self, job_id: str, after: int = 0) -> Entries:
        """What the job said, oldest first; only entries with a `seq` above `after`."""
        with self.reading() as db:
            seq = find(db, job_id).seq
            rows = db.execute(
                "SELECT * FROM event WHERE job = ? AND seq > ? ORDER BY seq", (seq, after)
            )
            return [entry_from(row) for row in rows]

    def rev(self) -> int:
        """A number that grows whenever anything a page shows has changed."""
        with self.reading() as db:
            return int(db.execute("SELECT rev FROM meta").fetchone()[0])

    def cancel(self, job_id: str, *, force: bool = False) -> Job:
        """End a job: at once if it waits, after the current step if it runs. Windows are kept.

        With `force` a running job's worker is ended without waiting for the step.

        Raises:
            JobError: if it ended already otherwise.
        """
        stop: Stop = "kill" if force else "cancel"
        return self._ask(job_id, stop, {"queued", "paused", "interrupted"}, "canceled")

    def pause(self, job_id: str) -> Job:
        """Set a job aside: at once if it waits, after the current step if it runs."""
        return self._ask(job_id, "pause", {"queued", "interrupted"}, "paused")

    def resume(self, job_id: str) -> Job:
        """Queue a paused or interrupted job again; it goes on at its next window."""
        return self._queue_again(job_id, {"paused", "interrupted"}, "resumed")

    def retry(self, job_id: str) -> Job:
        """Queue a job again that failed or was canceled; finished windows are used again."""
        return self._queue_again(job_id, {"failed", "canceled", "interrupted", "paused"}, "retried")

    def duplicate(self, job_id: str, owner: str, key: str | None = None, **changes: Any) -> str:
        """Queue a new job with the same request, but for `changes`; its id."""
        return self.submit(parse_request({**self.get(job_id).request, **changes}), owner, key)

    def prioritise(self, job_id: str, priority: int) -> Job:
        """Set the priority (-100 to 100, 0 is usual; higher runs first)."""
        if not -100 <= priority <= 100:
            raise JobError(f"a priority is -100 to 100 (got {priority}); choose one of these")
        with self.writing() as db:
            db.execute("UPDATE job SET priority = ? WHERE id = ?", (priority, job_id))
            return find(db, job_id)

    def move(self, job_id: str, *, before: str | None = None) -> Job:
        """Put a queued job before another one, or with None at the end of the queue.

        Raises:
            JobError: if either is not waiting.
        """
        with self.writing() as db:
            job = _waiting(db, job_id)
            if before is None:
                query = "SELECT max(position) + 1 FROM job WHERE state = 'queued'"
                position = db.execute(query).fetchone()[0]
            else:
                position = _place_before(db, _waiting(db, before), job)
            db.execute("UPDATE job SET position = ? WHERE seq = ?", (position, job.seq))
            return find(db, job_id)

    def hold(self, reason: Reason, message: str) -> None:
        """Start no job until `release`; a hold by the user stays above the others."""
        if self.held() == Hold(reason, message):
            return
        with self.writing() as db:
            db.execute(
                "UPDATE meta SET held = ?, held_message = ? WHERE held != 'user' OR ? = 'user'",
                (reason, message, reason),
            )

    def release(self, reason: Reason) -> None:
        """End a hold of that reason; without one nothing is written."""
        held = self.held()
        if held is None or held.reason != reason:
            return
        with self.writing() as db:
            db.execute("UPDATE meta SET held = '', held_message = '' WHERE held = ?", (reason,))

    def held(self) -> Hold | None:
        """Why no job is started at present, if so."""
        with self.reading() as db:
            row = db.execute("SELECT held, held_message FROM meta").fetchone()
            return Hold(row["held"], row["held_message"]) if row["held"] else None

    def prune(self, keep: int = 500) -> Ids:
        """Forget all but the newest `keep` ended jobs; the ids that are gone (clips stay)."""
        marks = ",".join("?" * len(ENDED))
        with self.writing() as db:
            rows = db.execute(
                f"DELETE FROM job WHERE seq IN (SELECT seq FROM job WHERE state IN ({marks}) "
                "ORDER BY seq DESC LIMIT -1 OFFSET ?) RETURNING id",
                (*sorted(ENDED), keep),
            ).fetchall()
            db.execute("DELETE FROM turn WHERE owner NOT IN (SELECT DISTINCT owner FROM job)")
            return [row["id"] for row in rows]

    def _ask(self, job_id: str, stop: Stop, waiting: set[str], then: State) -> Job:
        with self.writing() as db:
            job = find(db, job_id)
            if job.state == "running":
                # A cancel outranks a pause that has not happened yet, never the other way round.
                stronger = max(stop, job.stop, key=_STOPS.index)
                db.execute("UPDATE job SET stop = ? WHERE seq = ?", (stronger, job.seq))
            elif job.state in waiting:
                finished = self.clock() if then in ENDED else None
                db.execute(
                    "UPDATE job SET state = ?, finished = ? WHERE seq = ?",
                    (then, finished, job.seq),
                )
            elif job.state != then:
                raise JobError(f"job {job_id} is {job.state}; only an open job can be {then}")
            return find(db, job_id)

    def _queue_again(self, job_id: str, wanted: set[str], verb: str) -> Job:
        with self.writing() as db:
            job = find(db, job_id)
            if job.state in wanted:
                if job.ended:
                    _refuse_too_many(db, job.owner)
                db.execute(
                    "UPDATE job SET state = 'queued', finished = NULL, message = '', error = '', "
                    "stop = '', attempt = 0, strikes = 0 WHERE seq = ?",
                    (job.seq,),
                )
            elif job.state != "queued":
                states = ", ".join(sorted(wanted))
                raise JobError(f"job {job_id} is {job.state}; only {states} jobs can be {verb}")
            return find(db, job_id)


def _refuse_too_many(db: sqlite3.Connection, owner: str) -> None:
    waiting = db.execute(
        "SELECT count(*) FROM job WHERE state = 'queued' AND owner = ?", (owner,)
    ).fetchone()[0]
    if waiting >= MAX_QUEUED:
        raise JobError(
            f"at most {MAX_QUEUED} jobs may wait (there are {waiting}); cancel some or wait"
        )


def _waiting(db: sqlite3.Connection, job_id: str) -> Job:
    job = find(db, job_id)
    if job.state != "queued":
        raise JobError(f"job {job_id} is {job.state}; only queued jobs can be moved")
    return job


def _place_before(db: sqlite3.Connection, other: Job, job: Job) -> float:
    here, above = _neighbours(db, other, job)
    if above is not None and here - above < MIN_GAP:
        # Halves of halves run out of digits: the queue gets whole numbers again.
        db.execute(
            "UPDATE job SET position = placed.place FROM (SELECT seq, row_number() OVER "
            "(ORDER BY position, seq) AS place FROM job WHERE state = 'queued') AS placed "
            "WHERE job.seq = placed.seq"
        )
        here, above = _neighbours(db, other, job)
    return float(here - 1 if above is None else (here + above) / 2)


def _neighbours(db: sqlite3.Connection, other: Job, job: Job) -> tuple[float, float | None]:
    """Where `other` stands, and the last one before it that is not `job`."""
    row = db.execute(
        "SELECT position, (SELECT max(position) FROM job WHERE state = 'queued' AND seq != ? "
        "AND position < mine.position) FROM job AS mine WHERE seq = ?",
        (job.seq, other.seq),
    ).fetchone()
    return row[0], row[1]
