"""Every pipeline preset makes a clip of tiny weights, in each of its modes and at two lengths."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from studio.core.errors import Cancelled, PresetError, RequestError, WeightsError
from studio.core.events import Event, Progress
from studio.core.preset import Preset, load_presets
from studio.core.request import parse_request
from studio.core.settings import ROOT
from studio.jobs.context import RunContext
from studio.jobs.runner import run
from studio.media.decode import probe, read_frames
from studio.models.families.pipeline import create
from studio.models.manager import ModelManager
from tests.parity import tiny_pipelines

KINDS = {
    "allegro": "allegro",
    "animatediff-sd1.5": "animatediff",
    "framepack-f1": "framepack",
    "framepack-i2v": "framepack",
    "helios-base": "helios",
    "hunyuan-video-1.5-480p-i2v": "hunyuan15-i2v",
    "hunyuan-video-1.5-480p-t2v": "hunyuan15-t2v",
    "hunyuan-video-1.5-720p-i2v": "hunyuan15-i2v",
    "hunyuan-video-1.5-720p-t2v": "hunyuan15-t2v",
    "latte-1": "latte",
    "ltx-video-0.9": "ltx",
    "ltx-video-0.9.5": "ltx",
    "ltx-2": "ltx2",
    "mochi-1-preview": "mochi",
    "skyreels-v2-df-1.3b-540p": "skyreels-df",
    "skyreels-v2-df-14b-720p": "skyreels-df",
    "skyreels-v2-i2v-1.3b-540p": "skyreels-i2v",
    "skyreels-v2-i2v-14b-540p": "skyreels-i2v",
    "skyreels-v2-i2v-14b-720p": "skyreels-i2v",
    "skyreels-v2-t2v-14b-540p": "skyreels-t2v",
    "skyreels-v2-t2v-14b-720p": "skyreels-t2v",
    "svd": "svd",
    "svd-xt": "svd",
}
PRESETS = {k: p for k, p in load_presets([ROOT / "presets"]).items() if p.family == "pipeline"}
CASES = [(name, mode) for name, preset in PRESETS.items() for mode in preset.modes]
COVERED = frozenset(CASES)

SMALL: dict[str, dict[str, Any]] = {
    "skyreels-df": {"base_num_frames": 9, "overlap_history": 5},
    "framepack": {"latent_window_size": 3, "max_sequence_length": 32},
    "mochi": {"max_sequence_length": 16},
    "allegro": {"max_sequence_length": 16},
    "ltx": {"max_sequence_length": 16},
    "ltx2": {"max_sequence_length": 16, "spatio_temporal_guidance_blocks": [1]},
    "helios": {
        "max_sequence_length": 16,
        "num_latent_frames_per_chunk": 3,
        "history_sizes": [4, 2, 1],
    },
}
"""What the tiny models are told besides: the published lengths would take minutes."""

Folders = Callable[[str], tuple[Path, dict[str, str]]]


@pytest.fixture(autouse=True)
def random_weights_may_be_flat(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny random decoder may paint one colour, which the guard rightly refuses elsewhere."""
    monkeypatch.setattr("studio.jobs.guards.FrameGuard.close", lambda self: None)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    made: dict[str, tuple[Path, dict[str, str]]] = {}

    def folder(kind: str) -> tuple[Path, dict[str, str]]:
        if kind not in made:
            path = tmp_path_factory.mktemp(kind) / "model"
            made[kind] = path, tiny_pipelines.save(kind, path)
        return made[kind]

    return folder


def shrunk(name: str, folders: Folders) -> Preset:
    """The preset with local weights and small limits; everything else as published."""
    preset, kind = PRESETS[name], KINDS[name]
    folder, parts = folders(kind)
    plain: dict[str, Any] = preset.model_dump()
    plain["weights"] |= {"source": "local", "path": str(folder), "revision": ""}
    plain["limits"] |= {"sizes": [[32, 32]]}
    plain["long"] |= {"window_frames": 8 if kind == "allegro" else 3}
    if not plain["long"]["methods"] and kind in ("skyreels-df", "framepack", "helios"):
        plain["long"] |= {"window_frames": 9}
    plain["defaults"] |= {"seconds": preset.rule.pixel_frames(2) / plain["defaults"]["fps"]}
    plain["options"]["call"] = plain["options"].get("call", {}) | SMALL.get(kind, {})
    if parts:
        plain["options"]["parts"] = parts
        plain["weights"]["adapters"] = tuple(dict.fromkeys(parts.values()))
    return Preset.model_validate(plain)


def picture(path: Path, level: int) -> str:
    Image.fromarray(np.full((40, 40, 3), level, np.uint8)).save(path)
    return str(path)


def asked(name: str, mode: str, tmp_path: Path, **more: Any) -> Any:
    fields: dict[str, Any] = {"kind": mode, "preset": name, "prompt": "a boat"}
    if mode != "t2v":
        fields["image"] = picture(tmp_path / "1.png", 40)
    if mode == "flf2v":
        fields["last_image"] = picture(tmp_path / "2.png", 200)
    return parse_request({**fields, "num_inference_steps": 2, **more})


def context(preset: Preset, tmp_path: Path, **more: Any) -> RunContext:
    (tmp_path / "work").mkdir(exist_ok=True)
    plain: dict[str, Any] = {
        "job_id": "job",
        "work_dir": tmp_path / "work",
        "outputs_dir": tmp_path / "outputs",
        "cache_dir": tmp_path / "cache",
        "models": ModelManager(2**33),
        "presets": {preset.id: preset},
        "emit": lambda event: None,
        "should_stop": lambda: False,
        "out": tmp_path / "a.mp4",
    }
    return RunContext(**{**plain, **more})


def test_every_preset_has_its_tiny_twin() -> None:
    assert set(PRESETS) == set(KINDS)


@pytest.mark.parametrize(("name", "mode"), CASES)
def test_a_preset_makes_a_clip(name: str, mode: str, folders: Folders, tmp_path: Path) -> None:
    preset = shrunk(name, folders)
    is_long = bool(preset.long.methods)
    frames = preset.rule.pixel_frames(5 if is_long else 2)
    events: list[Event] = []
    ctx = context(preset, tmp_path, emit=events.append)
    done = run(asked(name, mode, tmp_path, frames=frames), ctx)
    found = probe(tmp_path / "a.mp4")
    assert (found.frames, found.width, found.height) == (frames, 32, 32)
    assert done.summary["method"] == ("overlap-prefix" if is_long else "single")
    assert len(done.summary["windows"]) == (2 if is_long else 1)
    assert done.summary["forwards"] == done.summary["forwards_spent"] > 0
    stages = [e.stage for e in events if isinstance(e, Progress)]
    assert {"encoding", "sampling", "decoding"} <= set(stages)
    assert ctx.models.resident_bytes() > 0
    ctx.models.free_all()
    assert ctx.models.resident_bytes() == 0, "a component is still held"


def frames_of(path: Path) -> np.ndarray[Any, Any]:
    return np.stack(list(read_frames(path)))


def test_the_clip_is_the_pipelines_own(folders: Folders, tmp_path: Path) -> None:
    import torch
    from diffusers import MochiPipeline

    from studio.media.mux import ClipWriter

    preset = shrunk("mochi-1-preview", folders)
    run(asked(preset.id, "t2v", tmp_path, frames=13, seed=5), context(preset, tmp_path))
    pipe = MochiPipeline.from_pretrained(folders("mochi")[0])
    pipe.vae.enable_tiling()
    video = pipe(
        "a boat",
        negative_prompt="",
        height=32,
        width=32,
        num_frames=13,
        num_inference_steps=2,
        guidance_scale=4.5,
        max_sequence_length=16,
        generator=torch.Generator("cpu").manual_seed(5),
        output_type="np",
    ).frames[0]
    with ClipWriter(tmp_path / "stock.mp4", 30.0, (32, 32)) as writer:
        writer.write((np.clip(video, 0, 1) * 255).round().astype(np.uint8))
    assert np.array_equal(frames_of(tmp_path / "a.mp4"), frames_of(tmp_path / "stock.mp4"))


def test_seeds_differ_and_repeat(folders: Folders, tmp_path: Path) -> None:
    preset = shrunk("ltx-video-0.9", folders)
    clips = []
    for index, seed in enumerate((1, 1, 2)):
        place = tmp_path / str(index)
        place.mkdir()
        run(asked(preset.id, "t2v", place, frames=9, seed=seed), context(preset, place))
        clips.append(frames_of(place / "a.mp4"))
    assert np.array_equal(clips[0], clips[1])
    assert not np.array_equal(clips[0], clips[2])


@pytest.mark.parametrize("name", ["svd", "hunyuan-video-1.5-480p-i2v"])
def test_a_run_ends_after_the_step_at_which_it_is_stopped(
    name: str, folders: Folders, tmp_path: Path
) -> None:
    preset = shrunk(name, folders)
    steps: list[int] = []

    def emit(event: Event) -> None:
        if isinstance(event, Progress) and event.stage == "sampling" and event.step:
            steps.append(event.step)

    request = asked(name, "i2v", tmp_path, num_inference_steps=6, frames=5)
    with pytest.raises(Cancelled, match="stopped"):
        run(request, context(preset, tmp_path, emit=emit, should_stop=lambda: len(steps) >= 2))
    assert steps == [1, 2]


def test_a_long_clip_goes_on_after_a_kill(folders: Folders, tmp_path: Path) -> None:
    preset = shrunk("ltx-video-0.9", folders)
    whole = tmp_path / "whole"
    whole.mkdir()
    request = asked(preset.id, "t2v", tmp_path, frames=33)
    run(request, context(preset, whole))
    seen: list[Event] = []
    stop = context(
        preset,
        tmp_path,
        emit=seen.append,
        should_stop=lambda: any(type(e).__name__ == "SegmentDone" for e in seen),
    )
    with pytest.raises(Cancelled):
        run(request, stop)
    run(request, context(preset, tmp_path))
    assert np.array_equal(frames_of(whole / "a.mp4"), frames_of(tmp_path / "a.mp4"))


def test_frugal_runs_hold_one_component_at_a_time(folders: Folders, tmp_path: Path) -> None:
    preset = shrunk("mochi-1-preview", folders)
    most: list[int] = []

    def emit(_event: Event) -> None:
        most.append(len(ctx.models.total_bytes()))

    ctx = context(preset, tmp_path, emit=emit)
    run(asked(preset.id, "t2v", tmp_path, frames=7, offload="model"), ctx)
    assert max(most) == 1
    assert set(ctx.models.loads.values()) == {1}, ctx.models.loads


@pytest.mark.parametrize(
    ("more", "rule"),
    [
        ({"cache": "fast"}, "without skipped steps"),
        ({"frames": 33, "overlap_frames": 2}, "last frame alone"),
    ],
)
def test_what_a_pipeline_cannot_do_is_said_before_anything_is_loaded(
    more: dict[str, Any], rule: str, folders: Folders, tmp_path: Path
) -> None:
    preset = shrunk("ltx-video-0.9", folders)
    ctx = context(preset, tmp_path)
    with pytest.raises(RequestError, match=rule):
        run(asked(preset.id, "t2v", tmp_path, **{"frames": 9, **more}), ctx)
    assert not ctx.models.loads


def test_foreign_and_half_weights_are_refused(folders: Folders, tmp_path: Path) -> None:
    import shutil

    preset = shrunk("ltx-video-0.9", folders)
    plain = preset.model_dump()
    foreign = Preset.model_validate(
        plain | {"weights": plain["weights"] | {"path": str(folders("mochi")[0])}}
    )
    ctx = context(foreign, tmp_path)
    with pytest.raises(WeightsError, match="holds MochiTransformer3DModel"):
        run(asked(preset.id, "t2v", tmp_path, frames=9), ctx)
    assert not ctx.models.loads
    half = tmp_path / "half"
    shutil.copytree(folders("ltx")[0], half)
    (half / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    partial = Preset.model_validate(plain | {"weights": plain["weights"] | {"path": str(half)}})
    ctx = context(partial, tmp_path)
    with pytest.raises(WeightsError, match="holds no safetensors weights"):
        run(asked(preset.id, "t2v", tmp_path, frames=9), ctx)
    assert not ctx.models.loads


def test_options_are_checked(folders: Folders, tmp_path: Path) -> None:
    preset = shrunk("ltx-video-0.9", folders)
    options = preset.options
    with pytest.raises(PresetError, match="options colour are not known"):
        create(preset.model_copy(update={"options": {**options, "colour": 1}}))
    with pytest.raises(PresetError, match="names no pipeline for i2v"):
        create(preset.model_copy(update={"options": {"pipelines": {"t2v": "LTXPipeline"}}}))
    wrong = preset.model_copy(update={"options": {**options, "call": {"colour": 1}}})
    with pytest.raises(PresetError, match="does not take colour"):
        run(asked(preset.id, "t2v", tmp_path, frames=9), context(wrong, tmp_path))
    pipelines = {"t2v": "LTXTransformer", "i2v": "os.system"}
    wrong = preset.model_copy(update={"options": {**options, "pipelines": pipelines}})
    with pytest.raises(PresetError, match="which diffusers does not have"):
        run(asked(preset.id, "t2v", tmp_path, frames=9), context(wrong, tmp_path))
