"""Workers that are killed, crash, run out of memory or disk: no job lost, no output spoilt."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from contextlib import suppress
from pathlib import Path

import pytest

from studio.core.settings import Settings
from studio.jobs.executors import InlineExecutor, LocalExecutor, make_executor
from studio.jobs.store import JobStore
from studio.jobs.supervisor import sweep
from tests.faults import toy
from tests.faults.conftest import TOY, Studio, wait_for


def all_done(studio: Studio, jobs: int) -> bool:
    """Whether every job became a clip."""
    return studio.store.counts() == {"done": jobs}


def kill_storm(studio: Studio, jobs: int, kills: int, seed: int) -> None:
    """`kills` SIGKILLs at random moments over `jobs` 3-window jobs; all end as if unbroken."""
    supervisor = studio.open()
    ids = [studio.submit(seed=k) for k in range(jobs)]
    dice = random.Random(seed)
    for _ in range(kills):
        wait_for(lambda: studio.store.counts().keys() & {"running"} or all_done(studio, jobs))
        time.sleep(dice.uniform(0.0, 1.5))
        with suppress(ProcessLookupError):
            pid = supervisor.worker_pid()
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
                wait_for(lambda gone=pid: supervisor.worker_pid() != gone)
        if all_done(studio, jobs):
            break
    for k, job_id in enumerate(ids):
        job = studio.wait(job_id, "done", "failed")
        assert job.state == "done", job.message
        assert studio.clip(job_id) == toy.expected(k, 3)
        assert [s.window for s in job.segments] == [0, 1, 2]
        # A window may be lost between its last byte and its note, never after it.
        assert len(set(toy.computed(studio.work(job_id)))) == len(toy.computed(studio.work(job_id)))


def test_killed_workers_lose_no_job_and_no_window(studio: Studio) -> None:
    kill_storm(studio, jobs=3, kills=5, seed=1)
    assert {end.kind for end in studio.supervisor.exits} <= {"killed"}


@pytest.mark.slow
def test_twenty_kills_over_ten_jobs(studio: Studio) -> None:
    kill_storm(studio, jobs=10, kills=20, seed=2)
    assert studio.store.counts() == {"done": 10}


def test_poison_jobs_fail_and_the_next_job_runs(studio: Studio) -> None:
    supervisor = studio.open()
    poison = studio.submit("segv")
    good = studio.submit(seconds=1)
    job = studio.wait(poison, "failed")
    assert job.error == "Poison"
    assert job.attempt == 3
    assert "crashed" in job.message
    assert studio.wait(good, "done", "failed").state == "done"
    assert [end.kind for end in supervisor.exits] == ["crash"] * 3
    assert studio.store.held() is None


def test_memory_is_tried_once_more_with_less_then_explained(studio: Studio) -> None:
    studio.open()
    job_id = studio.submit("memory", seconds=1)
    good = studio.submit(seconds=1)
    job = studio.wait(job_id, "failed")
    assert (job.attempt, job.rung) == (2, 1)
    assert "smaller" in job.message
    assert studio.wait(good, "done").summary["offload"] == "auto"
    assert studio.store.retry(job_id).state in ("queued", "running")


def test_our_bugs_and_wrong_inputs_fail_their_job_only(studio: Studio) -> None:
    supervisor = studio.open()
    bug = studio.submit("bug", seconds=1)
    broken = studio.submit("broken picture", seconds=1)
    good = studio.submit(seconds=1)
    assert "ValueError: a bug of ours" in studio.wait(bug, "failed").message
    assert studio.wait(broken, "failed").message == "the picture is broken; choose another"
    assert studio.wait(good, "done").attempt == 1
    assert supervisor.exits == []


def test_a_full_disk_holds_the_queue_and_it_goes_on_by_itself(studio: Studio) -> None:
    full = studio.settings.data_dir / "FULL"
    full.touch()
    studio.free_bytes = 0
    waiting = studio.submit(seconds=1)
    studio.open()
    wait_for(lambda: studio.store.held() is not None)
    assert "free some space" in studio.store.held().message
    assert studio.supervisor.worker_pid() is None
    studio.free_bytes = 2**40
    assert studio.wait(waiting, "done").attempt == 1


def test_a_disk_that_fills_during_a_job_leaves_it_queued(studio: Studio) -> None:
    full = studio.settings.data_dir / "FULL"
    full.touch()
    studio.open()
    job_id = studio.submit("full", seconds=2, seed=5)
    wait_for(lambda: (studio.store.held() or full) != full)
    full.unlink()
    job = studio.wait(job_id, "done", "failed")
    assert job.state == "done"
    assert studio.clip(job_id) == toy.expected(5, 2)
    wait_for(lambda: studio.store.held() is None)


def test_cancel_ends_a_running_job_after_its_step(studio: Studio) -> None:
    supervisor = studio.open()
    job_id = studio.submit(seconds=60)
    waiting = studio.submit(seconds=1)
    studio.wait(job_id, "running")
    wait_for(lambda: len(studio.store.get(job_id).segments) >= 1)
    pid = supervisor.worker_pid()
    asked = time.monotonic()
    studio.store.cancel(job_id)
    job = studio.wait(job_id, "canceled")
    assert time.monotonic() - asked < 10
    assert all(Path(segment.path).exists() for segment in job.segments)
    assert studio.wait(waiting, "done").state == "done"
    # The same worker went on: the model stayed in memory.
    assert supervisor.worker_pid() == pid


def test_cancel_ends_a_deaf_worker(studio: Studio) -> None:
    supervisor = studio.open()
    job_id = studio.submit("deaf", seconds=1)
    next_job = studio.submit(seconds=1)
    studio.wait(job_id, "running")
    studio.store.cancel(job_id)
    assert studio.wait(job_id, "canceled").strikes == 0
    assert studio.wait(next_job, "done").attempt == 1
    assert [end.kind for end in supervisor.exits] == ["cancelled"]


def test_forced_cancel_does_not_wait(studio: Studio) -> None:
    studio.policy = type(studio.policy)(**{**vars(studio.policy), "cancel_grace_s": 3600.0})
    studio.open()
    job_id = studio.submit("deaf", seconds=1)
    studio.wait(job_id, "running")
    studio.store.cancel(job_id)
    studio.store.cancel(job_id, force=True)
    assert studio.wait(job_id, "canceled").clip_id is None


def test_pause_keeps_windows_and_resume_goes_on(studio: Studio) -> None:
    studio.open()
    job_id = studio.submit(seconds=8, seed=3)
    wait_for(lambda: len(studio.store.get(job_id).segments) >= 1)
    studio.store.pause(job_id)
    job = studio.wait(job_id, "paused", "done")
    assert job.state == "paused"
    studio.store.resume(job_id)
    assert studio.wait(job_id, "done").attempt >= 1
    assert studio.clip(job_id) == toy.expected(3, 8)
    assert toy.computed(studio.work(job_id)) == list(range(8))


def test_a_spoilt_window_is_made_again(studio: Studio) -> None:
    studio.open()
    job_id = studio.submit(seconds=6, seed=4)
    wait_for(lambda: len(studio.store.get(job_id).segments) >= 2)
    studio.store.pause(job_id)
    studio.wait(job_id, "paused", "done")
    (studio.work(job_id) / "window-000.mp4").write_bytes(b"")
    spoilt = studio.work(job_id) / "window-001.mp4"
    spoilt.write_bytes(b"\xff" + spoilt.read_bytes()[1:])
    studio.store.resume(job_id)
    studio.wait(job_id, "done")
    assert studio.clip(job_id) == toy.expected(4, 6)


def test_an_idle_worker_ends_and_a_new_job_starts_another(studio: Studio) -> None:
    studio.policy = type(studio.policy)(**{**vars(studio.policy), "idle_s": 0.3})
    supervisor = studio.open()
    studio.wait(studio.submit(seconds=1), "done")
    wait_for(lambda: supervisor.worker_pid() is None)
    assert [end.kind for end in supervisor.exits] == ["idle"]
    assert studio.wait(studio.submit(seconds=1), "done").attempt == 1


def test_a_worker_that_cannot_start_is_explained_and_tried_again(studio: Studio) -> None:
    studio.policy = type(studio.policy)(**{**vars(studio.policy), "runner": "nowhere:run"})
    supervisor = studio.open()
    job_id = studio.submit(seconds=1)
    wait_for(lambda: len(supervisor.exits) >= 2)
    assert {end.kind for end in supervisor.exits} == {"start"}
    wait_for(lambda: studio.store.held() is not None)
    assert "nowhere" in studio.store.held().message
    supervisor.policy = type(studio.policy)(**{**vars(studio.policy), "runner": TOY})
    assert studio.wait(job_id, "done").attempt == 1


def test_closing_gives_the_running_job_back(studio: Studio) -> None:
    supervisor = studio.open()
    job_id = studio.submit(seconds=60)
    wait_for(lambda: len(studio.store.get(job_id).segments) >= 1)
    pid = supervisor.worker_pid()
    supervisor.close(30)
    assert not supervisor.is_alive()
    assert not Path("/proc", str(pid)).exists()
    assert studio.store.get(job_id).state in ("queued", "interrupted")


def test_only_one_supervisor_serves_a_data_directory(studio: Studio) -> None:
    first = studio.open()
    job_id = studio.submit(seconds=60)
    studio.wait(job_id, "running")
    second = studio.open()
    studio.wait(studio.submit(seconds=1), "queued")
    wait_for(second.is_alive)
    assert second.worker_pid() is None
    assert studio.store.get(job_id).state == "running"
    first.close(30)
    wait_for(lambda: second.worker_pid() is not None)


def test_work_folders_without_an_open_job_are_swept(studio: Studio, tmp_path: Path) -> None:
    open_job, work = studio.submit(), studio.settings.work_dir
    for name in (open_job, "0" * 16, f"cli-{os.getpid()}-x", "cli-4194305-x"):
        (work / name).mkdir()
    half = work / open_job / ".window-000.1-ab.tmp"
    half.touch()
    whole = work / open_job / "window-000.mp4"
    whole.touch()
    assert sweep(work, {open_job}) == ["0" * 16, "cli-4194305-x"]
    assert not half.exists()
    assert whole.exists()


def test_the_inline_executor_runs_jobs_in_a_thread(studio: Studio) -> None:
    executor = InlineExecutor(studio.store, studio.settings, TOY)
    executor.start()
    job_id = studio.submit(seconds=2, seed=9)
    studio.wait(job_id, "done")
    assert studio.clip(job_id) == toy.expected(9, 2)
    assert executor.is_busy()
    executor.close()
    assert not executor.is_busy()


def test_the_settings_name_the_executor(studio: Studio) -> None:
    made = make_executor(studio.store, studio.settings)
    assert isinstance(made, LocalExecutor)
    inline = Settings(data_dir=studio.settings.data_dir, executor="inline")
    assert isinstance(make_executor(studio.store, inline), InlineExecutor)


def test_a_clock_that_jumps_takes_no_job_away(studio: Studio) -> None:
    studio.policy = type(studio.policy)(**{**vars(studio.policy), "leases_s": 0.05})
    studio.open()
    job_id = studio.submit(seconds=6)
    wait_for(lambda: studio.store.get(job_id).segments)
    studio.store.clock = lambda: time.time() + 86_400
    job = studio.wait(job_id, "done", "failed")
    assert (job.state, job.attempt) == ("done", 1)
    studio.store.clock = lambda: time.time() - 86_400
    assert studio.wait(studio.submit(seconds=1), "done").attempt == 1


def test_a_lease_that_ran_out_frees_the_job(studio: Studio) -> None:
    job_id = studio.submit(seconds=1)
    studio.store.claim("a-worker-elsewhere", lease_s=0.0)
    studio.open()
    assert studio.wait(job_id, "done").attempt == 2


def test_a_locked_store_is_waited_for(studio: Studio) -> None:
    other = sqlite3.connect(studio.store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    quick = JobStore(studio.store.path)
    with quick.reading() as db:
        db.execute("PRAGMA busy_timeout = 50")
    with pytest.raises(Exception, match="busy"):
        quick.prioritise(studio.store.list()[0].id if studio.store.list() else "x", 1)
    other.execute("COMMIT")
    assert studio.submit()
