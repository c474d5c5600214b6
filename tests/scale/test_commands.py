"""The commands around devices and clusters, and a studio that has none of it."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from studio.cli import app
from studio.commands import cluster
from studio.commands.scale import saturation, store_operations
from studio.core.errors import RequestError
from studio.core.plan import Plan
from studio.core.preset import Preset
from studio.core.request import parse_request
from studio.core.settings import ROOT, Settings
from studio.jobs.context import all_presets
from studio.jobs.executors import make_executor
from studio.jobs.store import JobStore
from studio.scale import cluster as ray_side
from studio.scale.shares import speed_up
from studio.stitching.windows import make_plan


def planned(settings: Settings, **wish: Any) -> tuple[Plan, Preset]:
    preset = all_presets(settings)["pocket"]
    request = parse_request({"kind": "t2v", "preset": "pocket", "prompt": "a ball", **wish})
    return make_plan(request, preset, audio_seconds=None), preset


def test_without_a_cluster_nothing_of_it_is_imported() -> None:
    code = (
        "import sys, studio.ui.serve, studio.jobs.executors\n"
        "import studio.jobs.runner, studio.jobs.worker\n"
        "from studio.jobs.store import JobStore\n"
        "from studio.core.settings import Settings\n"
        "import pathlib, tempfile\n"
        "folder = pathlib.Path(tempfile.mkdtemp())\n"
        "settings = Settings(data_dir=folder)\n"
        "studio.jobs.executors.make_executor(JobStore(settings.jobs_db), settings)\n"
        "parts = {'.'.join(name.split('.')[:2]) for name in sys.modules}\n"
        "found = parts & {'ray', 'fsspec', 'studio.scale'}\n"
        "assert not found, found\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_missing_extra_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_side, "ray_version", lambda: None)
    settings = Settings(data_dir=tmp_path, executor="ray")
    with pytest.raises(RequestError, match=r"requirements-ray\.txt"):
        make_executor(JobStore(settings.jobs_db), settings)
    [(name, good, detail, remedy)] = list(cluster.examine(settings))
    assert (name, good) == ("cluster", False)
    assert "not installed" in detail
    assert "requirements-ray.txt" in remedy
    assert list(cluster.examine(Settings(data_dir=tmp_path))) == []


def test_a_plan_counts_what_several_devices_give(tmp_path: Path) -> None:
    one, two = (Settings(data_dir=tmp_path, spread=n) for n in (1, 2))
    plan, preset = planned(one, seconds=8.0, method="position-shift")
    assert cluster.cluster_for(one, plan, preset) is None
    found = cluster.cluster_for(two, plan, preset)
    assert found is not None
    assert found["devices_a_clip"] == 2
    assert 1.5 < found["speed_up"] <= 2
    assert "2 devices" in cluster.cluster_text(found)
    rates = [speed_up(plan, n) for n in range(1, 40)]
    assert rates[0] == 1
    assert all(a <= b for a, b in itertools.pairwise(rates))
    assert rates[-1] == rates[-2], "more devices than pieces are of no use"
    single, _ = planned(one, seconds=1.0)
    assert speed_up(single, 4) == speed_up(single, 2) > 1.5
    assert speed_up(single, 4, can_split=False) == pytest.approx(1)


def test_plan_prints_the_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_SPREAD", "2")
    wish = ["plan", "t2v", "--prompt", "a red ball", "--data-dir", str(tmp_path), "--json"]
    done = CliRunner().invoke(app, wish)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["cluster"]["devices"] == 2


def test_a_worker_ends_when_it_was_idle(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "studio", "worker", "--idle-s", "0.1"]
    done = subprocess.run(
        [*command, "--data-dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "waits for jobs" in done.stderr
    assert (tmp_path / "jobs.sqlite").is_file()


def test_the_store_is_measured_under_simulated_workers() -> None:
    found = store_operations(60)
    rates = found["a_second"]
    assert found["workers"] == 60
    assert min(rates.values()) > 0
    limits = saturation(found)
    assert limits["cluster, asked every 2 s"] > limits["local, a step every 0.1 s"] >= 1


def test_bench_scale_says_what_a_job_costs_beside_its_sampling() -> None:
    options = ["--workers", "", "--steps", "2", "--simulated", "1,5", "--json"]
    done = CliRunner().invoke(app, ["bench", "scale", *options])
    assert done.exit_code == 0, done.output
    value = json.loads(done.stdout)
    for where in ("local", "cluster"):
        found = value["overhead"][where]
        assert found["sampling_s"] > 0
        assert found["spent_s"] > 0
        assert found["percent"] == pytest.approx(
            100 * found["spent_s"] / found["sampling_s"], rel=0.05
        )
        assert found["store_operations"] > 5
    assert set(value["store"]) == {"1", "5"}
    bad = CliRunner().invoke(app, ["bench", "scale", "--workers", "0"])
    assert bad.exit_code == 2
