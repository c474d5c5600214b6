"""What stands on every device of a cluster: one worker, asked about its job from far away.

A plain class; `cluster` makes a detached Ray actor of it. `run` works while `collect` answers, so
the actor needs two threads at least.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from studio.core.errors import StudioError
from studio.core.events import Event, Progress
from studio.core.settings import Settings, prepare_data_dir
from studio.jobs.context import DEFAULT_RUNNER, RunContext, Runner, load_runner
from studio.jobs.heartbeat import Heartbeat
from studio.jobs.process import kernel_oom_kills
from studio.jobs.records import Job, Stop
from studio.jobs.store import JobStore
from studio.jobs.worker import Options, Worker
from studio.scale.depot import Depot, Stored
from studio.scale.outbox import ENDS, Letter, Outbox, is_publishing
from studio.scale.shelf import CLIPS, STEPS, WORK, Shelf, place

log = logging.getLogger("studio.actor")

GIVEN = "given"
"""The folder for pictures, sounds and clips that a request reads."""


@dataclass(frozen=True)
class Seat:
    """What an actor is told when it is made."""

    name: str
    scratch: str
    """A folder of its machine's own disk."""
    device: str = "auto"
    threads: int = 0
    budget_bytes: int = 0
    runner: str = DEFAULT_RUNNER
    lease_s: float = 60.0
    beat_s: float = 0.5


@dataclass(frozen=True)
class Task:
    """One attempt at one job."""

    job: Job
    worker_id: str
    """Unlike any other attempt's: the fence of everything that is said about it."""
    fence: float
    depot_url: str
    given: dict[str, Stored]
    """Files the request reads, by name below the folder for them."""
    library: dict[str, Stored]
    """Files of the front end's library that it reads: a clip's parts, for a retake."""
    presets: dict[str, str]
    """The user's own presets, text by file name."""
    group: GroupPlace | None = None


@dataclass(frozen=True)
class GroupPlace:
    """Where an actor stands among those that share one clip."""

    address: str
    rank: int
    world: int
    by: str = "windows"


@dataclass(frozen=True)
class Answer:
    """What an actor says when it is asked."""

    worker_id: str | None
    """Whose task it has; None when it is free."""
    job_id: str | None
    letters: list[Letter]
    preset: str | None
    """The preset of its last job, whose model is in memory."""
    over: bool
    """Whether the task's last word is among what was said."""
    pid: int
    restart: bool = False
    """Whether this process should be replaced."""
    oom_kills: int | None = None
    """How many processes its machine's kernel has ended for memory, None where nobody says."""


class DeviceActor:
    """One device's worker."""

    def __init__(self, seat: Seat) -> None:
        self.seat = seat
        self.settings = Settings(
            data_dir=Path(seat.scratch),
            device=seat.device,
            threads=seat.threads,
            budget_bytes=seat.budget_bytes,
        )
        prepare_data_dir(self.settings)
        self.outbox = Outbox(seat.lease_s)
        self.open_depot: Callable[[str], Depot] = Depot
        self._task: Task | None = None
        self._preset: str | None = None
        self._over = False
        self._restart = False
        self._busy = threading.Lock()
        options = Options(seat.name, lease_s=seat.lease_s, beat_s=seat.beat_s)
        runner = _Grouped(load_runner(seat.runner), self)
        store = cast(JobStore, self.outbox)
        self._worker = _FarWorker(store, self.settings, runner, options)

    def run(self, task: Task) -> None:
        """Run a task to whatever end; what there is to say about it waits in the outbox."""
        with self._busy:
            self._over, self._task = False, task
            self.outbox.begin(task.job)
            try:
                self._run(task)
            except StudioError as error:
                log.warning("task ended: %s", error)
                self.outbox.requeue(task.job.id, task.worker_id, str(error))
            finally:
                self._preset = task.job.preset
                self._over = True
                self.outbox.before_sending = lambda _event: None

    def collect(self, acknowledged: int = 0, stop: Stop = "") -> Answer:
        """What was said after letter `acknowledged`."""
        over = self._over
        letters = self.outbox.collect(acknowledged, stop)
        task = self._task
        if over and not letters:
            self._task = task = None
        return Answer(
            worker_id=None if task is None else task.worker_id,
            job_id=None if task is None else task.job.id,
            letters=letters,
            preset=self._preset,
            over=over and any(letter.call in ENDS for letter in letters),
            pid=os.getpid(),
            restart=self._restart,
            oom_kills=kernel_oom_kills(),
        )

    def drop(self, worker_id: str) -> None:
        """The task was given to somebody else."""
        if self._task is not None and self._task.worker_id == worker_id:
            self.outbox.drop()

    def open_group(self) -> str:
        """An address of this machine at which a group can meet."""
        with socket.socket() as found:
            found.bind(("", 0))
            port: int = found.getsockname()[1]
        return f"tcp://{_own_address()}:{port}"

    def follow(self, where: GroupPlace) -> None:
        """Compute parts of another actor's clip until that is done."""
        from studio.scale.group import follow

        with self._busy:
            follow(where.address, where.rank, where.world, self._worker.models)

    def _run(self, task: Task) -> None:
        depot = self.open_depot(task.depot_url)
        roots = _fresh_roots(self.settings, task.job.id)
        try:
            shelf = Shelf(depot, task.job.id, task.fence, roots[WORK], roots[CLIPS])
            shelf.open()
            for name, stored in task.given.items():
                depot.take(task.job.id, stored, place(roots, f"{GIVEN}/{name}"))
            for name, stored in task.library.items():
                depot.take(task.job.id, stored, place(roots, f"{CLIPS}/{name}"))
            shelf.ignore(CLIPS)
            write_presets(self.settings, task.presets)
            self.outbox.before_sending = publisher(shelf)
            request = with_files(task.job.request, roots[GIVEN])
            status = self._worker.attempt(
                replace(task.job, request=request), task.worker_id, roots[CLIPS]
            )
            self._restart = bool(status)
        finally:
            for folder in (roots[WORK], roots[CLIPS]):
                shutil.rmtree(folder, ignore_errors=True)


class _FarWorker(Worker):
    """A worker that is given its jobs instead of claiming them."""

    outputs_dir: Path | None = None
    group: GroupPlace | None = None

    @property
    def models(self) -> Any:
        """The models of this process."""
        from studio.jobs.context import make_models

        if self._models is None:
            self._models = make_models(self.settings)
        return self._models

    def attempt(self, job: Job, worker_id: str, outputs_dir: Path) -> int:
        """Run `job`; the exit status of a process that should be replaced, else 0."""
        self.options = replace(self.options, worker_id=worker_id)
        self.outputs_dir = outputs_dir
        return self.run(job)

    def _context(self, job: Job, heart: Heartbeat) -> RunContext:
        context = super()._context(job, heart)
        assert self.outputs_dir is not None
        return replace(context, outputs_dir=self.outputs_dir)


class _Grouped:
    """A runner that opens the task's group of devices around the run, where it has one."""

    def __init__(self, runner: Runner, actor: DeviceActor) -> None:
        self._runner = runner
        self._actor = actor

    def __call__(self, request: Any, ctx: RunContext) -> Any:
        task = self._actor._task
        if task is None or task.group is None:
            return self._runner(request, ctx)
        from studio.scale.group import Group

        where = task.group
        with Group(where.address, where.world, where.by) as group:
            return self._runner(request, replace(ctx, spread=group))


def publisher(shelf: Shelf) -> Callable[[Event], None]:
    """Sends a window's or a clip's files before it is announced, and a run's state when saved."""

    def publish(event: Event) -> None:
        if is_publishing(event):
            shelf.push(WORK)
            shelf.push(CLIPS)
        elif isinstance(event, Progress):
            shelf.push(WORK, only=STEPS)

    return publish


def with_files(request: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The request with every "depot:name" turned into a path below `folder`."""

    def turned(value: Any) -> Any:
        if isinstance(value, str) and value.startswith("depot:"):
            return str(place({GIVEN: folder}, f"{GIVEN}/{value.removeprefix('depot:')}"))
        if isinstance(value, dict):
            return {k: turned(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [turned(v) for v in value]
        return value

    changed: dict[str, Any] = turned(request)
    return changed


def write_presets(settings: Settings, presets: dict[str, str]) -> None:
    """Make the user's own presets those of the front end."""
    folder = settings.user_presets_dir
    for path in folder.glob("*.toml"):
        if path.name not in presets:
            path.unlink(missing_ok=True)
    for name, text in presets.items():
        place({GIVEN: folder}, f"{GIVEN}/{name}").write_text(text, encoding="utf-8")


def _fresh_roots(settings: Settings, job_id: str) -> dict[str, Path]:
    roots = {
        WORK: settings.work_dir / job_id,
        CLIPS: settings.outputs_dir / job_id,
        GIVEN: settings.inputs_dir,
    }
    for folder in (roots[WORK], roots[CLIPS]):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    return roots


def _own_address() -> str:
    """The address under which other machines reach this one; loopback without a network."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            # Nothing is sent: the kernel only says which interface it would take.
            probe.connect(("10.255.255.255", 1))
            return str(probe.getsockname()[0])
    except OSError:
        return "127.0.0.1"
