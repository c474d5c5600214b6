"""A disk that is really full: a small tmpfs, where this machine lets us mount one."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from studio.jobs.backup import open_store
from studio.jobs.space import Space, is_storage
from studio.jobs.supervisor import Supervisor
from tests.faults import toy
from tests.faults.conftest import Studio, wait_for

SIZE_KB = 48_000
NEEDED_BYTES = 16 * 2**20


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Studio]:
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_KB}k", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(command, check=False).returncode:
        pytest.skip("this machine does not let us mount a tmpfs")
    studio = Studio(place / "data")
    try:
        yield studio
    finally:
        studio.close()
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(studio: Studio, leave_bytes: int) -> Path:
    """Take the disk's space but for `leave_bytes`."""
    filler = studio.settings.data_dir / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        # A worker may take some of it at the same time.
        for chunk in (2**20, 4096):
            while shutil.disk_usage(studio.settings.data_dir).free >= leave_bytes + chunk:
                file.write(b"x" * chunk)
    return filler


def supervise(studio: Studio) -> Supervisor:
    """The supervisor, that looks at the real disk."""
    space = Space(studio.settings.data_dir, min_free_bytes=NEEDED_BYTES)
    studio.supervisor = Supervisor(studio.store, studio.settings, studio.policy, space)
    studio.supervisor.start()
    return studio.supervisor


@pytest.mark.parametrize("leave_bytes", [0, 50_000])
def test_a_disk_that_runs_full_in_the_middle_spoils_nothing(
    small: Studio, leave_bytes: int
) -> None:
    supervise(small)
    job_id = small.submit(seconds=240, seed=11)
    waiting = small.submit(seconds=1, seed=12)
    wait_for(lambda: len(small.store.get(job_id).segments) >= 1)
    filler = fill(small, leave_bytes)
    wait_for(lambda: small.store.held() is not None)
    assert "free some space" in small.store.held().message
    wait_for(lambda: small.store.get(job_id).state != "running")
    assert small.store.get(job_id).state in ("queued", "interrupted")
    assert small.store.get(waiting).state == "queued"
    assert small.supervisor.is_alive()
    filler.unlink()
    for seed, windows, one in ((11, 240, job_id), (12, 1, waiting)):
        job = small.wait(one, "done", "failed")
        assert job.state == "done", job.message
        assert small.clip(one) == toy.expected(seed, windows)
    assert sorted(toy.computed(small.work(job_id))) in ([], list(range(240)))
    wait_for(lambda: small.store.held() is None)


def test_a_studio_starts_on_a_full_disk_and_says_so(small: Studio) -> None:
    job_id = small.submit(seconds=1, seed=3)
    Space(small.settings.data_dir).keep_ballast()
    small.store.close()
    filler = fill(small, 0)
    small.store = open_store(small.settings.jobs_db)
    assert list(small.settings.data_dir.glob("*.bak.tmp")) == []
    supervise(small)
    wait_for(lambda: small.supervisor.space.lacking() != "")
    assert small.store.get(job_id).state == "queued"
    assert small.supervisor.worker_pid() is None
    filler.unlink()
    assert small.wait(job_id, "done").attempt == 1


def test_what_libraries_say_in_words_is_a_full_disk_too() -> None:
    assert is_storage(RuntimeError("SafetensorError: I/O error: No space left on device"))
    assert is_storage(RuntimeError("database or disk is full"))
    assert not is_storage(RuntimeError("the picture is too large"))
