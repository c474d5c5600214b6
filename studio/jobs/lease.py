"""The worker's side of the store: claim, heartbeat, report, end. Every write is fenced.

A worker is heard only while the row says that it is running the job: once the job was given to
another worker, requeued or canceled, whatever the first one still says raises LeaseLost.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from typing import Any

from studio.core.events import Done, Event, Failed, Notice, Preview, Progress, SegmentDone, to_json
from studio.jobs.database import Database, find
from studio.jobs.records import Job, LeaseLost, Stop

MAX_STRIKES = 3
"""A job that ended its worker this often without finishing a window is given up."""
MAX_ATTEMPTS = 100
"""A job that was begun this often is given up, whoever ended its workers. Far above what bad luck
does: that the machine was switched off twenty times says nothing about the job."""

_TOP = "SELECT max(priority) FROM job WHERE state = 'queued'"
_OWNER = """SELECT owner FROM turn WHERE EXISTS (
    SELECT 1 FROM job INDEXED BY job_turn
    WHERE state = 'queued' AND job.owner = turn.owner AND priority = ?)
    ORDER BY last, owner LIMIT 1"""
_NEXT = """SELECT seq FROM job INDEXED BY job_turn
    WHERE state = 'queued' AND owner = ? AND priority = ? ORDER BY position LIMIT 1"""
_CLAIM = """UPDATE job SET state = 'running', worker = ?, lease_until = ?, attempt = attempt + 1,
    stop = '', started = coalesce(started, ?), finished = NULL, message = '', error = ''
    WHERE seq = ? RETURNING id"""
_LEAVE = "worker = NULL, lease_until = NULL, stop = ''"


class LeaseSide(Database):
    """What a worker and its supervisor do with jobs."""

    def claim(self, worker_id: str, lease_s: float, only: str | None = None) -> Job | None:
        """The next job, now running under `worker_id`; None if there is none or the queue is held.

        `only`: that job or none (on shared hardware each visitor pays for their own).

        Highest priority first; among owners the one whose last turn is longest ago; of that
        owner's jobs the one that stands first.
        """
        with self.reading() as db:
            # No write lock is taken while there is nothing to do.
            if db.execute(_TOP).fetchone()[0] is None:
                return None
        now = self.clock()
        with self.writing() as db:
            seq = _next_in_line(db) if only is None else _if_waiting(db, only)
            if seq is None:
                return None
            until = now + lease_s
            job_id = db.execute(_CLAIM, (worker_id, until, now, seq)).fetchone()[0]
            db.execute("UPDATE meta SET turn = turn + 1")
            db.execute(
                "UPDATE turn SET last = (SELECT turn FROM meta) "
                "WHERE owner = (SELECT owner FROM job WHERE seq = ?)",
                (seq,),
            )
            return find(db, job_id)

    def heartbeat(self, job_id: str, worker_id: str, lease_s: float) -> Stop:
        """Prolong the lease; what the worker was asked to do ("", "cancel" or "pause").

        Raises:
            LeaseLost: if the job is not this worker's any more.
        """
        with self.writing() as db:
            row = db.execute(
                "UPDATE job SET lease_until = ?, beats = beats + 1 "
                "WHERE id = ? AND worker = ? AND state = 'running' RETURNING stop",
                (self.clock() + lease_s, job_id, worker_id),
            ).fetchone()
            if row is None:
                raise LeaseLost(f"job {job_id} is not run by {worker_id} any more; stop it")
            stop: Stop = row["stop"]
            return stop

    def heartbeats(self, beats: Iterable[tuple[str, str]], lease_s: float) -> set[str]:
        """Prolong the leases of many (job, worker) at once; the workers whose job is not theirs."""
        until, lost = self.clock() + lease_s, set()
        with self.writing() as db:
            for job_id, worker_id in beats:
                changed = db.execute(
                    "UPDATE job SET lease_until = ?, beats = beats + 1 "
                    "WHERE id = ? AND worker = ? AND state = 'running'",
                    (until, job_id, worker_id),
                ).rowcount
                if not changed:
                    lost.add(worker_id)
        return lost

    def report(self, job_id: str, worker_id: str, event: Event) -> None:
        """Write down what a running job says; Done and Failed end it.

        Raises:
            LeaseLost: if the job is not this worker's any more; nothing is written then.
        """
        with self.writing() as db:
            seq = _fenced(db, job_id, worker_id)
            self._note(db, seq, event)
            for column, value in _columns(event, self.clock()).items():
                db.execute(f"UPDATE job SET {column} = ? WHERE seq = ?", (value, seq))
            if isinstance(event, SegmentDone):
                db.execute(
                    "INSERT OR REPLACE INTO segment VALUES (?, ?, ?, ?, ?, ?)",
                    (seq, event.window, event.path, event.start_frame, event.frames, event.sha256),
                )
            elif isinstance(event, Done):
                db.execute(f"UPDATE job SET state = 'done', {_LEAVE} WHERE seq = ?", (seq,))
            elif isinstance(event, Failed):
                db.execute(f"UPDATE job SET state = 'failed', {_LEAVE} WHERE seq = ?", (seq,))

    def finish(self, job_id: str, worker_id: str, done: Done) -> None:
        """The job is done and its clip is in the library."""
        self.report(job_id, worker_id, done)

    def fail(self, job_id: str, worker_id: str, error: str, message: str) -> None:
        """The job ended without a clip; `error` is a class name, `message` a sentence."""
        self.report(job_id, worker_id, Failed(error=error, message=message))

    def stopped(self, job_id: str, worker_id: str) -> Job:
        """The worker did what it was asked: the job is paused or canceled, its windows are kept."""
        with self.writing() as db:
            seq = _fenced(db, job_id, worker_id)
            self._stop(db, seq)
            return find(db, job_id)

    def requeue(self, job_id: str, worker_id: str, message: str = "") -> Job:
        """Give a running job back unharmed: it goes on at its next window when its turn comes."""
        with self.writing() as db:
            seq = _fenced(db, job_id, worker_id)
            self._requeue(db, seq, message)
            db.execute("UPDATE job SET attempt = max(attempt - 1, 0) WHERE seq = ?", (seq,))
            return find(db, job_id)

    def interrupt(
        self, worker_id: str, message: str, *, strike: bool, rung: bool = False
    ) -> Job | None:
        """The worker is gone: its job, if it had one, is interrupted; None if it had none.

        `strike` says that the job itself ended the worker, `rung` that memory was the reason.
        """
        with self.writing() as db:
            row = db.execute(
                "SELECT seq, id, stop FROM job WHERE state = 'running' AND worker = ?", (worker_id,)
            ).fetchone()
            if row is None:
                return None
            if row["stop"]:
                self._stop(db, row["seq"])
            else:
                db.execute(
                    f"UPDATE job SET state = 'interrupted', message = ?, strikes = strikes + ?, "
                    f"rung = rung + ?, {_LEAVE} WHERE seq = ?",
                    (message, int(strike), int(rung), row["seq"]),
                )
                self._note(db, row["seq"], Notice(message))
            return find(db, row["id"])

    def revive(self) -> list[Job]:
        """Put interrupted jobs back into the queue; those that did harm too often have failed.

        Returns the jobs as they are afterwards.
        """
        with self.reading() as db:
            # No write lock is taken while there is nothing to do.
            if not db.execute("SELECT 1 FROM job WHERE state = 'interrupted' LIMIT 1").fetchone():
                return []
        with self.writing() as db:
            rows = db.execute("SELECT * FROM job WHERE state = 'interrupted'").fetchall()
            for row in rows:
                reason = _hopeless(row)
                if reason:
                    failed = Failed(error="Poison", message=reason)
                    self._note(db, row["seq"], failed)
                    db.execute(
                        "UPDATE job SET state = 'failed', error = 'Poison', message = ?, "
                        "finished = ? WHERE seq = ?",
                        (reason, self.clock(), row["seq"]),
                    )
                else:
                    self._requeue(db, row["seq"], row["message"])
            return [find(db, row["id"]) for row in rows]

    def owners_of_leases(self, *, expired: bool = False) -> list[str]:
        """The workers that running jobs belong to; with `expired`, those that let it run out."""
        limit = self.clock() if expired else float("inf")
        with self.reading() as db:
            rows = db.execute(
                "SELECT DISTINCT worker FROM job WHERE state = 'running' AND lease_until < ?",
                (limit,),
            )
            return [row["worker"] for row in rows]

    def unfinished(self) -> set[str]:
        """The jobs whose work folders are needed: all that are not done."""
        with self.reading() as db:
            return {row["id"] for row in db.execute("SELECT id FROM job WHERE state != 'done'")}

    def _stop(self, db: sqlite3.Connection, seq: int) -> None:
        db.execute(
            "UPDATE job SET state = iif(stop = 'pause', 'paused', 'canceled'), "
            f"finished = iif(stop = 'pause', NULL, ?), {_LEAVE} WHERE seq = ?",
            (self.clock(), seq),
        )

    def _requeue(self, db: sqlite3.Connection, seq: int, message: str) -> None:
        db.execute(
            f"UPDATE job SET state = 'queued', message = ?, {_LEAVE} WHERE seq = ?", (message, seq)
        )

    def _note(self, db: sqlite3.Connection, seq: int, event: Event) -> None:
        """Add `event` to the job's story; Progress of one stage and window is one entry."""
        now, data = self.clock(), json.dumps(to_json(event))
        if isinstance(event, Progress | Preview):
            last = db.execute(
                "SELECT seq, json FROM event WHERE job = ? AND kind = ? ORDER BY seq DESC LIMIT 1",
                (seq, type(event).__name__),
            ).fetchone()
            if last is not None and _same_place(json.loads(last["json"]), event):
                db.execute(
                    "UPDATE event SET last_s = ?, json = ? WHERE seq = ?", (now, data, last["seq"])
                )
                return
        db.execute(
            "INSERT INTO event (job, first_s, last_s, kind, json) VALUES (?, ?, ?, ?, ?)",
            (seq, now, now, type(event).__name__, data),
        )


def _next_in_line(db: sqlite3.Connection) -> int | None:
    if db.execute("SELECT held FROM meta").fetchone()[0]:
        return None
    top = db.execute(_TOP).fetchone()[0]
    if top is None:
        return None
    owner = db.execute(_OWNER, (top,)).fetchone()[0]
    seq: int = db.execute(_NEXT, (owner, top)).fetchone()[0]
    return seq


def _fenced(db: sqlite3.Connection, job_id: str, worker_id: str) -> int:
    row = db.execute(
        "SELECT seq FROM job WHERE id = ? AND worker = ? AND state = 'running'", (job_id, worker_id)
    ).fetchone()
    if row is None:
        raise LeaseLost(f"job {job_id} is not run by {worker_id} any more; stop it")
    seq: int = row["seq"]
    return seq


def _columns(event: Event, now: float) -> dict[str, Any]:
    """What an event changes in the job's row."""
    match event:
        case Progress():
            return {"progress": json.dumps(to_json(event))}
        case Preview():
            return {"preview": event.path}
        case SegmentDone():
            return {"strikes": 0}
        case Notice():
            return {"message": event.message}
        case Done():
            summary = json.dumps(event.summary)
            finished = Progress(stage="finishing", done=1.0, eta_s=0.0)
            return {
                "clip_id": event.clip_id,
                "path": event.path,
                "summary": summary,
                "finished": now,
                "progress": json.dumps(to_json(finished)),
            }
        case Failed():
            return {"error": event.error, "message": event.message, "finished": now}


def _same_place(last: dict[str, Any], event: Progress | Preview) -> bool:
    if isinstance(event, Preview):
        return True
    return bool(last.get("stage") == event.stage and last.get("window") == event.window)


def _hopeless(row: sqlite3.Row) -> str:
    if row["strikes"] >= MAX_STRIKES:
        return (
            f"the job ended its worker {row['strikes']} times in a row ({row['message']}); "
            "make it shorter or smaller, or choose another preset"
        )
    if row["attempt"] >= MAX_ATTEMPTS:
        return f"the job was begun {row['attempt']} times and never ended; retry it if you wish"
    return ""


def _if_waiting(db: sqlite3.Connection, job_id: str) -> int | None:
    query = "SELECT seq FROM job WHERE id = ? AND state = 'queued'"
    held = db.execute("SELECT held FROM meta").fetchone()[0]
    row = None if held else db.execute(query, (job_id,)).fetchone()
    return None if row is None else int(row["seq"])
