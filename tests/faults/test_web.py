"""The web process is killed: its worker dies with it and the next one goes on with the job."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from studio.core.errors import StorageError
from studio.core.settings import ROOT
from studio.jobs.backup import back_up, backup_path, open_store
from studio.jobs.store import JobStore
from tests.faults import toy
from tests.faults.conftest import TOY, Studio, wait_for

WEB = f"""
import sys, time
from pathlib import Path
from studio.core.settings import Settings
from studio.jobs.backup import open_store
from studio.jobs.supervisor import Policy, Supervisor
settings = Settings(data_dir=Path(sys.argv[1]))
supervisor = Supervisor(open_store(settings.jobs_db), settings, Policy({TOY!r}, tick_s=0.03))
supervisor.start()
while supervisor.worker_pid() is None:
    time.sleep(0.02)
print(supervisor.worker_pid(), flush=True)
time.sleep(600)
"""


def test_the_worker_dies_with_the_web_process_and_the_job_goes_on(studio: Studio) -> None:
    job_id = studio.submit(seconds=12, seed=6)
    command = [sys.executable, "-c", WEB, str(studio.settings.data_dir)]
    web = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        worker = int(web.stdout.readline())
        wait_for(lambda: len(studio.store.get(job_id).segments) >= 2)
    finally:
        web.send_signal(signal.SIGKILL)
        web.wait()
        web.stdout.close()
    wait_for(lambda: not Path("/proc", str(worker)).exists(), patience_s=5)
    assert studio.store.get(job_id).state == "running"
    studio.open()
    job = studio.wait(job_id, "done")
    assert (job.attempt, job.strikes) == (2, 0)
    assert studio.clip(job_id) == toy.expected(6, 12)
    assert toy.computed(studio.work(job_id)) == list(range(12))


@pytest.mark.parametrize("damage", ["zeros", "header", "truncated"])
def test_a_broken_store_is_replaced_by_its_backup(tmp_path: Path, damage: str) -> None:
    studio = Studio(tmp_path)
    ids = [studio.submit() for _ in range(5)]
    back_up(studio.store)
    studio.store.close()
    path = studio.settings.jobs_db
    whole = path.read_bytes()
    path.write_bytes(
        {
            "zeros": whole[:4096] + bytes(len(whole) - 4096),
            "header": b"not a database" * 400,
            "truncated": whole[: len(whole) // 2],
        }[damage]
    )
    store = open_store(path)
    assert [job.id for job in store.list()] == ids[::-1]
    assert list(tmp_path.glob("jobs.sqlite.broken-*"))
    store.close()


def test_a_broken_store_without_a_backup_starts_empty(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    path.write_bytes(b"not a database" * 400)
    backup_path(path).write_bytes(b"neither is this" * 400)
    store = open_store(path)
    assert store.list() == []
    store.close()


def test_the_backup_of_a_sound_store_is_made_at_start(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    open_store(path).close()
    assert backup_path(path).exists()
    with sqlite3.connect(backup_path(path)) as db:
        assert db.execute("SELECT count(*) FROM job").fetchone()[0] == 0
    db.close()


def test_a_store_that_is_a_folder_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "jobs.sqlite").mkdir()
    with pytest.raises(StorageError, match="--data-dir"):
        JobStore(tmp_path / "jobs.sqlite")
