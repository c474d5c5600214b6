"""The store as a worker far away sees it: what it says is kept until the front end fetched it.

The front end owns the SQLite file. It asks again and again; every question acknowledges what it
has, prolongs the lease and carries what the user wants of the job.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from studio.core.events import Done, Event, Preview, Progress, SegmentDone, to_json
from studio.jobs.records import Job, LeaseLost, Reason, Stop

ENDS = frozenset({"finish", "fail", "stopped", "requeue", "interrupt"})
"""After one of these the job is not this worker's any more."""
GROUP_LOST = "GroupLost"
"""The class of error of a clip whose other devices are gone: it goes on without them."""


@dataclass(frozen=True)
class Letter:
    """One call for the front end's store, in order of `number`."""

    number: int
    call: str
    values: dict[str, Any]
    data: bytes | None = None
    """A preview's picture."""


class Outbox:
    """The methods of the store that a worker calls, for one job at a time."""

    def __init__(self, lease_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.lease_s = lease_s
        self._clock = clock
        self._lock = threading.Lock()
        self._letters: list[Letter] = []
        self._number = 0
        self._job: Job | None = None
        self._stop: Stop = ""
        self._until = 0.0
        self._dropped = False
        self.before_sending: Callable[[Event], None] = lambda _event: None
        """Publishes what an event speaks of before anybody hears of it."""

    def begin(self, job: Job) -> None:
        """Speak for `job` from now on."""
        with self._lock:
            self._letters.clear()
            self._job, self._stop, self._dropped = job, "", False
            self._until = self._clock() + self.lease_s

    def collect(self, acknowledged: int, stop: Stop) -> list[Letter]:
        """What was said after letter `acknowledged`; the lease is prolonged."""
        with self._lock:
            self._until = self._clock() + self.lease_s
            self._stop = stop
            self._letters = [x for x in self._letters if x.number > acknowledged]
            return list(self._letters)

    def drop(self) -> None:
        """The job was taken away: it ends after its step, and is not heard any more."""
        with self._lock:
            self._dropped = True
            self._letters.clear()

    def get(self, job_id: str) -> Job:
        """The job with what was asked of it."""
        del job_id
        assert self._job is not None
        return replace(self._job, stop=self._stop)

    def heartbeat(self, job_id: str, worker_id: str, lease_s: float) -> Stop:
        """What was asked of the job.

        Raises:
            LeaseLost: if it was taken away, or nobody has asked about it for a lease's time.
        """
        del lease_s
        with self._lock:
            if self._dropped or self._clock() > self._until:
                raise LeaseLost(f"job {job_id} is not run by {worker_id} any more; stop it")
            return self._stop

    def report(self, job_id: str, worker_id: str, event: Event) -> None:
        """Keep an event for the front end; of equal stages of Progress only the last."""
        self.heartbeat(job_id, worker_id, self.lease_s)
        self.before_sending(event)
        data = None
        if isinstance(event, Preview):
            data = Path(event.path).read_bytes()
        with self._lock:
            if self._letters and _supersedes(event, self._letters[-1]):
                self._letters.pop()
            self._add("report", {"event": to_json(event)}, data)

    def finish(self, job_id: str, worker_id: str, done: Done) -> None:
        """The job is done and its clip is in the depot."""
        self.heartbeat(job_id, worker_id, self.lease_s)
        self.before_sending(done)
        self._send("finish", event=to_json(done))

    def fail(self, job_id: str, worker_id: str, error: str, message: str) -> None:
        """The job ended without a clip."""
        self.heartbeat(job_id, worker_id, self.lease_s)
        if error == GROUP_LOST:
            self._send("interrupt", message=message, strike=True, rung=False)
        else:
            self._send("fail", error=error, message=message)

    def stopped(self, job_id: str, worker_id: str) -> Job:
        """The worker did what it was asked."""
        del worker_id
        self._send("stopped")
        job = self.get(job_id)
        return replace(job, state="paused" if job.stop == "pause" else "canceled")

    def requeue(self, job_id: str, worker_id: str, message: str = "") -> Job:
        """Give the job back unharmed."""
        del worker_id
        self._send("requeue", message=message)
        return self.get(job_id)

    def interrupt(
        self, worker_id: str, message: str, *, strike: bool, rung: bool = False
    ) -> Job | None:
        """The job ended badly and may be tried once more."""
        del worker_id
        self._send("interrupt", message=message, strike=strike, rung=rung)
        return self._job

    def hold(self, reason: Reason, message: str) -> None:
        """One worker's disk is full: no reason to hold the whole cluster; its message is shown."""
        del reason
        self._send("report", event={"kind": "Notice", "message": message})

    def _send(self, call: str, **values: Any) -> None:
        with self._lock:
            self._add(call, values)

    def _add(self, call: str, values: dict[str, Any], data: bytes | None = None) -> None:
        if self._dropped:
            return
        self._number += 1
        self._letters.append(Letter(self._number, call, values, data))


def _supersedes(event: Event, last: Letter) -> bool:
    """Whether nobody misses `last` once `event` is said."""
    if last.call != "report":
        return False
    before = last.values["event"]
    if isinstance(event, Progress):
        same = (before.get("stage"), before.get("window")) == (event.stage, event.window)
        return before["kind"] == "Progress" and same
    return isinstance(event, Preview) and before["kind"] == "Preview"


def is_publishing(event: Event) -> bool:
    """Whether files belong to an event."""
    return isinstance(event, SegmentDone | Done)
