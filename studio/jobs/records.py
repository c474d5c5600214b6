"""What the job store gives back: frozen rows."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, cast

from studio.core.errors import JobError
from studio.core.events import Event, Progress, SegmentDone, from_json

State = Literal["queued", "running", "done", "failed", "canceled", "interrupted", "paused"]
Stop = Literal["", "cancel", "pause", "kill"]
Reason = Literal["user", "storage", "worker"]

ENDED: frozenset[State] = frozenset({"done", "failed", "canceled"})
OPEN: frozenset[State] = frozenset({"queued", "running", "interrupted", "paused"})


class LeaseLost(JobError):  # noqa: N818  # reads as what happened, like Cancelled
    """The job belongs to another worker now; whatever this one says is not heard any more."""


@dataclass(frozen=True)
class Job:
    """One job as the store has it."""

    seq: int
    id: str
    owner: str
    key: str | None
    kind: str
    preset: str
    request: dict[str, Any]
    state: State
    priority: int
    attempt: int
    """How often a worker began or went on with it."""
    strikes: int
    """How often it ended its worker since its last finished window."""
    rung: int
    """How many steps down the memory ladder the next attempt goes."""
    worker: str | None
    beats: int
    """Grows with every heartbeat of its worker."""
    stop: Stop
    """What was asked of a running job and has not happened yet."""
    progress: Progress | None
    preview: str | None
    message: str
    """What the user should know, a sentence; empty if nothing."""
    error: str
    """The class of the error a failed job ended with."""
    clip_id: str | None
    path: str | None
    summary: dict[str, Any] | None
    created: float
    started: float | None
    finished: float | None
    segments: tuple[SegmentDone, ...] = ()
    position: float = 0.0
    """Where it stands among the jobs of its owner and priority; lower runs first."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen unless somebody asks for it."""
        return self.state in ENDED

    @property
    def prompt(self) -> str:
        """What to call the job: its prompt, or that of its first shot."""
        shots = self.request.get("shots") or [{}]
        return str(self.request.get("prompt") or shots[0].get("prompt", ""))


@dataclass(frozen=True)
class Entry:
    """An event of a job and when it was said; equal stages of Progress are one entry."""

    seq: int
    first_s: float
    last_s: float
    event: Event


@dataclass(frozen=True)
class Hold:
    """Why no job is started at present."""

    reason: Reason
    message: str


def job_from(row: sqlite3.Row, segments: Iterable[SegmentDone] = ()) -> Job:
    """The job in a row of the table."""
    progress = row["progress"]
    return Job(
        seq=row["seq"],
        id=row["id"],
        owner=row["owner"],
        key=row["key"],
        kind=row["kind"],
        preset=row["preset"],
        request=json.loads(row["request"]),
        state=row["state"],
        priority=row["priority"],
        attempt=row["attempt"],
        strikes=row["strikes"],
        rung=row["rung"],
        worker=row["worker"],
        beats=row["beats"],
        stop=row["stop"],
        progress=cast(Progress, from_json(json.loads(progress))) if progress else None,
        preview=row["preview"],
        message=row["message"],
        error=row["error"],
        clip_id=row["clip_id"],
        path=row["path"],
        summary=json.loads(row["summary"]) if row["summary"] else None,
        created=row["created"],
        started=row["started"],
        finished=row["finished"],
        segments=tuple(segments),
        position=row["position"],
    )


def segment_from(row: sqlite3.Row) -> SegmentDone:
    """The segment in a row of the table."""
    return SegmentDone(
        window=row["window"],
        path=row["path"],
        start_frame=row["start_frame"],
        frames=row["frames"],
        sha256=row["sha256"],
    )


def entry_from(row: sqlite3.Row) -> Entry:
    """The event in a row of the table."""
    event = from_json(json.loads(row["json"]))
    return Entry(seq=row["seq"], first_s=row["first_s"], last_s=row["last_s"], event=event)
