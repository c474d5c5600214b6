"""What a job spent its time on: seconds and bytes by stage and window, from what it said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from studio.core.events import Done, Progress, SegmentDone
from studio.jobs.records import Entry, Job

Place = tuple[str, int]


@dataclass(frozen=True)
class Spent:
    """One stage of one window; `bytes` is what it published, 0 for nothing."""

    stage: str
    window: int
    seconds: float
    bytes: int = 0


def timeline(job: Job, entries: Sequence[Entry], now: float) -> tuple[Spent, ...]:
    """The stages in the order they were first reached; all attempts of one are added up.

    `now` is the time (s) up to which a running stage counts. The time between two attempts, when
    nobody worked, counts for none.
    """
    seconds: dict[Place, float] = {}
    sizes: dict[Place, int] = {}
    marks = [entry for entry in entries if isinstance(entry.event, Progress)]
    for k, mark in enumerate(marks):
        following = marks[k + 1] if k + 1 < len(marks) else None
        place = _place(mark)
        seconds[place] = seconds.get(place, 0.0) + max(0.0, _end(job, mark, following, now))
    for entry in entries:
        if isinstance(entry.event, SegmentDone):
            place = ("publishing", entry.event.window)
            seconds.setdefault(place, 0.0)
            sizes[place] = entry.event.bytes
        elif isinstance(entry.event, Done):
            place = ("finishing", 0)
            seconds.setdefault(place, 0.0)
            sizes[place] = _size(entry.event.path)
    return tuple(
        Spent(stage, window, spent, sizes.get((stage, window), 0))
        for (stage, window), spent in seconds.items()
    )


def _place(mark: Entry) -> Place:
    event = mark.event
    assert isinstance(event, Progress)
    return event.stage, 0 if event.stage in ("loading", "encoding", "finishing") else event.window


def _end(job: Job, mark: Entry, following: Entry | None, now: float) -> float:
    """Seconds from the mark to whatever came after it."""
    if following is not None:
        again = _place(following)[0] == "loading" and _place(mark)[0] != "loading"
        return (mark.last_s if again else following.first_s) - mark.first_s
    if job.state == "running":
        return now - mark.first_s
    return (job.finished if job.state == "done" and job.finished else mark.last_s) - mark.first_s


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0
