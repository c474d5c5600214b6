"""Keeps one worker process alive while there are jobs, and cleans up after those that died.

A thread of the web process. Everything it decides is in `tick`, which can be called by hand.
"""

from __future__ import annotations

import logging
import secrets
import shutil
import signal
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from studio.core.errors import StorageError, StudioError
from studio.core.settings import Settings
from studio.jobs.backup import back_up
from studio.jobs.context import DEFAULT_RUNNER
from studio.jobs.lock import FolderLock
from studio.jobs.process import (
    Exit,
    Kind,
    classify,
    kernel_oom_kills,
    last_line,
    worker_command,
    worker_environment,
)
from studio.jobs.records import Job
from studio.jobs.space import Space, is_storage
from studio.jobs.store import JobStore

log = logging.getLogger("studio.supervisor")

LOCAL = "local-"
LOG_BYTES = 5 * 2**20
KILLED_WAIT_S = 2.0


@dataclass(frozen=True)
class Policy:
    """How patient the supervisor is, in seconds."""

    runner: str = DEFAULT_RUNNER
    tick_s: float = 0.25
    idle_s: float = 600.0
    cancel_grace_s: float = 20.0
    """A running job that should be canceled may finish its step for this long."""
    pause_grace_s: float = 120.0
    hang_s: float = 180.0
    """A worker whose heart does not beat for this long is ended."""
    space_s: float = 2.0
    """How often the disk is looked at."""
    back_off_s: float = 1.0
    """Wait after the second failure in a row; doubles up to `back_off_max_s`."""
    back_off_max_s: float = 60.0
    backup_s: float = 3600.0
    leases_s: float = 5.0
    """How often leases that ran out are looked for."""
    keep_jobs: int = 500
    """Ended jobs that are remembered; clips are never forgotten."""


@dataclass
class _Child:
    """A worker process and what was seen of it."""

    worker_id: str
    process: subprocess.Popen[bytes]
    oom_kills: int | None
    ended_by_us: Kind | None = None
    beats: tuple[str, int] = ("", -1)
    beats_since: float = field(default_factory=time.monotonic)
    stop_since: float | None = None


class Supervisor(threading.Thread):
    """Starts a worker when jobs wait; classifies how it ends; revives what it left behind."""

    def __init__(
        self,
        store: JobStore,
        settings: Settings,
        policy: Policy | None = None,
        space: Space | None = None,
    ) -> None:
        super().__init__(name="supervisor", daemon=True)
        self.store = store
        self.settings = settings
        self.policy = policy or Policy()
        self.space = space or Space(settings.data_dir)
        self.exits: list[Exit] = []
        """How workers ended, newest last; for the page and for tests."""
        self._child: _Child | None = None
        self._lock = FolderLock(settings.data_dir / ".supervisor.lock")
        self._ready = False
        self._failures = 0
        self._not_before = 0.0
        self._due: dict[str, float] = {}
        self._end = threading.Event()

    def run(self) -> None:
        """Tick until `close`; then end the worker softly and let its job be taken up next time."""
        # The kernel ends workers when the thread that started them ends: all is done in this one.
        while not self._end.wait(self.policy.tick_s):
            try:
                self.tick()
            except (StudioError, OSError) as error:
                # A full disk shows itself anywhere (a log, a lock, a process that cannot start):
                # the thread lives on and looks again, else the queue would stand still for good.
                log.error("supervisor: %s", error)
                if is_storage(error):
                    self.space.drop_ballast()
                self._end.wait(min(1.0, 4 * self.policy.tick_s))
        self._shut_down()

    def close(self, timeout_s: float = 8.0) -> None:
        """End the thread and its worker; a running job goes on at the next start."""
        self._end.set()
        if self.is_alive():
            self.join(timeout_s)

    def worker_pid(self) -> int | None:
        """The process id of the worker, if there is one."""
        child = self._child
        return None if child is None else child.process.pid

    def tick(self) -> None:
        """Look at everything once."""
        if not self._lock.acquire():
            # Another studio serves this data directory; take over when it ends.
            return
        if not self._ready:
            self._recover()
            self._ready = True
        if self._is_due("space", self.policy.space_s):
            self._watch_space()
        if self._is_due("backup", self.policy.backup_s):
            self._tidy()
            back_up(self.store)
        if self._is_due("leases", self.policy.leases_s):
            self._expire()
        if self._child is not None:
            self._watch(self._child)
        if self._child is None and time.monotonic() >= self._not_before:
            self.store.release("worker")
            if self._is_wanted():
                self._child = self._spawn()

    def _recover(self) -> None:
        """What a studio that ended left behind: jobs without a worker, half-written files."""
        for worker_id in self.store.owners_of_leases():
            # With the lock held no other supervisor lives, and its workers died with it.
            if worker_id.startswith(LOCAL):
                text = "the studio ended; the job goes on at its next window"
                self.store.interrupt(worker_id, text, strike=False)
        self.store.revive()
        self._tidy()
        self.space.keep_ballast()

    def _tidy(self) -> None:
        """Forget the oldest ended jobs, and the folders that no job needs."""
        self.store.prune(self.policy.keep_jobs)
        sweep(self.settings.work_dir, self.store.unfinished())

    def _expire(self) -> None:
        mine = self._child.worker_id if self._child is not None else None
        for worker_id in self.store.owners_of_leases(expired=True):
            if worker_id != mine:
                text = "its worker was not heard of for a while"
                self.store.interrupt(worker_id, text, strike=True)
        self.store.revive()

    def _watch_space(self) -> None:
        held = self.store.held()
        lacking = self.space.lacking()
        if lacking and (held is None or held.reason == "worker"):
            self.store.hold("storage", lacking)
        elif not lacking and held is not None and held.reason == "storage":
            self._resume_after_storage()
        elif not lacking and held is None:
            self.space.keep_ballast()
            self._due.pop("storage-wait", None)

    def _resume_after_storage(self) -> None:
        """Go on, but ever less eagerly while the same trouble comes back."""
        wait = self._due.get("storage-wait", 0.0)
        if self._is_due("storage", wait):
            self._due["storage-wait"] = min(max(2 * wait, self.policy.space_s), 300.0)
            self.store.release("storage")

    def _is_wanted(self) -> bool:
        return self.store.held() is None and bool(self.store.list(states=["queued"], limit=1))

    def _spawn(self) -> _Child:
        worker_id = f"{LOCAL}{secrets.token_hex(6)}"
        command = worker_command(
            self.settings, worker_id, runner=self.policy.runner, idle_s=self.policy.idle_s
        )
        with _log_file(self.settings.data_dir / "logs" / "worker.log") as out:
            process = subprocess.Popen(
                command,
                env=worker_environment(self.settings),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        log.info("worker starts", extra={"worker": worker_id, "pid": process.pid})
        return _Child(worker_id, process, kernel_oom_kills())

    def _watch(self, child: _Child) -> None:
        returncode = child.process.poll()
        if returncode is not None:
            # Forgotten only once all is written down: on a full disk the next tick tries again,
            # else its job would count as running until the lease ran out.
            self._bury(child, returncode)
            return
        running = self.store.list(states=["running"], limit=20)
        job = next((j for j in running if j.worker == child.worker_id), None)
        if job is None:
            child.beats, child.stop_since = ("", -1), None
            child.beats_since = time.monotonic()
            return
        self._watch_stop(child, job)
        self._watch_beats(child, job)

    def _watch_stop(self, child: _Child, job: Job) -> None:
        now = time.monotonic()
        if not job.stop:
            child.stop_since = None
            return
        if child.stop_since is None:
            child.stop_since = now
        grace = {
            "kill": 0.0,
            "cancel": self.policy.cancel_grace_s,
            "pause": self.policy.pause_grace_s,
        }[job.stop]
        if now - child.stop_since >= grace:
            self._kill(child, "cancelled")

    def _watch_beats(self, child: _Child, job: Job) -> None:
        now, beats = time.monotonic(), (job.id, job.beats)
        if beats != child.beats:
            child.beats, child.beats_since = beats, now
        elif now - child.beats_since >= self.policy.hang_s:
            self._kill(child, "hung")

    def _kill(self, child: _Child, why: Kind) -> None:
        child.ended_by_us = why
        child.process.kill()
        child.process.wait()

    def _bury(self, child: _Child, returncode: int) -> None:
        """A worker ended: say why, take its job back, and decide when the next one may start."""
        now_killed = kernel_oom_kills()
        known = now_killed is not None and child.oom_kills is not None
        end = classify(
            returncode,
            out_of_memory=now_killed != child.oom_kills if known else None,
            we_killed=child.ended_by_us,
        )
        if end.kind == "storage":
            self.space.drop_ballast()
            self.store.hold("storage", end.message)
        job = self.store.interrupt(child.worker_id, end.message, strike=end.strike, rung=end.rung)
        self.store.revive()
        self._child = None
        self.exits.append(end)
        log.info("worker ended", extra={"kind": end.kind, "status": returncode})
        self._pace(end, job)

    def _pace(self, end: Exit, job: Job | None) -> None:
        """Back off while workers fail in a row without getting anywhere."""
        if end.kind in ("idle", "cancelled", "storage"):
            self._failures = 0
        elif job is not None and job.strikes <= 1:
            # It had come further than the last one: a window was finished, or it is another job.
            self._failures = 1
        else:
            self._failures += 1
        if self._failures >= 2:
            wait = self.policy.back_off_s * 2 ** min(self._failures - 2, 20)
            # Whoever ends workers from outside does not wait for us: neither do the jobs for long.
            most = KILLED_WAIT_S if end.kind == "killed" else self.policy.back_off_max_s
            self._not_before = time.monotonic() + min(wait, most)
        if job is None and end.kind in ("start", "crash"):
            why = last_line(self.settings.data_dir / "logs" / "worker.log")
            self.store.hold("worker", f"{end.message}; it is tried again soon ({why})")

    def _shut_down(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.process.send_signal(signal.SIGTERM)
            try:
                child.process.wait(5.0)
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
            with suppress(StorageError):
                text = "the studio ended; the job goes on at its next window"
                self.store.interrupt(child.worker_id, text, strike=False)
        self._lock.release()

    def _is_due(self, what: str, every_s: float) -> bool:
        now = time.monotonic()
        if now < self._due.get(what, 0.0):
            return False
        self._due[what] = now + every_s
        return True


def sweep(work_dir: Path, keep: set[str]) -> list[str]:
    """Remove work folders that belong to no open job, and half-written files; what went.

    Folders that a command line is using ("cli-<pid>-...") stay while that process lives.
    """
    gone = []
    for path in sorted(work_dir.iterdir()) if work_dir.exists() else []:
        if path.name in keep:
            for half in [*path.glob("*.tmp"), *path.glob(".*.tmp")]:
                half.unlink(missing_ok=True)
        elif path.is_dir() and not _in_use(path.name):
            shutil.rmtree(path, ignore_errors=True)
            gone.append(path.name)
    return gone


def _in_use(name: str) -> bool:
    parts = name.split("-")
    return parts[0] == "cli" and len(parts) > 1 and Path("/proc", parts[1]).exists()


def _log_file(path: Path) -> BinaryIO:
    """The worker's log, opened to append; a long one is set aside first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > LOG_BYTES:
        path.replace(path.with_suffix(".log.1"))
    return path.open("ab")
