"""The worker: a process of its own that claims jobs and runs them, one after the other.

`python -m studio.jobs.worker --data-dir D`. It keeps models in memory between jobs, ends when it
was idle for a while, and dies with the process that started it.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from studio.core.errors import Cancelled, JobError, MemoryBudgetError, StorageError, StudioError
from studio.core.events import Done, Event, Failed, Progress, SegmentDone
from studio.core.request import parse_request
from studio.core.settings import Settings, prepare_data_dir
from studio.jobs.context import (
    DEFAULT_RUNNER,
    RunContext,
    Runner,
    load_runner,
    make_models,
    presets_for,
)
from studio.jobs.heartbeat import Heartbeat
from studio.jobs.log import log_as_json
from studio.jobs.process import EXIT_MEMORY, EXIT_START, EXIT_STORAGE, die_with
from studio.jobs.records import Job, LeaseLost
from studio.jobs.space import Space, is_storage
from studio.jobs.store import JobStore

if TYPE_CHECKING:
    from studio.models.manager import ModelManager

log = logging.getLogger("studio.worker")

POLL_S = 0.2
PROGRESS_S = 0.1


@dataclass(frozen=True)
class Options:
    """How a worker behaves."""

    worker_id: str
    lease_s: float = 30.0
    beat_s: float = 0.5
    idle_s: float = 600.0
    """With nothing to do for this long it ends, which gives all memory back."""
    parent: int = 0
    """The process it lives for; 0 for none."""


class Worker:
    """Claims and runs jobs of one store."""

    def __init__(
        self, store: JobStore, settings: Settings, runner: Runner, options: Options
    ) -> None:
        self.store = store
        self.settings = settings
        self.runner = runner
        self.options = options
        self.quit = threading.Event()
        self.space = Space(settings.data_dir)
        self._models: ModelManager | None = None

    def serve(self) -> int:
        """Run jobs until there were none for a while or `quit` is set; the exit status."""
        idle_since = time.monotonic()
        while not self.quit.is_set() and self._has_parent():
            job = self.store.claim(self.options.worker_id, self.options.lease_s)
            if job is not None:
                status = self.run(job)
                if status:
                    return status
                idle_since = time.monotonic()
            elif time.monotonic() - idle_since >= self.options.idle_s:
                break
            else:
                self.quit.wait(POLL_S)
        return 0

    def _has_parent(self) -> bool:
        return self.options.parent in (0, os.getppid())

    def run(self, job: Job) -> int:
        """Run a claimed job to whatever end; the exit status if this process must go, else 0."""
        log.info("job begins", extra={"job": job.id, "attempt": job.attempt})
        with Heartbeat(self.store, job.id, self.options) as heart:
            outcome = self._attempt(job, heart)
        try:
            status = self._settle(job, outcome)
        except JobError:
            log.warning("job was taken away", extra={"job": job.id})
            return 0
        except StorageError:
            # Not even the store can be written: the supervisor frees the ballast and writes it.
            return EXIT_STORAGE
        log.info("job ends", extra={"job": job.id, "outcome": type(outcome).__name__})
        return status

    def _attempt(self, job: Job, heart: Heartbeat) -> Done | Exception:
        """The only place that catches Exception: what a run gives or what it died of."""
        try:
            request = parse_request(job.request)
            return self.runner(request, self._context(job, heart))
        except Exception as error:
            if not isinstance(error, StudioError):
                log.exception("job broke", extra={"job": job.id})
            return error

    def _settle(self, job: Job, outcome: Done | Exception) -> int:
        """Write down how the run ended."""
        mine = (job.id, self.options.worker_id)
        if isinstance(outcome, Done):
            self.store.finish(*mine, outcome)
        elif isinstance(outcome, LeaseLost):
            raise outcome
        elif isinstance(outcome, Cancelled):
            self._stopped(job)
        elif is_storage(outcome):
            message = _message(outcome)
            self.space.drop_ballast()
            self.store.hold("storage", message)
            self.store.requeue(*mine, message)
        elif _is_memory(outcome):
            return self._out_of_memory(job, outcome)
        else:
            self._models_off(outcome)
            self.store.fail(*mine, type(outcome).__name__, _message(outcome))
            if "CUDA error" in str(outcome):
                # After such an error the device answers nothing more in this process.
                return EXIT_MEMORY
        return 0

    def _stopped(self, job: Job) -> None:
        """The run ended because it was asked to: by the user, or because this process must end."""
        mine = (job.id, self.options.worker_id)
        if self.store.get(job.id).stop:
            if self.store.stopped(*mine).state == "paused" and self._models is not None:
                self._models.free_all()
        else:
            self.store.requeue(*mine, "interrupted; it goes on at its next window")

    def _out_of_memory(self, job: Job, error: Exception) -> int:
        """Once more with a stronger offload in a fresh process, then give up."""
        mine = (job.id, self.options.worker_id)
        if job.rung or job.request.get("offload", "auto") != "auto":
            self.store.fail(*mine, "MemoryBudgetError", _message(error))
        else:
            text = "memory ran out; it is tried once more with a stronger offload"
            self.store.interrupt(self.options.worker_id, text, strike=True, rung=True)
        return EXIT_MEMORY

    def _models_off(self, error: Exception) -> None:
        if self._models is not None and not isinstance(error, StudioError):
            self._models.free_all()

    def _context(self, job: Job, heart: Heartbeat) -> RunContext:
        if self._models is None:
            self._models = make_models(self.settings)
        work_dir = self.settings.work_dir / job.id
        work_dir.mkdir(parents=True, exist_ok=True)
        return RunContext(
            job_id=job.id,
            work_dir=work_dir,
            outputs_dir=self.settings.outputs_dir,
            cache_dir=self.settings.cache_dir,
            models=self._models,
            presets=presets_for(self.settings, job.preset),
            emit=self._reporter(job),
            owner=job.owner,
            deaths=job.rung,
            should_stop=lambda: heart.stop_asked or self.quit.is_set(),
        )

    def _reporter(self, job: Job) -> Callable[[Event], None]:
        """`emit` of a run: writes to the store, Progress of one stage a few times a second."""
        last: dict[str, tuple[object, float]] = {}

        def emit(event: Event) -> None:
            if isinstance(event, Done | Failed):
                return
            if isinstance(event, Progress):
                place, now = (event.stage, event.window), time.monotonic()
                before, when = last.get("progress", (None, 0.0))
                if before == place and now - when < PROGRESS_S:
                    return
                last["progress"] = (place, now)
            if isinstance(event, SegmentDone):
                event = replace(event, bytes=_size(Path(event.path)))
            self.store.report(job.id, self.options.worker_id, event)

        return emit


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _message(error: Exception) -> str:
    """`error` as a sentence for the user."""
    if isinstance(error, StudioError):
        return str(error)
    if is_storage(error):
        return "the disk is full; free some space and the queue goes on by itself"
    if _is_memory(error):
        return "memory ran out; make the clip smaller or shorter, or choose a stronger offload"
    return (
        f"something inside went wrong ({type(error).__name__}: {str(error)[:200]}); "
        "retry the job, and if it happens again report it with logs/worker.log"
    )


def _is_memory(error: Exception) -> bool:
    """Whether memory ran out, on the host or (by name, torch stays unimported) on the device."""
    if isinstance(error, MemoryError | MemoryBudgetError):
        return True
    # On a CPU torch says so in words only.
    return type(error).__name__ == "OutOfMemoryError" or (
        isinstance(error, RuntimeError) and "not enough memory" in str(error)
    )


def main(arguments: list[str] | None = None) -> int:
    """Serve until idle; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m studio.jobs.worker")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--worker-id", default=f"worker-{os.getpid()}")
    parser.add_argument("--runner", default=DEFAULT_RUNNER)
    parser.add_argument("--idle-s", type=float, default=Options.idle_s)
    parser.add_argument("--parent", type=int, default=0)
    given = parser.parse_args(arguments)
    log_as_json(sys.stderr)
    if not die_with(given.parent):
        return 0
    try:
        settings = Settings(data_dir=given.data_dir)
        prepare_data_dir(settings)
        store = JobStore(settings.jobs_db)
        runner = load_runner(given.runner)
    except StudioError as error:
        log.error("%s", error)
        return EXIT_STORAGE if is_storage(error) else EXIT_START
    options = Options(given.worker_id, idle_s=given.idle_s, parent=given.parent)
    worker = Worker(store, settings, runner, options)
    signal.signal(signal.SIGTERM, lambda *_: worker.quit.set())
    signal.signal(signal.SIGINT, lambda *_: worker.quit.set())
    try:
        return worker.serve()
    except StorageError as error:
        log.error("%s", error)
        return EXIT_STORAGE
    finally:
        store.close()


if __name__ == "__main__":
    sys.exit(main())
