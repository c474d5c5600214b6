"""The front end against actors in this process: who gets what, and what it takes from whom."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from studio.core.errors import BackendError
from studio.core.request import TextToVideo
from studio.core.settings import Settings, prepare_data_dir
from studio.jobs.backup import open_store
from studio.jobs.supervisor import Policy
from studio.scale.actor import Answer, DeviceActor, Seat
from studio.scale.cluster import Cluster, Place
from studio.scale.front import Front
from studio.scale.post import Post, choose
from tests.faults.conftest import wait_for
from tests.faults.toy import expected

TOY = "tests.faults.toy:run"


class Method:
    """`handle.method.remote(...)`: the call in a thread."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self.call = call

    def remote(self, *given: Any) -> Future[Any]:
        made: Future[Any] = Future()

        def work() -> None:
            try:
                made.set_result(self.call(*given))
            except Exception as error:
                made.set_exception(error)

        threading.Thread(target=work, daemon=True).start()
        return made


class Handle:
    """An actor's handle; a process id of its own, so that its death can be played."""

    def __init__(self, seat: Seat) -> None:
        self.seat = replace(seat, beat_s=0.02)
        self.gone = False
        self.silent = False
        self.start()

    def start(self) -> None:
        self.actor = DeviceActor(self.seat)
        self.pid = id(self.actor)

    def __getattr__(self, name: str) -> Method:
        return Method(getattr(self.actor, name))

    @property
    def collect(self) -> Method:
        def collect(*given: Any) -> Answer:
            if self.silent:
                raise BackendError("silent")
            return replace(self.actor.collect(*given), pid=self.pid)

        return Method(collect)


class Loopback(Cluster):
    """A cluster whose actors are objects of this process; Ray has no part in it."""

    def __init__(self, settings: Settings, count: int) -> None:
        super().__init__(settings)
        names = [f"studio-{k}-cpu" for k in range(count)]
        self.nodes = [Place(name, name, "10.0.0.1", "cpu", 1) for name in names]
        self.handles: dict[str, Handle] = {}
        self.replaced: list[Handle] = []

    def connect(self) -> None:
        """Nothing to join."""

    def close(self) -> None:
        """Nothing to leave."""

    def places(self) -> list[Place]:
        return list(self.nodes)

    def seat(self, place: Place, seat: Seat) -> Handle:
        if place.name not in self.handles:
            self.handles[place.name] = Handle(seat)
        return self.handles[place.name]

    def ask(self, reference: Future[Any], timeout_s: float = 5.0) -> Any:
        return reference.result(timeout_s)

    def replace(self, handle: Handle) -> None:
        """A new process: the old one's words are lost."""
        handle.actor.outbox.drop()
        handle.silent = False
        self.replaced.append(handle)
        handle.start()

    def remove(self, handles: Any) -> None:
        for handle in handles:
            handle.actor.outbox.drop()


class Bench:
    """A front end over a loopback cluster."""

    def __init__(self, folder: Path, count: int = 2) -> None:
        self.settings = Settings(data_dir=folder, scratch_dir=folder / "scratch")
        prepare_data_dir(self.settings)
        self.store = open_store(self.settings.jobs_db)
        self.cluster = Loopback(self.settings, count)
        policy = Policy(runner=TOY, tick_s=0.02, cancel_grace_s=0.3, space_s=1e9)
        self.front = Front(self.store, self.settings, policy, self.cluster)

    def submit(self, seed: int = 0, seconds: int = 3, prompt: str = "a ball", **more: Any) -> str:
        owner = more.pop("owner", "anna")
        wish = TextToVideo(prompt=prompt, seconds=seconds, seed=seed, **more)
        return self.store.submit(wish, owner)

    def wait(self, *jobs: str, state: str = "done") -> None:
        wait_for(lambda: all(self.store.get(job).state == state for job in jobs))

    def post_of(self, job: str) -> Post:
        def found() -> Post | None:
            posts = list(self.front.posts.values())
            return next((p for p in posts if p.mail and p.mail.job_id == job and p.seen), None)

        wait_for(found)
        post = found()
        assert post is not None
        return post


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    made.front.start()
    yield made
    made.front.close(10)
    made.store.close()


def test_jobs_go_to_all_actors_and_every_clip_comes_home(bench: Bench) -> None:
    jobs = [bench.submit(seed=k, owner=f"o{k % 2}") for k in range(4)]
    bench.wait(*jobs)
    for k, job in enumerate(jobs):
        assert Path(str(bench.store.get(job).path)).read_bytes() == expected(k, 3)
    presets = [post.answer.preset for post in bench.front.posts.values() if post.answer]
    assert presets == ["pocket"] * len(presets)


def test_a_process_that_died_costs_a_strike_and_no_published_window(bench: Bench) -> None:
    job = bench.submit(seconds=6)
    post = bench.post_of(job)
    wait_for(lambda: len(bench.store.get(job).segments) >= 2)
    bench.cluster.replace(post.handle)
    bench.wait(job)
    assert bench.store.get(job).attempt == 2
    assert len(bench.front.deaths) == 1
    assert Path(str(bench.store.get(job).path)).read_bytes() == expected(0, 6)


def test_a_silent_actor_loses_its_job_and_its_process(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studio.scale.front.SILENCE_S", 0.3)
    job = bench.submit(seconds=6)
    post = bench.post_of(job)
    post.handle.silent = True
    bench.wait(job)
    assert bench.cluster.replaced == [post.handle]
    assert "silent" in bench.front.deaths[0]
    assert bench.store.get(job).strikes == 0


def test_a_job_that_does_not_listen_is_ended_with_its_process(bench: Bench) -> None:
    deaf = bench.submit(seconds=60, prompt="deaf")
    post = bench.post_of(deaf)
    bench.store.cancel(deaf)
    bench.wait(deaf, state="canceled")
    assert bench.cluster.replaced == [post.handle]
    now = bench.submit(seconds=60, prompt="deaf")
    post = bench.post_of(now)
    bench.store.cancel(now, force=True)
    bench.wait(now, state="canceled")
    assert post.handle in bench.cluster.replaced


def test_a_machine_that_leaves_gives_its_job_back_without_blame(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studio.scale.front.NODES_S", 0.05)
    job = bench.submit(seconds=30)
    wait_for(lambda: len(bench.front.posts) == 2)
    post = bench.post_of(job)
    wait_for(lambda: len(bench.store.get(job).segments) >= 1)
    bench.cluster.nodes = [p for p in bench.cluster.nodes if p.name != post.place.name]
    bench.wait(job)
    assert bench.store.get(job).strikes == 0
    assert bench.store.get(job).attempt == 2
    assert post.place.name not in bench.front.posts
    assert Path(str(bench.store.get(job).path)).read_bytes() == expected(0, 30)


def test_pause_and_resume_reach_far(bench: Bench) -> None:
    job = bench.submit(seconds=8)
    bench.post_of(job)
    wait_for(lambda: len(bench.store.get(job).segments) >= 1)
    bench.store.pause(job)
    bench.wait(job, state="paused")
    kept = len(bench.store.get(job).segments)
    assert 1 <= kept < 8
    bench.store.resume(job)
    bench.wait(job)
    assert Path(str(bench.store.get(job).path)).read_bytes() == expected(0, 8)


def test_a_second_front_end_listens_on(tmp_path: Path) -> None:
    first = Bench(tmp_path)
    first.front.start()
    job = first.submit(seconds=10)
    first.post_of(job)
    wait_for(lambda: len(first.store.get(job).segments) >= 1)
    first.front.close(10)
    second = Front(first.store, first.settings, first.front.policy, first.cluster)
    second.start()
    try:
        first.wait(job)
        assert first.store.get(job).attempt == 1, "it was adopted, not begun again"
        assert not second.deaths
        assert Path(str(first.store.get(job).path)).read_bytes() == expected(0, 10)
    finally:
        second.close(10)
        first.store.close()


def test_the_actor_that_holds_the_model_is_chosen() -> None:
    def post(name: str, preset: str | None) -> Post:
        place = Place(name, "n", "a", "cpu", 1)
        return Post(place, None, Answer(None, None, [], preset, over=False, pid=1))

    a, b, c = post("a", "wan"), post("b", None), post("c", "pocket")
    assert choose([a, b, c], "pocket") is c
    assert choose([a, b], "pocket") is b
    assert choose([a], "pocket") is a


def test_a_request_takes_its_files_along(bench: Bench, tmp_path: Path) -> None:
    from PIL import Image

    from studio.core.request import parse_request
    from studio.scale.actor import with_files
    from studio.scale.given import Sender

    picture = tmp_path / "first.png"
    Image.new("RGB", (8, 8), "red").save(picture)
    wish = {"kind": "i2v", "prompt": "a ball", "image": str(picture)}
    request = parse_request(wish)
    sender = Sender(bench.front.depot, bench.settings, "j")
    packed = sender.pack(request.model_dump(mode="json"))
    [name] = sender.given
    assert packed["image"] == f"depot:{name}"
    assert name.endswith("-first.png")
    unpacked = with_files(packed, tmp_path / "elsewhere")
    assert unpacked["image"] == str(tmp_path / "elsewhere" / name)
    assert {k: v for k, v in packed.items() if k != "image"} == {
        k: v for k, v in unpacked.items() if k != "image"
    }
    picture.unlink()
    job = bench.store.submit(request, "anna")
    bench.wait(job, state="failed")
    assert "give the file again" in bench.store.get(job).message
