"""The heartbeat of a running job: prolongs the lease and listens for what the user asks."""

from __future__ import annotations

import logging
import os
import threading
from types import TracebackType
from typing import Protocol, Self

from studio.core.errors import StorageError
from studio.jobs.lease import LeaseSide
from studio.jobs.records import LeaseLost, Stop

log = logging.getLogger("studio.worker")


class Pulse(Protocol):
    """Whose heart beats, how often, and how long a beat is good for."""

    @property
    def worker_id(self) -> str: ...
    @property
    def lease_s(self) -> float: ...
    @property
    def beat_s(self) -> float: ...


class Heartbeat:
    """A thread that beats inside a `with`; `stop_asked` says whether the run should end."""

    def __init__(self, store: LeaseSide, job_id: str, pulse: Pulse) -> None:
        self.store = store
        self.job_id = job_id
        self.pulse = pulse
        self.asked: Stop = ""
        self.lost = False
        self._parent = os.getppid()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    @property
    def stop_asked(self) -> bool:
        """Whether the user asked for an end or the job was taken away."""
        return bool(self.asked) or self.lost

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._end.wait(self.pulse.beat_s):
            if os.getppid() != self._parent:
                self.lost = True
            try:
                self.asked = self.store.heartbeat(
                    self.job_id, self.pulse.worker_id, self.pulse.lease_s
                )
            except LeaseLost:
                self.lost = True
                return
            except StorageError as error:
                # A full disk or a long lock: the run itself will notice; the next beat may do.
                log.warning("no heartbeat: %s", error)
