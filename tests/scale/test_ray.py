"""A cluster of two nodes on loopback: jobs, deaths of actors and of a whole node, restarts."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from studio.commands.cluster import seen_cluster
from studio.scale.cluster import ray_version
from studio.scale.depot import Depot
from studio.scale.shelf import Shelf
from tests.faults.conftest import wait_for
from tests.faults.toy import computed, expected
from tests.scale.conftest import Nodes, Studio

pytestmark = pytest.mark.skipif(ray_version() is None, reason="the extra ray is not installed")


def clip_of(studio: Studio, job_id: str) -> bytes:
    return Path(str(studio.store.get(job_id).path)).read_bytes()


def computed_windows(studio: Studio, job_id: str, folder: Path) -> list[int]:
    """The windows that were computed to their end, by the log that moves with the job."""
    depot = Depot(studio.settings.depot_url)
    Shelf(depot, job_id, 0.0, folder, folder).open()
    return computed(folder)


def test_both_nodes_work_and_what_they_make_is_what_one_machine_makes(studio: Studio) -> None:
    front = studio.open()
    wait_for(lambda: len(front.posts) == 2)
    ids = [studio.submit(seed=k) for k in range(6)]
    used: set[str] = set()

    def all_done() -> bool:
        used.update(p.place.node_id for p in list(front.posts.values()) if p.mail)
        return studio.all_are("done")

    wait_for(all_done)
    assert len(used) == 2
    assert [clip_of(studio, i) for i in ids] == [expected(k, 3) for k in range(6)]
    assert all(job.attempt == 1 and len(job.segments) == 3 for job in studio.store.list())
    seen = seen_cluster(studio.settings)
    assert [device.kind for device in seen.devices] == ["cpu", "cpu"]


def test_a_killed_actor_costs_a_window_and_no_job(studio: Studio) -> None:
    front = studio.open()
    job = studio.submit(seconds=20, seed=5)
    post = studio.post_of(job)
    wait_for(lambda: len(studio.store.get(job).segments) >= 2)
    before = len(studio.store.get(job).segments)
    os.kill(post.pid, signal.SIGKILL)
    wait_for(lambda: studio.all_are("done"))
    assert front.deaths
    assert clip_of(studio, job) == expected(5, 20)
    done = studio.store.get(job)
    assert done.attempt == 2
    # Announced before the kill, and never said to be computed again.
    story = [e.event for e in studio.store.events(job)]
    sampled = [e.window for e in story if getattr(e, "stage", "") == "sampling"]
    assert sampled.count(before - 2) == 1


def test_pause_cancel_and_a_front_end_that_comes_back(studio: Studio, tmp_path: Path) -> None:
    studio.open()
    slow, other = studio.submit(seconds=40, seed=1), studio.submit(seconds=40, seed=2)
    for job in (slow, other):
        studio.post_of(job)
        wait_for(lambda job=job: studio.store.get(job).segments)
    studio.store.pause(slow)
    studio.store.cancel(other)
    wait_for(lambda: studio.all_are("paused", "canceled"))
    kept = len(studio.store.get(slow).segments)
    assert 0 < kept < 40
    assert computed_windows(studio, slow, tmp_path / "look")[:kept] == list(range(kept))
    studio.store.resume(slow)
    holder = studio.post_of(slow)
    token = holder.mail.worker_id if holder.mail else ""
    studio.close()
    # The actor goes on while nobody listens; the next front end hears all it said.
    studio.open()
    studio.post_of(slow)
    wait_for(lambda: studio.all_are("done", "canceled"))
    done = studio.store.get(slow)
    assert done.state == "done"
    assert done.attempt == 2, "paused once, resumed once, adopted by the second front end"
    assert token
    assert clip_of(studio, slow) == expected(1, 40)


def test_a_node_that_dies_takes_no_job_with_it(studio: Studio, nodes: Nodes) -> None:
    """Last: the cluster has one node less afterwards."""
    front = studio.open()
    wait_for(lambda: len(front.posts) == 2)
    jobs = [studio.submit(seconds=20, seed=k) for k in range(2)]
    posts = {job: studio.post_of(job) for job in jobs}
    for job in jobs:
        wait_for(lambda job=job: len(studio.store.get(job).segments) >= 2)
    nodes.kill("second")
    wait_for(lambda: studio.all_are("done"))
    assert len(front.deaths) == 1
    assert [clip_of(studio, job) for job in jobs] == [expected(k, 20) for k in range(2)]
    assert sorted(studio.store.get(job).attempt for job in jobs) == [1, 2]
    wait_for(lambda: len(front.posts) == 1)
    assert set(front.posts) < {post.place.name for post in posts.values()}
