"""Two faults with a real model: pocket, or a tiny one of its layout where it is absent."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from studio.core.request import TextToVideo
from studio.core.settings import ROOT
from studio.jobs.assemble import assemble
from studio.jobs.context import DEFAULT_RUNNER
from studio.library.library import Library
from studio.media.decode import read_clip
from tests.faults.conftest import Studio, wait_for

PATIENCE_S = 240.0
KILLS = int(os.environ.get("STUDIO_KILLS", "20"))
"""Of the long form; and within how many seconds after a job goes on each of them comes."""
MOMENTS_S = float(os.environ.get("STUDIO_KILL_WITHIN_S", "25"))


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.parity.tiny import wan_pipeline

    folder = tmp_path_factory.mktemp("tiny")
    wan_pipeline("pocket").save_pretrained(folder)
    return folder


@pytest.fixture
def preset(studio: Studio, request: pytest.FixtureRequest) -> str:
    """The preset's id; the studio runs real jobs from here on."""
    studio.policy = type(studio.policy)(**{**vars(studio.policy), "runner": DEFAULT_RUNNER})
    if (ROOT / "studio/pocket/weights/transformer").is_dir():
        return "pocket"
    folder = request.getfixturevalue("tiny_folder")
    text = (ROOT / "presets/pocket.toml").read_text(encoding="utf-8")
    text = text.replace('id = "pocket"', 'id = "tiny"').replace("embedded", "local")
    text = text.replace('"pocket/weights"', f'"{folder}"')
    (studio.settings.user_presets_dir / "tiny.toml").write_text(text, encoding="utf-8")
    return "tiny"


def submit(studio: Studio, preset: str, seconds: float, seed: int = 7) -> str:
    wish = TextToVideo(
        preset=preset,
        prompt="a red ball moves right over the meadow at day, static camera",
        seconds=seconds,
        num_inference_steps=4,
        seed=seed,
        method="overlap-prefix",
    )
    return studio.store.submit(wish, "anna")


def hashes(studio: Studio, job_id: str) -> list[str]:
    return [window["sha256"] for window in studio.store.get(job_id).summary["windows"]]


def test_a_killed_run_equals_an_unbroken_one(studio: Studio, preset: str) -> None:
    supervisor = studio.open()
    broken = submit(studio, preset, 5)
    wait_for(lambda: studio.store.get(broken).segments, PATIENCE_S)
    first = Path(studio.store.get(broken).segments[0].path)
    made = first.stat().st_mtime_ns
    os.kill(supervisor.worker_pid(), signal.SIGKILL)
    wait_for(lambda: studio.store.get(broken).ended, PATIENCE_S)
    job = studio.store.get(broken)
    assert (job.state, job.attempt) == ("done", 2), job.message
    assert first.stat().st_mtime_ns == made
    unbroken = submit(studio, preset, 5)
    wait_for(lambda: studio.store.get(unbroken).ended, PATIENCE_S)
    assert hashes(studio, broken) == hashes(studio, unbroken)
    assert len(hashes(studio, broken)) == 3
    assert Library(studio.settings.outputs_dir).get(job.clip_id).owner == "anna"


def wait_for_work(studio: Studio, ids: list[str]) -> bool:
    """Wait until one of the jobs runs; False if all have ended."""

    def states() -> set[str]:
        return {studio.store.get(job_id).state for job_id in ids}

    wait_for(lambda: "running" in states() or states() <= {"done", "failed"}, 600)
    return "running" in states()


@pytest.mark.slow
@pytest.mark.timeout(3 * 3600)
def test_twenty_kills_over_ten_jobs_change_nothing(studio: Studio, preset: str) -> None:
    supervisor = studio.open()
    broken = [submit(studio, preset, 5, seed) for seed in range(10)]
    dice = random.Random(3)
    made: dict[str, int] = {}
    for _ in range(KILLS):
        if not wait_for_work(studio, broken):
            break
        time.sleep(dice.uniform(0.0, 1.0) * MOMENTS_S)
        pid = supervisor.worker_pid()
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda gone=pid: supervisor.worker_pid() != gone, PATIENCE_S)
        for one in broken:
            for part in studio.store.get(one).segments:
                now = Path(part.path).stat().st_mtime_ns if Path(part.path).is_file() else 0
                assert made.setdefault(part.path, now) == now or not now, "made a second time"
    for seed, job_id in enumerate(broken):
        wait_for(lambda one=job_id: studio.store.get(one).ended, 600)
        job = studio.store.get(job_id)
        assert job.state == "done", job.message
        unbroken = submit(studio, preset, 5, seed)
        wait_for(lambda one=unbroken: studio.store.get(one).ended, 600)
        assert hashes(studio, job_id) == hashes(studio, unbroken)
    assert {end.kind for end in supervisor.exits} <= {"killed"}


def test_a_canceled_run_keeps_windows_that_become_a_clip(studio: Studio, preset: str) -> None:
    studio.open()
    job_id = submit(studio, preset, 60)
    wait_for(lambda: len(studio.store.get(job_id).segments) >= 2, PATIENCE_S)
    studio.store.cancel(job_id)
    wait_for(lambda: studio.store.get(job_id).ended, PATIENCE_S)
    job = studio.store.get(job_id)
    assert job.state == "canceled"
    clip = Library(studio.settings.outputs_dir).get(assemble(job, studio.settings.outputs_dir))
    assert len(read_clip(clip.path)) == sum(s.frames for s in job.segments)
    assert clip.owner == "anna"
