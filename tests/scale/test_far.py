"""What jobs far away rest on, without Ray: depot, shelf, outbox and the actor's class."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from studio.core.errors import StorageError
from studio.core.events import Done, Notice, Preview, Progress, to_json
from studio.core.request import TextToVideo
from studio.core.settings import Settings, prepare_data_dir
from studio.jobs.records import Job, LeaseLost
from studio.jobs.store import JobStore
from studio.scale.actor import DeviceActor, Seat, Task
from studio.scale.depot import Depot, Stored
from studio.scale.mail import Mail
from studio.scale.outbox import Letter, Outbox
from studio.scale.shelf import Shelf, place
from tests.faults.toy import computed, expected

TOY = "tests.faults.toy:run"


class Desk:
    """A store with one claimed job, and an actor in this process."""

    def __init__(self, folder: Path, seconds: int = 3, prompt: str = "a ball") -> None:
        self.settings = Settings(data_dir=folder / "front")
        prepare_data_dir(self.settings)
        self.store = JobStore(self.settings.jobs_db)
        self.folder = folder
        self.url = str(folder / "depot")
        self.depot = Depot(self.url)
        self.id = self.store.submit(TextToVideo(prompt=prompt, seconds=seconds, seed=4), "anna")
        self.actors = 0

    def actor(self) -> DeviceActor:
        self.actors += 1
        scratch = str(self.folder / f"scratch{self.actors}")
        return DeviceActor(Seat(f"a{self.actors}", scratch, "cpu", runner=TOY, beat_s=0.02))

    def task(self, worker_id: str) -> Task:
        job = self.store.claim(worker_id, 60.0)
        assert job is not None
        return Task(job, worker_id, time.time(), self.url, {}, {}, {})

    def mail(self, worker_id: str) -> Mail:
        return Mail(self.store, self.settings, self.depot, self.id, worker_id)

    def listen(self, actor: DeviceActor, mail: Mail) -> Job:
        """Ask until the job has ended for this attempt."""
        while not mail.ended:
            answer = actor.collect(mail.acknowledged, self.store.get(self.id).stop)
            mail.apply(answer.letters)
            time.sleep(0.02)
        return self.store.get(self.id)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def begin(actor: DeviceActor, task: Task) -> threading.Thread:
    thread = threading.Thread(target=actor.run, args=(task,))
    thread.start()
    return thread


def wait_for_window(desk: Desk, actor: DeviceActor, mail: Mail, count: int) -> None:
    end = time.monotonic() + 30
    while len(desk.store.get(desk.id).segments) < count:
        assert time.monotonic() < end
        mail.apply(actor.collect(mail.acknowledged, "").letters)
        time.sleep(0.01)


def test_a_job_runs_far_away_and_its_clip_comes_home(desk: Desk) -> None:
    actor, mail = desk.actor(), desk.mail("w1")
    thread = begin(actor, desk.task("w1"))
    job = desk.listen(actor, mail)
    thread.join()
    assert job.state == "done"
    assert job.path is not None
    assert Path(job.path).parent == desk.settings.outputs_dir
    assert Path(job.path).read_bytes() == expected(4, 3)
    assert [s.window for s in job.segments] == [0, 1, 2]
    assert all(Path(s.path).is_relative_to(desk.settings.work_dir) for s in job.segments)
    assert any(isinstance(e.event, Progress) for e in desk.store.events(desk.id))
    # The depot keeps nothing of a job that is done, and the scratch folder neither.
    assert desk.depot.manifest(desk.id)["files"] == {}
    assert desk.depot.jobs() == set()
    assert actor.collect(mail.acknowledged, "").worker_id is None


def test_another_actor_goes_on_at_the_next_window(desk: Desk) -> None:
    first, mail = desk.actor(), desk.mail("w1")
    thread = begin(first, desk.task("w1"))
    wait_for_window(desk, first, mail, 1)
    # Given up while it still works: what it says later is not heard.
    desk.store.interrupt("w1", "its machine left", strike=False)
    desk.store.revive()
    second, again = desk.actor(), desk.mail("w2")
    task = desk.task("w2")

    def listen_on() -> None:
        while True:
            mail.apply(first.collect(mail.acknowledged, "").letters)

    with pytest.raises(LeaseLost):
        listen_on()
    first.drop("w1")
    thread.join()
    other = begin(second, task)
    job = desk.listen(second, again)
    other.join()
    assert job.state == "done"
    assert Path(str(job.path)).read_bytes() == expected(4, 3)
    scratch = Path(second.settings.work_dir) / desk.id
    assert not scratch.exists()
    assert job.attempt == 2


def test_published_windows_are_not_computed_again(desk: Desk) -> None:
    first, mail = desk.actor(), desk.mail("w1")
    thread = begin(first, desk.task("w1"))
    wait_for_window(desk, first, mail, 2)
    desk.store.pause(desk.id)
    job = desk.listen(first, mail)
    thread.join()
    assert job.state == "paused"
    work = desk.folder / "look"
    Shelf(desk.depot, desk.id, time.time(), work, desk.folder / "none").open()
    before = computed(work)
    assert before[:2] == [0, 1]
    desk.store.resume(desk.id)
    second, again = desk.actor(), desk.mail("w2")
    kept: list[list[int]] = []
    publish = Shelf.push

    def seen(self: Shelf, root: str = "work", only: str | None = None) -> bool:
        kept.append(computed(self.roots["work"]))
        return publish(self, root, only)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Shelf, "push", seen)
        other = begin(second, desk.task("w2"))
        assert desk.listen(second, again).state == "done"
        other.join()
    assert sorted(kept[-1]) == [0, 1, 2]


def test_cancel_reaches_the_actor_and_keeps_windows(tmp_path: Path) -> None:
    desk = Desk(tmp_path, seconds=60)
    actor, mail = desk.actor(), desk.mail("w1")
    thread = begin(actor, desk.task("w1"))
    wait_for_window(desk, actor, mail, 1)
    desk.store.cancel(desk.id)
    job = desk.listen(actor, mail)
    thread.join()
    assert job.state == "canceled"
    assert 1 <= len(job.segments) < 60
    assert Path(job.segments[0].path).is_file()


def test_an_actor_that_nobody_asks_about_stops(desk: Desk) -> None:
    actor = desk.actor()
    actor.outbox.lease_s = 0.05
    task = desk.task("w1")
    actor.run(replace(task, job=replace(task.job, request={**task.job.request, "seconds": 60})))
    # It ended by itself, long before sixty windows, and said nothing that ends the job.
    letters = actor.outbox.collect(0, "")
    assert not [x for x in letters if x.call in ("finish", "fail", "stopped")]


def test_a_failure_far_away_is_the_same_sentence(tmp_path: Path) -> None:
    desk = Desk(tmp_path, prompt="bug")
    actor, mail = desk.actor(), desk.mail("w1")
    thread = begin(actor, desk.task("w1"))
    job = desk.listen(actor, mail)
    thread.join()
    assert job.state == "failed"
    assert "went wrong" in job.message


def test_a_late_attempt_cannot_spoil_what_a_later_one_published(desk: Desk) -> None:
    roots = [desk.folder / name for name in ("a", "b")]
    for root in roots:
        root.mkdir()
    shelves = [
        Shelf(desk.depot, "job", fence, root, root / "none")
        for fence, root in zip((1.0, 2.0), roots, strict=True)
    ]
    for shelf in shelves:
        shelf.open()
    (roots[1] / "window-000.mp4").write_bytes(b"new")
    assert shelves[1].push()
    (roots[0] / "window-000.mp4").write_bytes(b"old")
    with pytest.raises(LeaseLost):
        shelves[0].push()
    # What a manifest does not name any more is gone, however often a file changes.
    (roots[1] / "window-000.mp4").write_bytes(b"newer")
    assert shelves[1].push()
    (roots[1] / "window-000.mp4").write_bytes(b"new")
    assert shelves[1].push()
    names = {p.name for p in Path(desk.url, "jobs/job").iterdir()}
    assert names >= {"manifest.json"}
    assert len(names) == 3, "new, the loser's old, and the manifest"
    third = Shelf(desk.depot, "job", 3.0, desk.folder / "c", desk.folder / "none")
    third.open()
    assert (desk.folder / "c/window-000.mp4").read_bytes() == b"new"


def test_the_depot_notices_damage_and_names_that_lead_out(desk: Desk) -> None:
    path = desk.folder / "file"
    path.write_bytes(b"content")
    stored = desk.depot.put("j", path)
    [blob] = Path(desk.url).rglob(stored.sha256)
    blob.write_bytes(b"CONTENT")
    with pytest.raises(StorageError, match="damaged"):
        desk.depot.take("j", stored, desk.folder / "copy")
    assert not (desk.folder / "copy").exists()
    with pytest.raises(StorageError, match="cannot be read"):
        desk.depot.take("j", Stored("0" * 64, 1), desk.folder / "copy")
    for name in ("work/../../x", "elsewhere/x", "work"):
        with pytest.raises(StorageError, match="names a file"):
            place({"work": desk.folder}, name)


def test_a_storage_that_is_no_folder_works_the_same(tmp_path: Path) -> None:
    depot = Depot("memory://studio-test")
    assert depot.jobs() == set()
    with pytest.raises(StorageError, match="cannot be opened"):
        Depot("nosuch://place")
    depot.write_manifest("j", 1.0, {"work/a": Stored("00", 2)})
    assert depot.manifest("j") == {"fence": 1.0, "files": {"work/a": ["00", 2]}}
    path = tmp_path / "a"
    path.write_bytes(b"ab")
    stored = depot.put("j", path)
    depot.take("j", stored, tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"ab"
    assert depot.jobs() == {"j"}
    depot.drop("j", stored)
    with pytest.raises(StorageError, match="cannot be read"):
        depot.take("j", stored, tmp_path / "c")
    depot.forget("j")
    assert depot.jobs() == set()


def test_the_outbox_keeps_what_was_not_acknowledged(tmp_path: Path, desk: Desk) -> None:
    now = [0.0]
    box = Outbox(10.0, lambda: now[0])
    box.begin(desk.store.get(desk.id))
    for step in range(5):
        box.report("j", "w", Progress("sampling", step=step))
    box.report("j", "w", Notice("a"))
    picture = tmp_path / "p.webp"
    picture.write_bytes(b"webp")
    box.report("j", "w", Preview(str(picture)))
    letters = box.collect(0, "")
    assert [x.values["event"]["kind"] for x in letters] == ["Progress", "Notice", "Preview"]
    assert letters[0].values["event"]["step"] == 4
    assert letters[2].data == b"webp"
    assert box.collect(0, "") == letters
    assert box.collect(letters[1].number, "pause") == letters[2:]
    assert box.heartbeat("j", "w", 1.0) == "pause"
    box.drop()
    box.stopped("j", "w")
    assert box.collect(0, "") == [], "nobody hears a job that was taken away"
    box.begin(desk.store.get(desk.id))
    now[0] = 11.0
    with pytest.raises(LeaseLost):
        box.heartbeat("j", "w", 1.0)


def test_records_that_come_home_speak_of_the_front_ends_files(desk: Desk) -> None:
    work, clips = desk.folder / "w", desk.folder / "c"
    work.mkdir()
    (clips / ".parts/abc").mkdir(parents=True)
    far = {"request": {"image": "/actor/inputs/1-a.png"}, "summary": {"path": "/actor/clip.mp4"}}
    (clips / "clip.mp4").write_bytes(b"film")
    (clips / "clip.json").write_text(json.dumps(far), encoding="utf-8")
    (clips / ".parts/abc/run.json").write_text(json.dumps(far), encoding="utf-8")
    task = desk.task("w1")
    shelf = Shelf(desk.depot, desk.id, task.fence, work, clips)
    shelf.open()
    assert shelf.push("clips")
    done = to_json(Done("clip", "/actor/clip.mp4", {"path": "/actor/clip.mp4", "frames": 1}))
    desk.mail("w1").apply([Letter(1, "finish", {"event": done})])
    job, outputs = desk.store.get(desk.id), desk.settings.outputs_dir
    assert (job.state, job.path) == ("done", str(outputs / "clip.mp4"))
    assert (job.summary or {})["path"] == job.path
    home = json.loads((outputs / "clip.json").read_text(encoding="utf-8"))
    assert home == {"request": job.request, "summary": {"path": job.path}}
    run = json.loads((outputs / ".parts/abc/run.json").read_text(encoding="utf-8"))
    assert run["request"] == {**job.request, "retake": None}
    assert (outputs / "clip.mp4").read_bytes() == b"film"
