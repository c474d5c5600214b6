"""A studio without a page: store, supervisor and toy worker."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from studio.core.request import TextToVideo
from studio.core.settings import Settings, prepare_data_dir
from studio.jobs.backup import open_store
from studio.jobs.records import Job, State
from studio.jobs.space import Space
from studio.jobs.supervisor import Policy, Supervisor

TOY = "tests.faults.toy:run"
PATIENCE_S = 120.0


def wait_for(what: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
    """Wait until `what` is true; fail after `patience_s`."""
    end = time.monotonic() + patience_s
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


class Studio:
    """Everything but the page."""

    def __init__(self, data_dir: Path) -> None:
        self.settings = Settings(data_dir=data_dir)
        prepare_data_dir(self.settings)
        self.store = open_store(self.settings.jobs_db)
        self.free_bytes = 2**40
        self.policy = Policy(
            runner=TOY,
            tick_s=0.03,
            cancel_grace_s=1.0,
            pause_grace_s=1.0,
            space_s=0.1,
            back_off_s=0.1,
        )
        self.supervisor: Supervisor | None = None

    def open(self) -> Supervisor:
        """Start the supervisor."""
        space = Space(self.settings.data_dir, free_bytes=lambda: self.free_bytes)
        self.supervisor = Supervisor(self.store, self.settings, self.policy, space)
        self.supervisor.start()
        return self.supervisor

    def close(self) -> None:
        """End the supervisor and its worker."""
        if self.supervisor is not None:
            self.supervisor.close(30)
        self.store.close()

    def submit(self, prompt: str = "a red ball", seconds: int = 3, seed: int = 0) -> str:
        """Queue a toy job of one window a second."""
        return self.store.submit(TextToVideo(prompt=prompt, seconds=seconds, seed=seed), "anna")

    def wait(self, job_id: str, *states: State) -> Job:
        """The job once it is in one of `states`."""
        wait_for(lambda: self.store.get(job_id).state in states)
        return self.store.get(job_id)

    def work(self, job_id: str) -> Path:
        """The job's work folder."""
        return self.settings.work_dir / job_id

    def clip(self, job_id: str) -> bytes:
        """The job's finished clip."""
        return (self.settings.outputs_dir / f"{job_id}.mp4").read_bytes()


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    made = Studio(tmp_path)
    yield made
    made.close()
