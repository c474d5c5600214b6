"""The command line: what it refuses before anything is loaded, what it prints, how it exits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from studio.cli import app
from studio.commands import make
from studio.core.errors import Cancelled, NumericError, StorageError
from studio.core.events import Done
from studio.core.request import Request, TextToVideo
from studio.core.settings import ROOT, Settings
from studio.jobs.context import RunContext
from studio.jobs.store import JobStore
from tests.faults import toy

PROMPT = ("t2v", "--prompt", "a red ball rises")


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "data"
    monkeypatch.setenv("STUDIO_DATA_DIR", str(folder))
    return folder


@pytest.fixture
def toy_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make, "load_runner", lambda *_: toy.run)


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def refused(result: Result, *words: str) -> bool:
    """Exit status 2, one line on stderr with `words`, nothing on stdout."""
    line = result.stderr.strip()
    assert result.exit_code == 2, result.stderr
    assert result.stdout == ""
    assert "Traceback" not in line
    assert "\n" not in line
    for word in words:
        assert word in line, line
    return True


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("t2v", "--prompt", ""), "a prompt is needed"),
        (("t2v",), "a prompt is needed"),
        (("t2v", "--prompt", "a\x07b"), "control characters"),
        (("t2v", "--prompt", "x" * 100_000), "at most 4000 characters"),
        ((*PROMPT, "--seconds", "0"), "seconds"),
        ((*PROMPT, "--seconds", "-1"), "seconds"),
        ((*PROMPT, "--seconds", "nan"), "finite"),
        ((*PROMPT, "--seconds", "inf"), "finite"),
        ((*PROMPT, "--seconds", "10000"), "600"),
        ((*PROMPT, "--steps", "0"), "steps"),
        ((*PROMPT, "--steps", "1000"), "steps"),
        ((*PROMPT, "--guidance", "nan"), "finite"),
        ((*PROMPT, "--seed", "-1"), "seed"),
        ((*PROMPT, "--width", "7"), "width"),
        ((*PROMPT, "--seconds", "2", "--frames", "25"), "not both"),
        ((*PROMPT, "--preset", "nope"), "there is no preset 'nope'"),
        ((*PROMPT, "--preset", "../../etc/passwd"), "there is no preset"),
        ((*PROMPT, "--image", "a.png"), "t2v takes no --image"),
        ((*PROMPT, "--lora", "nowhere.safetensors:0.5"), "nowhere.safetensors"),
        (("i2v", "--prompt", "x"), "i2v needs --image"),
        (("i2v", "--prompt", "x", "--image", "no.png"), "no.png"),
        (("flf2v", "--image", "a.png"), "--last-image"),
        (("avatar", "--image", "a.png"), "--audio"),
        (("avatar", "--image", "a.png", "--audio", "a.wav", "--face", "1,2"), "X,Y,W,H"),
        (("t2v", "--prompts-file", "nowhere.txt", "--out-dir", "."), "nowhere.txt"),
        (("t2v", "--shots", "nowhere.json"), "nowhere.json"),
    ],
)
def test_bad_requests_are_refused_before_anything_is_loaded(
    arguments: Sequence[str], word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make, "load_runner", lambda *_: pytest.fail("it was started"))
    assert refused(call("generate", *arguments, "--json"), word)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--out", "clip.avi"), ".mp4"),
        (("--out", "/proc/nowhere/clip.mp4"), "/proc/nowhere"),
        (("--save-latents", "x.pt", "--out", "x.mp4"), ".safetensors"),
        (("--out-dir", "d"), "--prompts-file"),
        (("--data-dir", "/proc/nowhere"), "--data-dir"),
    ],
)
def test_places_that_cannot_be_written_are_refused_first(
    arguments: Sequence[str], word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make, "load_runner", lambda *_: pytest.fail("it was started"))
    assert refused(call("generate", *PROMPT, *arguments), word)


def test_a_ten_megabyte_prompt_in_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    path.write_text("a red ball\n" + "x" * 10_000_000)
    result = call("generate", "t2v", "--prompts-file", path, "--out-dir", tmp_path)
    assert refused(result, "p.txt line 2", "10000000")
    path.write_bytes(b"\xff\xfe\x00")
    result = call("generate", "t2v", "--prompts-file", path, "--out-dir", tmp_path)
    assert refused(result, "UTF-8")
    path.write_text("\n \n")
    result = call("generate", "t2v", "--prompts-file", path, "--out-dir", tmp_path)
    assert refused(result, "no prompt")


def test_generate_prints_one_object_and_leaves_no_work_behind(
    toy_runner: None, tmp_path: Path, data_dir: Path
) -> None:
    out = tmp_path / "new" / "a.mp4"
    result = call("generate", *PROMPT, "--seconds", 2, "--seed", 5, "--out", out, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["path"] == str(out)
    assert out.read_bytes() == toy.expected(5, 2)
    assert "sampling" in result.stderr
    assert list((data_dir / "work").iterdir()) == []


def test_a_prompts_file_makes_one_clip_a_line_with_one_model_manager(
    toy_runner: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    real = make.make_models
    monkeypatch.setattr(make, "make_models", lambda s: opened.append(s) or real(s))
    path = tmp_path / "p.txt"
    path.write_text("a red ball\n\na blue star\na green heart\n", encoding="utf-8-sig")
    out = tmp_path / "clips"
    result = call("generate", "t2v", "--prompts-file", path, "--out-dir", out, "--json")
    assert result.exit_code == 0, result.stderr
    made = json.loads(result.stdout)
    assert [m["prompt"] for m in made] == ["a red ball", "a blue star", "a green heart"]
    assert [Path(m["path"]).name for m in made] == ["000.mp4", "001.mp4", "002.mp4"]
    assert sorted(p.name for p in out.iterdir()) == ["000.mp4", "001.mp4", "002.mp4"]
    assert len(opened) == 1


def test_one_clip_of_a_batch_may_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(request: Request, ctx: RunContext) -> Done:
        if "flat" in request.prompt:
            raise NumericError("the picture is flat; change the seed")
        return toy.run(request, ctx)

    monkeypatch.setattr(make, "load_runner", lambda *_: run)
    path = tmp_path / "p.txt"
    path.write_text("a flat ball\na blue star\n")
    result = call("generate", "t2v", "--prompts-file", path, "--out-dir", tmp_path, "--json")
    assert result.exit_code == 1
    bad, good = json.loads(result.stdout)
    assert bad["error"] == "the picture is flat; change the seed"
    assert Path(good["path"]).name == "001.mp4"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NumericError("the picture is flat; change the seed"), 1),
        (StorageError("the disk is full; free some space"), 1),
        (Cancelled("it was stopped; windows are kept"), 1),
    ],
)
def test_failures_are_one_sentence_and_status_1(
    error: Exception, status: int, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(request: Request, ctx: RunContext) -> Done:
        (ctx.work_dir / "window-000.mp4").write_bytes(b"x")
        raise error

    monkeypatch.setattr(make, "load_runner", lambda *_: run)
    result = call("generate", *PROMPT, "--json")
    assert result.exit_code == status
    assert result.stdout == ""
    assert result.stderr.strip() == str(error)
    assert list((data_dir / "work").iterdir()) == []


def test_ctrl_c_ends_after_the_step_and_cleans_up(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(request: Request, ctx: RunContext) -> Done:
        assert not ctx.should_stop()
        os.kill(os.getpid(), signal.SIGINT)
        assert ctx.should_stop()
        raise Cancelled("the run was stopped")

    monkeypatch.setattr(make, "load_runner", lambda *_: run)
    before = signal.getsignal(signal.SIGINT)
    result = call("generate", *PROMPT)
    assert result.exit_code == 1
    assert "the run was stopped" in result.stderr
    assert list((data_dir / "work").iterdir()) == []
    assert signal.getsignal(signal.SIGINT) == before


def test_plan_loads_nothing_and_says_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make, "make_models", lambda _: pytest.fail("it was loaded"))
    result = call("plan", *PROMPT, "--seconds", 5, "--json")
    assert result.exit_code == 0, result.stderr
    plan = json.loads(result.stdout)
    assert plan["frames"] == sum(w["frames"] for w in plan["windows"])
    assert len(plan["windows"]) > 1
    assert "window 0" in call("plan", *PROMPT, "--seconds", 5).stdout


def test_shots_and_director_make_shot_lists(tmp_path: Path) -> None:
    shots = tmp_path / "shots.json"
    shots.write_text('[{"prompt": "a red ball", "seconds": 2}, {"prompt": "a star", "seconds": 2}]')
    plan = json.loads(call("plan", "t2v", "--shots", shots, "--json").stdout)
    assert {w["prompt"] for w in plan["windows"]} == {"a red ball", "a star"}
    shots.write_text('[{"prompt": "", "seconds": 2}]')
    assert refused(call("plan", "t2v", "--shots", shots), "prompt")
    shots.write_text("{")
    assert refused(call("plan", "t2v", "--shots", shots), "not JSON")
    directed = call("plan", *PROMPT, "--director", "normal", "--json")
    assert directed.exit_code == 0, directed.stderr


def test_presets_and_rewrite_print_json() -> None:
    presets = json.loads(call("presets", "--json").stdout)
    assert "pocket" in [p["id"] for p in presets]
    assert len(presets) >= 25
    for preset in presets:
        assert preset["licence"]
        assert preset["modes"]
        needed = preset["needed_bytes"]
        assert needed["everything"] >= needed["one_part_at_a_time"] > 0
    result = call("rewrite", "a crimson ball going up", "--json")
    assert json.loads(result.stdout)["original"] == "a crimson ball going up"


def test_inspect_and_quality_refuse_what_is_no_clip(tmp_path: Path) -> None:
    text = tmp_path / "a.mp4"
    text.write_text("hello")
    assert refused(call("inspect", text), "a.mp4")
    assert refused(call("quality", text), "a.mp4")
    assert refused(call("inspect", tmp_path / "none.mp4"), "none.mp4")


def test_jobs_are_listed_and_changed(data_dir: Path) -> None:
    assert json.loads(call("jobs", "list", "--json").stdout) == []
    store = JobStore(Settings(data_dir=data_dir).jobs_db)
    job_id = store.submit(TextToVideo(prompt="a red ball"), "anna")
    for verb, state in (
        ("pause", "paused"),
        ("resume", "queued"),
        ("cancel", "canceled"),
        ("retry", "queued"),
    ):
        assert json.loads(call("jobs", verb, job_id, "--json").stdout)["state"] == state
    assert json.loads(call("jobs", "show", job_id, "--json").stdout)["events"] == []
    [listed] = json.loads(call("jobs", "list", "--state", "queued", "--json").stdout)
    assert listed["id"] == job_id
    assert "a red ball" in call("jobs", "list").stdout
    assert refused(call("jobs", "show", "nope"), "no job 'nope'")
    assert refused(call("jobs", "list", "--state", "asleep"), "asleep")
    store.close()


def test_doctor_says_what_is_wrong_and_how_to_cure_it(data_dir: Path) -> None:
    result = call("doctor", "--json")
    found = json.loads(result.stdout)
    assert found["ok"] == (result.exit_code == 0)
    assert {"python", "torch", "disk", "presets", "memory"} <= {c["name"] for c in found["checks"]}
    bad = call("doctor", "--data-dir", "/proc/nowhere", "--json")
    assert bad.exit_code == 1
    [check] = [c for c in json.loads(bad.stdout)["checks"] if c["name"] == "data directory"]
    assert "choose another" in check["detail"]


def test_models_say_licence_and_place() -> None:
    rows = {row["preset"]: row for row in json.loads(call("models", "list", "--json").stdout)}
    assert rows["pocket"]["licence"] == "Apache-2.0"
    for row in rows.values():
        assert bool(row["folder"]) == row["here"] == (not row["why"])


def test_usage_errors_have_status_2() -> None:
    assert call("generate", "t2v", "--frobnicate").exit_code == 2
    assert call("generate", "t3v").exit_code == 2
    assert call("nothing").exit_code == 2


@pytest.mark.parametrize("arguments", [("--help",), ("plan", *PROMPT, "--json"), ("presets",)])
def test_no_torch_until_it_is_needed(arguments: Sequence[str], data_dir: Path) -> None:
    code = (
        "import sys\nfrom studio.cli import main\n"
        f"sys.argv = ['studio', *{list(arguments)!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "heavy = {'torch', 'diffusers', 'transformers', 'gradio'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_bug_of_ours_is_one_sentence_too(data_dir: Path) -> None:
    code = (
        "import sys\nfrom studio import cli\nfrom studio.commands import make\n"
        "def broken(*_):\n    raise ValueError('a bug')\n"
        "make.load_runner = broken\n"
        "sys.argv = ['studio', 'generate', 't2v', '--prompt', 'x']\ncli.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "ValueError: a bug" in done.stderr
    assert "Traceback" not in done.stderr
    assert list((data_dir / "work").iterdir()) == []
