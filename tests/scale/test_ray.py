"""A cluster of two nodes on loopback: jobs, deaths of actors and of a whole node, restarts."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from studio.commands.cluster import seen_cluster
from studio.core.request import parse_request
from studio.core.settings import Settings, prepare_data_dir
from studio.jobs.backup import open_store
from studio.jobs.executors import LocalExecutor
from studio.jobs.parts import parts_name
from studio.jobs.records import Job
from studio.library.library import Library
from studio.scale.cluster import ray_version
from studio.scale.depot import Depot
from studio.scale.shelf import Shelf
from tests.faults.toy import computed, expected
from tests.scale.conftest import Nodes, Studio, wait_for

pytestmark = pytest.mark.skipif(ray_version() is None, reason="the extra ray is not installed")


def clip_of(studio: Studio, job_id: str) -> bytes:
    return Path(str(studio.store.get(job_id).path)).read_bytes()


def computed_windows(studio: Studio, job_id: str, folder: Path) -> list[int]:
    """The windows that were computed to their end, by the log that moves with the job."""
    depot = Depot(studio.settings.depot_url)
    Shelf(depot, job_id, 0.0, folder, folder).open()
    return computed(folder)


POCKET = {"kind": "t2v", "preset": "pocket", "prompt": "a red ball over the meadow at day"}


def made_locally(folder: Path, wishes: list[dict[str, Any]]) -> list[Job]:
    """The same jobs by the local executor, one thread."""
    settings = Settings(data_dir=folder, threads=1)
    prepare_data_dir(settings)
    store = open_store(settings.jobs_db)
    executor = LocalExecutor(store, settings)
    executor.start()
    try:
        ids = [store.submit(parse_request(wish), "anna") for wish in wishes]
        wait_for(lambda: all(store.get(i).ended for i in ids))
        return [store.get(i) for i in ids]
    finally:
        executor.close()
        store.close()


def latents_of(job: Job, outputs: Path) -> torch.Tensor:
    """The clip's latents, from the parts that are kept for retakes."""
    hashes = [w["sha256"] for w in (job.summary or {})["windows"]]
    folder = outputs / ".parts" / parts_name(hashes)
    files = sorted(folder.glob("window-???.safetensors"))
    return torch.cat([load_file(file)["latents"] for file in files], dim=2)


@pytest.mark.slow
def test_eight_pocket_jobs_and_one_clip_by_both(real: Studio, tmp_path: Path) -> None:
    wishes = [{**POCKET, "seed": k, "num_inference_steps": 2} for k in range(8)]
    long = {**POCKET, "seed": 9, "seconds": 6.0, "method": "position-shift"}
    long["num_inference_steps"] = 3
    local = made_locally(tmp_path, [*wishes, long])
    assert {job.state for job in local} == {"done"}, [job.message for job in local]
    front = real.open()
    wait_for(lambda: len(front.posts) == 2)
    ids = [real.store.submit(parse_request(wish), "anna") for wish in wishes]
    used: set[str] = set()

    def all_done() -> bool:
        used.update(p.place.node_id for p in list(front.posts.values()) if p.mail)
        return real.are(ids, "done")

    wait_for(all_done)
    assert len(used) == 2
    for far, near in zip((real.store.get(i) for i in ids), local, strict=False):
        assert far.summary is not None
        assert near.summary is not None
        hashes = [[w["sha256"] for w in job.summary["windows"]] for job in (far, near)]
        assert hashes[0] == hashes[1], "bit for bit what the local executor makes"
        assert Path(str(far.path)).is_file()
        assert Path(str(far.path)).parent == real.settings.outputs_dir
    assert len(Library(real.settings.outputs_dir).list()) == 8
    front.settings = front.settings.model_copy(update={"spread": 2})
    wait_for(lambda: all(p.is_free for p in front.posts.values()))
    shared = real.store.submit(parse_request(long), "anna")
    helped: set[str] = set()

    def together() -> bool:
        helped.update(p.place.name for p in list(front.posts.values()) if p.helps)
        return real.are([shared], "done")

    wait_for(together)
    front.settings = real.settings
    assert len(helped) == 1
    far_latents = latents_of(real.store.get(shared), real.settings.outputs_dir)
    near_latents = latents_of(local[-1], tmp_path / "outputs")
    assert torch.allclose(far_latents, near_latents, atol=1e-5, rtol=0)


def test_both_nodes_work_and_what_they_make_is_what_one_machine_makes(studio: Studio) -> None:
    front = studio.open()
    wait_for(lambda: len(front.posts) == 2)
    ids = [studio.submit(seed=k) for k in range(6)]
    used: set[str] = set()

    def all_done() -> bool:
        used.update(p.place.node_id for p in list(front.posts.values()) if p.mail)
        return studio.are(ids, "done")

    wait_for(all_done)
    assert len(used) == 2
    assert [clip_of(studio, i) for i in ids] == [expected(k, 3) for k in range(6)]
    jobs = [studio.store.get(i) for i in ids]
    assert all(job.attempt == 1 and len(job.segments) == 3 for job in jobs)
    seen = seen_cluster(studio.settings)
    assert [device.kind for device in seen.devices] == ["cpu", "cpu"]


def test_a_killed_actor_costs_a_window_and_no_job(studio: Studio) -> None:
    front = studio.open()
    job = studio.submit(seconds=20, seed=5)
    post = studio.post_of(job)
    wait_for(lambda: len(studio.store.get(job).segments) >= 2)
    before = len(studio.store.get(job).segments)
    deaths = len(front.deaths)
    os.kill(post.pid, signal.SIGKILL)
    wait_for(lambda: studio.are([job], "done"))
    assert len(front.deaths) == deaths + 1
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
    wait_for(lambda: studio.are([slow, other], "paused", "canceled"))
    kept = len(studio.store.get(slow).segments)
    assert 0 < kept < 40
    assert computed_windows(studio, slow, tmp_path / "look")[:kept] == list(range(kept))
    studio.store.resume(slow)
    studio.post_of(slow)
    studio.close()
    # The actor goes on while nobody listens; the next front end hears all it said.
    studio.open()
    studio.post_of(slow)
    wait_for(lambda: studio.are([slow], "done"))
    done = studio.store.get(slow)
    assert done.attempt == 1, "begun once since it was resumed: the second front end adopted it"
    assert clip_of(studio, slow) == expected(1, 40)


def test_a_node_that_dies_takes_no_job_with_it(studio: Studio, nodes: Nodes) -> None:
    """Last: the cluster has one node less afterwards."""
    front = studio.open()
    wait_for(lambda: len(front.posts) == 2)
    jobs = [studio.submit(seconds=20, seed=k) for k in range(2)]
    posts = {job: studio.post_of(job) for job in jobs}
    for job in jobs:
        wait_for(lambda job=job: len(studio.store.get(job).segments) >= 2)
    deaths = len(front.deaths)
    nodes.kill("second")
    wait_for(lambda: studio.are(jobs, "done"))
    assert len(front.deaths) == deaths + 1
    assert [clip_of(studio, job) for job in jobs] == [expected(k, 20) for k in range(2)]
    assert sorted(studio.store.get(job).attempt for job in jobs) == [1, 2]
    wait_for(lambda: len(front.posts) == 1)
    assert set(front.posts) < {post.place.name for post in posts.values()}
