"""ZeroGPU by its interface: one call a window, quota that ends, a visitor who leaves (F19)."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from studio.core.events import Done
from studio.core.request import parse_request
from studio.core.settings import ROOT, Settings
from studio.jobs import zerogpu
from studio.jobs.zerogpu import ZeroGpuExecutor
from studio.media.decode import read_clip
from tests.space.spaces_stand_in import Lender
from tests.ui.scripted import Studio, open_studio

LONG = {
    "kind": "t2v",
    "prompt": "a red ball rises",
    "seconds": 5,
    "seed": 3,
    "num_inference_steps": 2,
}
WEIGHTS = ROOT / "studio" / "pocket" / "weights" / "transformer"


@pytest.fixture
def lender(monkeypatch: pytest.MonkeyPatch) -> Lender:
    """The stand-in, imported as `spaces`."""
    lent = Lender()
    zerogpu._spaces.cache_clear()
    monkeypatch.setitem(sys.modules, "spaces", lent.module())
    monkeypatch.setattr(zerogpu, "_PINNED", {})
    yield lent
    zerogpu._spaces.cache_clear()


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return open_studio(tmp_path, executor="zerogpu")


def submit(studio: Studio, **more: object) -> str:
    """Queue the long clip."""
    return studio.store.submit(parse_request({**LONG, **more}), "a" * 32)


def test_each_window_is_one_call_of_planned_length(studio, lender):
    executor = ZeroGpuExecutor(studio.store, studio.settings)
    executor.start()
    job_id = submit(studio)
    states = list(executor.drive(job_id))
    job = studio.store.get(job_id)
    assert states == ["running"] * (len(job.segments) - 1) + ["done"]
    assert len(job.segments) > 1
    assert len(lender.durations) == len(states)
    assert all(15 <= seconds <= 120 for seconds in lender.durations)
    assert studio.library.get(job.clip_id).owner == "a" * 32


def test_a_quota_error_interrupts_and_the_job_goes_on_to_the_same_clip(studio, lender, tmp_path):
    executor = ZeroGpuExecutor(studio.store, studio.settings)
    executor.start()
    lender.calls = 1
    job_id = submit(studio)
    assert list(executor.drive(job_id))[-1] == "interrupted"
    job = studio.store.get(job_id)
    assert "quota" in job.message
    assert "resume" in job.message
    assert len(job.segments) == 1
    kept = Path(job.segments[0].path)
    before = kept.stat().st_mtime_ns
    lender.calls = 100
    studio.store.resume(job_id)
    assert list(executor.drive(job_id))[-1] == "done"
    assert not kept.exists() or kept.stat().st_mtime_ns == before
    unbroken = submit(studio)
    assert list(executor.drive(unbroken))[-1] == "done"
    clips = [
        read_clip(studio.library.path(str(studio.store.get(j).clip_id))) for j in (job_id, unbroken)
    ]
    assert np.array_equal(*clips)


def test_a_visitor_who_leaves_interrupts_the_job(studio, lender):
    executor = ZeroGpuExecutor(studio.store, studio.settings)
    job_id = submit(studio)
    driven = executor.drive(job_id)
    next(driven)
    driven.close()
    job = studio.store.get(job_id)
    assert job.state == "interrupted"
    assert len(job.segments) == 1


def test_nobody_pays_for_somebody_elses_job(studio, lender):
    executor = ZeroGpuExecutor(studio.store, studio.settings, runner=f"{__name__}:quick")
    other, mine = submit(studio), submit(studio)
    assert list(executor.drive(mine)) == ["done"]
    assert studio.store.get(other).state == "queued"


def test_a_broken_call_and_a_failed_run_are_told(studio, lender):
    executor = ZeroGpuExecutor(studio.store, studio.settings, runner=f"{__name__}:unpicklable")
    job_id = submit(studio)
    assert list(executor.drive(job_id)) == ["interrupted"]
    executor = ZeroGpuExecutor(studio.store, studio.settings, runner=f"{__name__}:refused")
    job_id = submit(studio)
    assert list(executor.drive(job_id)) == ["failed"]
    assert studio.store.get(job_id).message == "no; try again"


def test_an_earlier_process_left_a_job(studio, lender):
    job_id = submit(studio)
    studio.store.claim(f"zerogpu-{job_id}", 600.0)
    ZeroGpuExecutor(studio.store, studio.settings).start()
    assert studio.store.get(job_id).state == "interrupted"


def test_the_space_chooses_it(monkeypatch):
    from studio.ui.serve import for_space

    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    assert for_space(Settings()).executor == "zerogpu"
    assert for_space(Settings(executor="inline")).executor == "inline"
    monkeypatch.delenv("SPACES_ZERO_GPU")
    assert for_space(Settings()).executor == "local"


def quick(request, ctx):
    """A runner that makes nothing."""
    return Done("20260101-000000-aaaaaa", str(ctx.work_dir / "x.mp4"), {})


def unpicklable(request, ctx):
    """A runner whose result cannot go back to the page's process."""
    return Done("20260101-000000-aaaaaa", "x", {"bad": lambda: 0})


def refused(request, ctx):
    """A runner that says no."""
    from studio.core.errors import RequestError

    raise RequestError("no; try again")
