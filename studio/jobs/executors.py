"""Where jobs run: behind one interface, so that the page does not care."""

from __future__ import annotations

import threading
from typing import Protocol

from studio.core.errors import RequestError
from studio.core.settings import Settings
from studio.jobs.context import DEFAULT_RUNNER, load_runner
from studio.jobs.store import JobStore
from studio.jobs.supervisor import Policy, Supervisor
from studio.jobs.worker import Options, Worker


class Executor(Protocol):
    """Takes jobs out of the store and sees to it that they run."""

    def start(self) -> None:
        """Begin; jobs that an earlier studio left unfinished go on."""

    def close(self) -> None:
        """End within seconds; a running job goes on at the next start."""

    def is_busy(self) -> bool:
        """Whether a process or thread for jobs exists at present."""


class LocalExecutor:
    """A worker process on this machine, watched by a thread of this process."""

    def __init__(self, store: JobStore, settings: Settings, policy: Policy | None = None) -> None:
        if policy is None and settings.spread > 1:
            from studio.scale.local import RUNNER

            policy = Policy(runner=RUNNER)
        self.supervisor = Supervisor(store, settings, policy)

    def start(self) -> None:
        """Start the supervisor."""
        self.supervisor.start()

    def close(self) -> None:
        """End the supervisor and its worker."""
        self.supervisor.close()

    def is_busy(self) -> bool:
        """Whether there is a worker process."""
        return self.supervisor.worker_pid() is not None


class InlineExecutor:
    """A thread of this process: for machines where models must live in it (ZeroGPU), and tests."""

    worker_id = "inline"

    def __init__(self, store: JobStore, settings: Settings, runner: str = DEFAULT_RUNNER) -> None:
        self.store = store
        self.settings = settings
        self.runner = runner
        self._worker: Worker | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Take back what an earlier process left, then serve in a thread."""
        text = "the studio ended; the job goes on at its next window"
        self.store.interrupt(self.worker_id, text, strike=False)
        self.store.revive()
        options = Options(self.worker_id, idle_s=float("inf"))
        self._worker = Worker(self.store, self.settings, load_runner(self.runner), options)
        self._thread = threading.Thread(target=self._worker.serve, name="inline", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End after the current step."""
        if self._worker is not None and self._thread is not None:
            self._worker.quit.set()
            self._thread.join(8.0)

    def is_busy(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()


class RayExecutor:
    """Actors on the devices of a Ray cluster, attended by a thread of this process."""

    def __init__(self, store: JobStore, settings: Settings, policy: Policy | None = None) -> None:
        # Nothing of Ray or of the part that uses it is imported for anybody else.
        from studio.scale.cluster import EXTRA, ray_version
        from studio.scale.front import Front

        if ray_version() is None:
            raise RequestError(
                f"the executor ray needs Ray, which is not installed; pip install -r {EXTRA}"
            )
        self.front = Front(store, settings, policy)

    def start(self) -> None:
        """Join the cluster, and listen to jobs that an earlier studio gave out."""
        self.front.start()

    def close(self) -> None:
        """Leave the cluster; its actors finish within their lease, or are found at it again."""
        self.front.close()

    def is_busy(self) -> bool:
        """Whether an actor has a job."""
        return any(post.mail is not None for post in list(self.front.posts.values()))


def make_executor(store: JobStore, settings: Settings) -> Executor:
    """The executor that the settings name.

    Raises:
        RequestError: for an unknown name.
    """
    match settings.executor:
        case "local":
            return LocalExecutor(store, settings)
        case "inline":
            return InlineExecutor(store, settings)
        case "ray":
            return RayExecutor(store, settings)
        case "zerogpu":
            from studio.jobs.zerogpu import ZeroGpuExecutor

            return ZeroGpuExecutor(store, settings)
    raise RequestError(
        f"an executor is local, inline, ray or zerogpu (got {settings.executor!r}); choose one"
    )
