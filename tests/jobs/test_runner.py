"""Whole runs with a tiny model of the pocket layout: clips, resume, both long methods."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from studio.core.errors import Cancelled, RequestError
from studio.core.events import Done, Event, Preview, Progress, SegmentDone
from studio.core.preset import Preset
from studio.core.request import parse_request
from studio.jobs.context import RunContext
from studio.jobs.runner import run
from studio.library.library import Library
from studio.media.decode import read_frames
from studio.models.manager import ModelManager
from tests.parity import tiny

STEPS = 3


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Preset:
    folder = tmp_path_factory.mktemp("pocket")
    tiny.wan_pipeline("pocket").save_pretrained(folder)
    return tiny.preset_for(
        folder,
        ("t2v", "i2v", "flf2v"),
        spatial_stride=16,
        latent_channels=48,
        options={"condition": "latents"},
        pin="mask_channels",
        defaults={"num_inference_steps": STEPS, "fps": 12.5, "guidance_scale": 2.0},
        limits={"size_multiple": 32},
        long={
            "methods": ["overlap-prefix", "position-shift"],
            "window_frames": 3,
            "overlap_frames": 1,
        },
    )


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> ModelManager:
    return ModelManager(2**33, cache_dir=tmp_path_factory.mktemp("cache"))


class Bench:
    """Runs requests in folders of their own and keeps what was said."""

    def __init__(self, root: Path, preset: Preset, models: ModelManager) -> None:
        self.root = root
        self.events: list[Event] = []
        self.context = RunContext(
            job_id="job",
            work_dir=root / "work",
            outputs_dir=root / "outputs",
            cache_dir=root / "cache",
            models=models,
            presets={"tiny": preset},
            emit=self.events.append,
            should_stop=lambda: False,
            save_latents=root / "latents.safetensors",
        )
        self.context.work_dir.mkdir()

    def run(self, **fields: Any) -> Done:
        request = parse_request({"kind": "t2v", "preset": "tiny", "prompt": "a ball", **fields})
        return run(request, self.context)

    def latents(self) -> torch.Tensor:
        return load_file(self.root / "latents.safetensors")["latents"]

    def stop_when(self, due: Callable[[list[Event]], bool]) -> None:
        self.context = replace(self.context, should_stop=lambda: due(self.events))

    def go_on(self) -> None:
        self.context = replace(self.context, should_stop=lambda: False)


@pytest.fixture
def bench(tmp_path: Path, preset: Preset, models: ModelManager) -> Bench:
    return Bench(tmp_path, preset, models)


def frames_of(path: str | Path) -> np.ndarray[Any, Any]:
    return np.stack(list(read_frames(path)))


def picture(path: Path, seed: int) -> str:
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return str(path)


def test_a_sentence_becomes_a_clip_in_the_library(bench: Bench) -> None:
    done = bench.run(frames=9, seed=5)
    assert frames_of(done.path).shape == (9, 32, 32, 3)
    assert done.summary["forwards"] == STEPS * 2
    assert done.summary["forwards_spent"] == STEPS * 2
    assert [c.id for c in Library(bench.context.outputs_dir).list()] == [done.clip_id]
    assert bench.latents().shape == (1, 48, 3, 2, 2)
    shares = [e.done for e in bench.events if isinstance(e, Progress)]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert json.dumps(done.summary)


def test_one_seed_gives_the_same_latents_twice(
    tmp_path: Path, preset: Preset, models: ModelManager
) -> None:
    made = []
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        (tmp_path / name).mkdir()
        other = Bench(tmp_path / name, preset, models)
        other.run(frames=5, seed=seed)
        made.append(other.latents())
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_out_writes_there_and_not_into_the_library(bench: Bench) -> None:
    bench.context = replace(bench.context, out=bench.root / "a.mp4")
    done = bench.run(frames=5)
    assert done.path == str(bench.root / "a.mp4")
    assert len(frames_of(done.path)) == 5
    assert Library(bench.context.outputs_dir).list() == []


def test_pictures_are_given_at_both_ends(bench: Bench) -> None:
    first, last = (picture(bench.root / f"{n}.png", n) for n in (1, 2))
    bench.run(kind="flf2v", image=first, last_image=last, frames=9)
    both = bench.latents()
    shutil.rmtree(bench.context.work_dir)
    bench.context.work_dir.mkdir()
    bench.run(kind="i2v", image=first, frames=9)
    one = bench.latents()
    assert torch.equal(both[:, :, 0], one[:, :, 0]), "the first latent frame is the picture's own"
    assert not torch.equal(both[:, :, -1], one[:, :, -1])


@pytest.mark.parametrize("method", ["overlap-prefix", "position-shift"])
@pytest.mark.parametrize("stop_at", ["step", "segment"])
def test_a_stopped_run_goes_on_and_gives_the_same(
    method: str, stop_at: str, tmp_path: Path, preset: Preset, models: ModelManager
) -> None:
    fields = {"frames": 21, "seed": 3, "method": method}
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    whole = Bench(tmp_path / "whole", preset, models)
    expected = whole.run(**fields)
    broken = Bench(tmp_path / "broken", preset, models)
    if stop_at == "step":
        broken.stop_when(lambda events: sum(isinstance(e, Progress) for e in events) > 14)
    else:
        broken.stop_when(lambda events: any(isinstance(e, SegmentDone) for e in events))
    with pytest.raises(Cancelled):
        broken.run(**fields)
    broken.go_on()
    done = broken.run(**fields)
    assert torch.equal(broken.latents(), whole.latents())
    assert len(frames_of(done.path)) == 21
    first = done.summary["windows"][0]
    assert stop_at == "step" or first == expected.summary["windows"][0]
    assert done.summary["forwards"] == expected.summary["forwards"]
    per_window = STEPS * 2
    if method == "overlap-prefix":
        assert done.summary["forwards_spent"] <= done.summary["forwards"] + per_window


@pytest.mark.parametrize("carry", ["latent", "reencode", "reencode-warm"])
def test_every_carry_continues_the_clip(carry: str, bench: Bench) -> None:
    done = bench.run(frames=21, method="overlap-prefix", carry=carry)
    assert len(frames_of(done.path)) == 21
    assert bench.latents().shape[2] == 6


def test_shots_cut_and_continue(bench: Bench) -> None:
    shots = [
        {"prompt": "a red ball", "seconds": 0.72},
        {"prompt": "a blue ball", "seconds": 0.64},
        {"prompt": "a star", "seconds": 0.4, "join": "cut"},
    ]
    done = bench.run(prompt="", shots=shots, method="overlap-prefix")
    assert len(frames_of(done.path)) == done.summary["frames"]
    assert {w["prompt"] for w in done.summary["windows"]} == {s["prompt"] for s in shots}
    assert any(w["cut"] for w in done.summary["windows"][1:])


def test_parts_are_loaded_once_for_all_modes(bench: Bench, models: ModelManager) -> None:
    bench.run(frames=5)
    before = sum(models.loads.values())
    first = picture(bench.root / "1.png", 1)
    bench.run(kind="i2v", image=first, frames=5, prompt="another ball")
    assert sum(models.loads.values()) == before


def test_a_changed_request_does_not_take_over_windows(bench: Bench) -> None:
    bench.run(frames=5, seed=1)
    one = bench.latents()
    bench.run(frames=5, seed=2)
    assert not torch.equal(one, bench.latents())


def test_a_preview_is_shown_in_a_long_run(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studio.jobs.reporter.PREVIEW_S", 0.0)
    monkeypatch.setattr("studio.jobs.reporter.PREVIEW_COST", 0.0)
    bench.run(frames=9)
    previews = [e for e in bench.events if isinstance(e, Preview)]
    assert previews
    with Image.open(previews[-1].path) as shown:
        assert shown.size == (32, 32)


def test_a_ring_closes_with_whole_latent_frames(bench: Bench) -> None:
    # every latent frame of a ring stands for 4 video frames, the first one too
    done = bench.run(frames=20, method="position-shift", ends="ring")
    assert len(frames_of(done.path)) == 20
    assert bench.latents().shape[2] == 5


@pytest.mark.parametrize("method", ["overlap-prefix", "position-shift"])
def test_a_step_cache_saves_what_the_plan_says(method: str, bench: Bench) -> None:
    plain = bench.run(frames=21, method=method, num_inference_steps=12)
    cached = bench.run(frames=21, method=method, num_inference_steps=12, cache="faster")
    spent = plain.summary["forwards_spent"]
    assert cached.summary["forwards"] < plain.summary["forwards"]
    assert cached.summary["forwards_spent"] == spent + cached.summary["forwards"]


@pytest.mark.parametrize("method", ["overlap-prefix", "position-shift"])
def test_a_retake_changes_its_window_alone(method: str, bench: Bench) -> None:
    done = bench.run(frames=29, seed=3, method=method)
    before, old = frames_of(done.path), bench.latents()
    windows = done.summary["windows"]
    renew_work_dir(bench)
    again = bench.run(
        frames=29, seed=3, method=method, retake={"clip": done.clip_id, "window": 1, "seed": 9}
    )
    after, new = frames_of(again.path), bench.latents()
    start, count = windows[1]["start_frame"], windows[1]["frames"]
    same = [i for i in range(29) if np.array_equal(before[i], after[i])]
    assert same == [i for i in range(29) if not start <= i < start + count]
    changed = (old != new).flatten(3).any(3).any(1)[0].tolist()
    assert changed == [start <= 4 * k - 3 < start + count for k in range(8)]
    assert again.summary["forwards"] == STEPS * 2
    assert again.summary["windows"][1]["seed"] == 9
    third = bench.run(
        frames=29, seed=3, method=method, retake={"clip": again.clip_id, "window": 0, "seed": 4}
    )
    assert [w["seed"] for w in third.summary["windows"]][:2] == [4, 9]


def test_a_clip_is_continued_and_stays_in_front(bench: Bench) -> None:
    done = bench.run(frames=9, seed=1)
    before = frames_of(done.path)
    renew_work_dir(bench)
    for method in ("overlap-prefix", "position-shift"):
        longer = bench.run(frames=12, seed=2, continue_from=done.clip_id, method=method)
        after = frames_of(longer.path)
        assert np.array_equal(after[:9], before)
        assert len(after) == 9 + 12 == longer.summary["frames"]
        assert longer.summary["windows"][0]["start_frame"] == 9


def test_a_clip_that_is_too_short_is_not_continued(bench: Bench) -> None:
    done = bench.run(frames=1, seed=1)
    with pytest.raises(RequestError, match="at least 5 frames"):
        bench.run(frames=8, continue_from=done.clip_id, overlap_frames=2)


def renew_work_dir(bench: Bench) -> None:
    shutil.rmtree(bench.context.work_dir)
    bench.context.work_dir.mkdir()


def test_a_lora_changes_the_clip_and_only_while_it_is_asked_for(bench: Bench) -> None:
    from safetensors.torch import save_file

    bench.run(frames=5)
    plain = bench.latents()
    path = bench.root / "lora.safetensors"
    save_file(
        {
            "transformer.blocks.0.attn1.to_q.lora_A.weight": torch.ones(1, 24),
            "transformer.blocks.0.attn1.to_q.lora_B.weight": torch.ones(24, 1),
        },
        path,
    )
    bench.run(frames=5, loras=[{"path": str(path), "weight": 2.0}])
    assert not torch.equal(bench.latents(), plain)
    bench.run(frames=5)
    assert torch.equal(bench.latents(), plain)


def test_when_memory_runs_out_the_run_goes_on_with_less(
    bench: Bench, models: ModelManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    from studio.models.families.wan_denoise import WanDenoiser

    whole = bench.run(frames=29, method="overlap-prefix")
    expected = bench.latents()
    renew_work_dir(bench)
    bench.events.clear()
    real, calls = WanDenoiser.__call__, []

    def failing(self: Any, *arguments: Any) -> torch.Tensor:
        calls.append(1)
        if len(calls) == STEPS * 2 + 2:
            raise torch.OutOfMemoryError("injected")
        return real(self, *arguments)

    monkeypatch.setattr(WanDenoiser, "__call__", failing)
    done = bench.run(frames=29, method="overlap-prefix")
    assert torch.equal(bench.latents(), expected)
    assert done.summary["forwards"] == whole.summary["forwards"]
    assert done.summary["forwards_spent"] <= whole.summary["forwards"] + STEPS * 2
    assert any("memory ran out" in getattr(e, "message", "") for e in bench.events)
    assert models.tile_vae
    bench.run(frames=5)
    assert not models.tile_vae


def test_damaged_windows_are_made_again(bench: Bench) -> None:
    fields = {"frames": 29, "seed": 3, "method": "overlap-prefix"}
    whole = bench.run(**fields)
    expected = bench.latents()
    work = bench.context.work_dir
    (work / "window-002.safetensors").write_bytes(b"torn")
    for path in work.glob("*.decoder.safetensors"):
        path.unlink()
    done = bench.run(**fields)
    assert torch.equal(bench.latents(), expected)
    assert done.summary["forwards_spent"] == 2 * whole.summary["forwards"]
