"""Whole runs whose transformer and text encoder stay in their files: the same latents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from studio.core.events import Event, Notice
from studio.core.preset import Preset
from studio.core.request import parse_request
from studio.jobs.context import RunContext
from studio.jobs.runner import run
from studio.models.manager import ModelManager
from tests.parity import tiny


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Preset:
    folder = tmp_path_factory.mktemp("wan")
    tiny.wan_pipeline("t2v").save_pretrained(folder)
    return tiny.preset_for(
        folder,
        ("t2v",),
        defaults={"num_inference_steps": 2, "fps": 8, "guidance_scale": 4.0},
        long={
            "methods": ["overlap-prefix", "position-shift"],
            "window_frames": 3,
            "overlap_frames": 1,
        },
    )


def make(root: Path, preset: Preset, models: ModelManager, **fields: Any) -> list[Event]:
    events: list[Event] = []
    (root / "work").mkdir(parents=True)
    context = RunContext(
        job_id="job",
        work_dir=root / "work",
        outputs_dir=root / "outputs",
        cache_dir=root / "cache",
        models=models,
        presets={preset.id: preset},
        emit=events.append,
        should_stop=lambda: False,
        save_latents=root / "latents.safetensors",
    )
    request = {"kind": "t2v", "preset": preset.id, "prompt": "a ball", "frames": 21, "seed": 3}
    run(parse_request({**request, **fields}), context)
    return events


def latents(root: Path) -> torch.Tensor:
    return load_file(root / "latents.safetensors")["latents"]


@pytest.mark.parametrize("method", ["overlap-prefix", "position-shift"])
def test_offload_disk_gives_the_same_latents(method: str, tmp_path: Path, preset: Preset) -> None:
    for offload in ("none", "disk"):
        make(tmp_path / offload, preset, ModelManager(2**33), method=method, offload=offload)
    assert torch.equal(latents(tmp_path / "none"), latents(tmp_path / "disk"))


def test_a_part_larger_than_the_budget_is_streamed_by_itself(
    tmp_path: Path, preset: Preset
) -> None:
    from studio.models.family import family_for
    from studio.models.offload import stream_of

    transformer = family_for(preset).components()["transformer"]
    models = ModelManager(transformer.bytes - 1)
    with models.use(transformer) as module:
        stream = stream_of(module)
        assert stream is not None
        assert models.resident_bytes() == stream.resident_bytes < transformer.bytes
    with ModelManager(transformer.bytes * 2).use(transformer) as module:
        assert stream_of(module) is None


def test_block_on_a_host_says_that_it_is_model(tmp_path: Path, preset: Preset) -> None:
    models = ModelManager(2**33)
    events = make(tmp_path, preset, models, frames=5, offload="block")
    said = [event.message for event in events if isinstance(event, Notice)]
    assert any("it does what model does" in text for text in said)
    assert models.total_bytes() == {}
