"""The job store: turns, fencing, idempotence, holds, reorder, pruning."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from studio.core.errors import JobError, StorageError
from studio.core.events import Done, Notice, Preview, Progress, SegmentDone
from studio.core.request import TextToVideo, dump_request
from studio.jobs.lease import MAX_ATTEMPTS, MAX_STRIKES
from studio.jobs.schema import MIGRATIONS, connect, migrate
from studio.jobs.store import JobStore, LeaseLost

LEASE_S = 10.0


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> JobStore:
    return JobStore(tmp_path / "jobs.sqlite", clock)


def request(prompt: str = "a red ball rises", **fields: object) -> TextToVideo:
    return TextToVideo.model_validate({"prompt": prompt, **fields})


def segment(window: int) -> SegmentDone:
    return SegmentDone(window, f"window-{window:03d}.mp4", 24 * window, 25, "0" * 64)


def claimed(store: JobStore, worker: str = "w") -> str:
    job = store.claim(worker, LEASE_S)
    assert job is not None
    return job.id


def test_a_submitted_job_comes_back_as_it_was(store: JobStore) -> None:
    wish = request(seed=7, seconds=2)
    job = store.get(store.submit(wish, "anna"))
    assert (job.state, job.owner, job.kind, job.preset) == ("queued", "anna", "t2v", "pocket")
    assert job.request == dump_request(wish)
    assert job.prompt == "a red ball rises"


def test_the_same_key_is_the_same_job_for_one_owner_only(store: JobStore) -> None:
    first = store.submit(request(), "anna", "k1")
    assert store.submit(request("another"), "anna", "k1") == first
    assert store.submit(request(), "bert", "k1") != first
    assert len(store.list()) == 2


def test_double_submit_from_many_threads_makes_one_job(store: JobStore) -> None:
    ids: list[str] = []
    threads = [
        threading.Thread(target=lambda: ids.append(store.submit(request(), "anna", "click")))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 8
    assert len(set(ids)) == 1


def test_unknown_job_is_a_sentence(store: JobStore) -> None:
    with pytest.raises(JobError, match="no job 'nope'"):
        store.get("nope")


def test_owners_take_turns_and_priority_goes_first(store: JobStore) -> None:
    a = [store.submit(request(), "anna") for _ in range(3)]
    b = [store.submit(request(), "bert") for _ in range(2)]
    urgent = store.submit(request(), "anna", priority=5)
    order = [claimed(store) for _ in range(6)]
    # anna's urgent job was her turn, so bert is next; then they alternate.
    assert order == [urgent, b[0], a[0], b[1], a[1], a[2]]
    assert store.claim("w", LEASE_S) is None


def test_two_workers_never_get_the_same_job(store: JobStore) -> None:
    ids = {store.submit(request(), f"owner{i % 3}") for i in range(30)}
    got: list[str] = []

    def work(name: str) -> None:
        while (job := store.claim(name, LEASE_S)) is not None:
            got.append(job.id)

    threads = [threading.Thread(target=work, args=(f"w{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 30
    assert set(got) == ids


def test_reports_fill_the_row_and_progress_is_coalesced(store: JobStore, clock: Clock) -> None:
    store.submit(request(), "anna")
    job_id = claimed(store)
    for step in range(10):
        clock.now += 1
        progress = Progress("sampling", step=step, steps=10, done=step / 10)
        store.report(job_id, "w", progress)
        store.report(job_id, "w", Preview("p.webp", step=step))
    store.report(job_id, "w", segment(0))
    store.report(job_id, "w", Progress("sampling", window=1, step=0, steps=10, done=0.5))
    store.report(job_id, "w", Notice("rounded to 25 frames"))
    job = store.get(job_id)
    assert job.progress is not None
    assert job.progress.window == 1
    assert (job.preview, job.message) == ("p.webp", "rounded to 25 frames")
    assert job.segments == (segment(0),)
    story = store.events(job_id)
    assert [type(e.event).__name__ for e in story] == [
        "Progress",
        "Preview",
        "SegmentDone",
        "Progress",
        "Notice",
    ]
    assert story[0].last_s - story[0].first_s == 9
    assert [e.seq for e in store.events(job_id, after=story[2].seq)] == [e.seq for e in story[3:]]


def test_done_and_failed_end_a_job(store: JobStore) -> None:
    for _ in range(2):
        store.submit(request(), "anna")
    first, second = claimed(store), claimed(store, "v")
    store.finish(first, "w", Done("clip1", "outputs/clip1.mp4", {"frames": 25}))
    store.fail(second, "v", "MediaError", "the picture is broken; choose another")
    done, failed = store.get(first), store.get(second)
    assert (done.state, done.clip_id, done.summary) == ("done", "clip1", {"frames": 25})
    assert (failed.state, failed.error) == ("failed", "MediaError")
    assert "choose another" in failed.message
    assert done.finished is not None
    assert done.worker is None


def test_a_worker_that_lost_its_job_is_not_heard(store: JobStore) -> None:
    store.submit(request(), "anna")
    job_id = claimed(store, "old")
    store.interrupt("old", "the worker ended", strike=False)
    store.revive()
    assert claimed(store, "new") == job_id
    for say in (
        lambda: store.report(job_id, "old", Progress("sampling")),
        lambda: store.finish(job_id, "old", Done("x", "x", {})),
        lambda: store.heartbeat(job_id, "old", LEASE_S),
        lambda: store.requeue(job_id, "old"),
        lambda: store.stopped(job_id, "old"),
    ):
        with pytest.raises(LeaseLost):
            say()
    job = store.get(job_id)
    assert (job.state, job.worker, job.attempt) == ("running", "new", 2)
    assert store.events(job_id)[-1].event == Notice("the worker ended")


def test_only_leases_that_ran_out_are_expired(store: JobStore, clock: Clock) -> None:
    for _ in range(2):
        store.submit(request(), "anna")
    first = claimed(store, "a")
    claimed(store, "b")
    clock.now += LEASE_S - 1
    store.heartbeat(first, "a", LEASE_S)
    clock.now += 2
    assert store.owners_of_leases(expired=True) == ["b"]
    assert sorted(store.owners_of_leases()) == ["a", "b"]
    assert store.get(first).beats == 1


def test_a_poison_job_fails_after_three_strikes(store: JobStore) -> None:
    job_id = store.submit(request(), "anna")
    for _ in range(MAX_STRIKES):
        assert store.get(job_id).state == "queued"
        claimed(store)
        store.interrupt("w", "the worker crashed", strike=True)
        store.revive()
    job = store.get(job_id)
    assert (job.state, job.error, job.attempt) == ("failed", "Poison", MAX_STRIKES)
    assert store.retry(job_id).state == "queued"
    assert store.get(job_id).strikes == 0


def test_a_finished_window_clears_the_strikes(store: JobStore) -> None:
    job_id = store.submit(request(), "anna")
    for window in range(2 * MAX_STRIKES):
        claimed(store)
        store.report(job_id, "w", segment(window))
        store.interrupt("w", "the worker crashed", strike=True)
        store.revive()
    assert store.get(job_id).state == "queued"
    assert len(store.get(job_id).segments) == 2 * MAX_STRIKES


def test_being_killed_from_outside_is_no_strike_but_has_an_end(store: JobStore) -> None:
    job_id = store.submit(request(), "anna")
    for _ in range(MAX_ATTEMPTS):
        assert store.get(job_id).state == "queued"
        claimed(store)
        store.interrupt("w", "the worker was killed", strike=False)
        store.revive()
    assert store.get(job_id).state == "failed"


def test_cancel_and_pause_at_once_or_after_the_step(store: JobStore) -> None:
    waiting = store.submit(request(), "anna")
    assert store.cancel(waiting).state == "canceled"
    assert store.cancel(waiting).state == "canceled"
    job_id = store.submit(request(), "anna")
    claimed(store)
    assert store.pause(job_id).stop == "pause"
    assert store.heartbeat(job_id, "w", LEASE_S) == "pause"
    assert store.stopped(job_id, "w").state == "paused"
    assert store.resume(job_id).state == "queued"
    claimed(store)
    store.cancel(job_id)
    assert store.pause(job_id).stop == "cancel"
    assert store.stopped(job_id, "w").state == "canceled"
    with pytest.raises(JobError, match="is canceled"):
        store.pause(job_id)


def test_a_worker_killed_during_cancel_leaves_a_canceled_job(store: JobStore) -> None:
    job_id = store.submit(request(), "anna")
    claimed(store)
    store.cancel(job_id)
    job = store.interrupt("w", "ended", strike=True)
    assert job is not None
    assert (job.state, job.strikes) == ("canceled", 0)


def test_retry_keeps_windows_and_duplicate_starts_afresh(store: JobStore) -> None:
    job_id = store.submit(request(seed=1), "anna")
    claimed(store)
    store.report(job_id, "w", segment(0))
    store.fail(job_id, "w", "NumericError", "the picture is flat; change the seed")
    assert store.retry(job_id).segments == (segment(0),)
    copy = store.get(store.duplicate(job_id, "anna", seed=2))
    assert (copy.request["seed"], copy.segments) == (2, ())
    with pytest.raises(JobError, match="only"):
        store.resume(claimed(store))


def test_moving_changes_the_order(store: JobStore) -> None:
    a, b, c = (store.submit(request(), "anna") for _ in range(3))
    store.move(c, before=a)
    assert (store.ahead(c), store.ahead(a), store.ahead(b)) == (0, 1, 2)
    store.move(a)
    store.move(c, before=a)
    assert [claimed(store) for _ in range(3)] == [b, c, a]
    with pytest.raises(JobError, match="only queued jobs"):
        store.move(a)


def test_a_held_queue_starts_nothing_until_released(store: JobStore) -> None:
    store.submit(request(), "anna")
    store.hold("storage", "the disk is full; free some space")
    assert store.claim("w", LEASE_S) is None
    hold = store.held()
    assert hold is not None
    assert hold.message.startswith("the disk")
    store.hold("user", "the queue is paused")
    store.hold("storage", "again")
    store.release("storage")
    assert store.claim("w", LEASE_S) is None
    store.release("user")
    assert claimed(store)


def test_rev_grows_with_every_visible_change(store: JobStore) -> None:
    seen = [store.rev()]

    def grown() -> bool:
        seen.append(store.rev())
        return seen[-1] > seen[-2]

    job_id = store.submit(request(), "anna")
    assert grown()
    claimed(store)
    assert grown()
    store.report(job_id, "w", Progress("sampling", step=1))
    assert grown()
    store.heartbeat(job_id, "w", LEASE_S)
    assert not grown()
    store.report(job_id, "w", segment(0))
    assert grown()
    store.hold("user", "paused")
    assert grown()
    store.cancel(job_id)
    assert grown()
    store.stopped(job_id, "w")
    store.prune(keep=0)
    assert grown()


def test_pruning_keeps_the_newest_and_all_open_jobs(store: JobStore) -> None:
    ids = [store.submit(request(), "anna") for _ in range(6)]
    for job_id in ids[:5]:
        store.cancel(job_id)
    assert sorted(store.prune(keep=2)) == sorted(ids[:3])
    assert [job.id for job in store.list()] == [ids[5], ids[4], ids[3]]


def test_too_many_waiting_jobs_are_refused(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studio.jobs.store.MAX_QUEUED", 2)
    for _ in range(2):
        store.submit(request(), "anna")
    with pytest.raises(JobError, match="at most 2 jobs may wait"):
        store.submit(request(), "anna")
    assert store.submit(request(), "bert")


def test_two_hundred_submits_keep_their_order(store: JobStore) -> None:
    ids: dict[str, list[str]] = {f"owner{n}": [] for n in range(8)}

    def submit(owner: str) -> None:
        for _ in range(25):
            ids[owner].append(store.submit(request(), owner))

    threads = [threading.Thread(target=submit, args=(owner,)) for owner in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({job_id for mine in ids.values() for job_id in mine}) == 200
    taken: dict[str, list[str]] = {owner: [] for owner in ids}
    for turn in range(200):
        job = store.claim(f"w{turn}", LEASE_S)
        assert job is not None
        taken[job.owner].append(job.id)
        counts = [len(mine) for mine in taken.values()]
        assert max(counts) - min(counts) <= 1
    assert taken == ids


def test_states_and_limits_filter_the_list(store: JobStore) -> None:
    ids = [store.submit(request(), owner) for owner in ("anna", "bert", "anna")]
    store.cancel(ids[0])
    assert [j.id for j in store.list("anna")] == [ids[2], ids[0]]
    assert [j.id for j in store.list("anna", ["queued"])] == [ids[2]]
    assert [j.id for j in store.list(limit=1)] == [ids[2]]
    assert store.counts() == {"queued": 2, "canceled": 1}


def test_the_table_refuses_what_cannot_be(store: JobStore) -> None:
    job_id = store.submit(request(), "anna")
    for change in (
        "state = 'sleeping'",
        "state = 'running'",
        "state = 'done'",
        "request = '{'",
        "priority = 1000",
        "worker = 'w'",
    ):
        with pytest.raises(StorageError, match="CHECK"), store.writing() as db:
            db.execute(f"UPDATE job SET {change} WHERE id = ?", (job_id,))
    assert store.get(job_id).state == "queued"


def test_ten_thousand_rows_are_claimed_by_index(store: JobStore) -> None:
    with store.writing() as db:
        rows = [
            (f"{n:08d}", f"owner{n % 50}", n % 3, n, "queued" if n % 2 else "canceled")
            for n in range(10_000)
        ]
        db.executemany(
            "INSERT INTO job (id, owner, kind, preset, request, priority, position, state, created)"
            " VALUES (?, ?, 't2v', 'pocket', '{}', ?, ?, ?, 0)",
            rows,
        )
        db.execute("INSERT INTO turn (owner) SELECT DISTINCT owner FROM job")
    times = []
    for _ in range(20):
        start = _thread_seconds()
        claimed(store)
        times.append(_thread_seconds() - start)
    assert sorted(times)[10] < 0.005
    with store.reading() as db:
        from studio.jobs import lease

        for query, values in (
            (lease._TOP, ()),
            (lease._OWNER, (1,)),
            (lease._NEXT, ("owner1", 1)),
        ):
            plan = " ".join(
                row["detail"] for row in db.execute(f"EXPLAIN QUERY PLAN {query}", values)
            )
            assert "SCAN job" not in plan
            assert "INDEX" in plan


def _thread_seconds() -> float:
    import time

    return time.thread_time()


def test_a_store_from_a_newer_studio_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    db = connect(path)
    db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.close()
    with pytest.raises(StorageError, match="update the studio"):
        JobStore(path)


def test_migrations_run_once_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    JobStore(path).submit(request(), "anna")
    db = connect(path)
    more = (*MIGRATIONS, "ALTER TABLE meta ADD COLUMN note TEXT; UPDATE meta SET note = 'a;b';")
    migrate(db, more)
    migrate(db, more)
    assert db.execute("SELECT note FROM meta").fetchone()[0] == "a;b"
    assert db.execute("PRAGMA user_version").fetchone()[0] == 2
    assert db.execute("SELECT count(*) FROM job").fetchone()[0] == 1


def test_a_failing_migration_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    JobStore(path).close()
    db = connect(path)
    with pytest.raises(sqlite3.OperationalError):
        migrate(db, (*MIGRATIONS, "CREATE TABLE fine (x); INSERT INTO nowhere VALUES (1);"))
    assert db.execute("PRAGMA user_version").fetchone()[0] == 1
    assert db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'fine'").fetchone()[0] == 0


def test_a_store_that_cannot_be_opened_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="--data-dir"):
        JobStore(tmp_path / "file" / "jobs.sqlite")


def test_a_hold_that_is_not_there_is_released_without_writing(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "jobs.sqlite")
    blocker = sqlite3.connect(store.path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with store.reading() as db:
        db.execute("PRAGMA busy_timeout = 20")
    store.release("worker")
    assert store.revive() == []
    blocker.execute("COMMIT")
    store.hold("storage", "full")
    store.release("worker")
    assert store.held() is not None
    blocker.close()
    store.close()


def test_a_job_can_be_moved_before_another_a_thousand_times(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "jobs.sqlite")
    ids = [store.submit(TextToVideo(prompt=f"ball {k}"), "anna") for k in range(3)]
    first, second, third = ids
    for _ in range(500):
        store.move(second, before=third)
        store.move(first, before=third)
        second, first = first, second
    order = [store.claim("w", 60.0).id for _ in ids]
    assert order == ids
    store.close()
