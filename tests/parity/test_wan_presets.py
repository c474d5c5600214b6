"""Every Wan preset makes a clip of tiny weights in the folder layout of its checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from studio.core.preset import Preset, load_presets
from studio.core.request import parse_request
from studio.core.settings import ROOT
from studio.jobs.context import RunContext
from studio.jobs.runner import run
from studio.media.decode import probe
from studio.models.manager import ModelManager
from tests.parity import tiny

KINDS = {
    "wan2.1-t2v-1.3b": "t2v",
    "wan2.1-t2v-14b": "t2v",
    "wan2.1-i2v-14b-480p": "i2v",
    "wan2.1-i2v-14b-720p": "i2v",
    "wan2.1-flf2v-14b-720p": "flf2v",
    "wan2.2-t2v-a14b": "t2v-a14b",
    "wan2.2-i2v-a14b": "i2v-a14b",
    "wan2.2-ti2v-5b": "i2v-5b",
    "pocket": "pocket",
}
PRESETS = {k: p for k, p in load_presets([ROOT / "presets"]).items() if p.family == "wan"}
CASES = [
    (name, mode, method)
    for name, preset in PRESETS.items()
    for mode in preset.modes
    for method in preset.long.methods or ("auto",)
]
COVERED = {(name, mode) for name, mode, _method in CASES}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp(kind)
            tiny.wan_pipeline(kind).save_pretrained(made[kind])
        return made[kind]

    return folder


def shrunk(preset: Preset, folder: Path) -> Preset:
    """The preset with local weights and small limits; everything else as published."""
    plain: dict[str, Any] = preset.model_dump()
    plain["weights"] |= {"source": "local", "path": str(folder), "revision": ""}
    plain["limits"] |= {"sizes": [[32, 32]]}
    plain["long"] |= {"window_frames": 3, "overlap_frames": 1, "shift_frames": 1}
    plain["defaults"] |= {"seconds": 9 / plain["defaults"]["fps"]}
    if preset.weights.source == "embedded":
        plain["options"] = {"condition": "latents"}
    return Preset.model_validate(plain)


def picture(path: Path, level: int) -> str:
    Image.fromarray(np.full((40, 40, 3), level, np.uint8)).save(path)
    return str(path)


def test_every_preset_has_its_tiny_twin() -> None:
    assert set(PRESETS) == set(KINDS)


@pytest.mark.parametrize(("name", "mode", "method"), CASES)
def test_a_preset_makes_a_clip(
    name: str, mode: str, method: str, folders: Callable[[str], Path], tmp_path: Path
) -> None:
    preset = shrunk(PRESETS[name], folders(KINDS[name]))
    fields: dict[str, Any] = {"kind": mode, "preset": name, "prompt": "a boat", "method": method}
    if mode != "t2v":
        fields["image"] = picture(tmp_path / "1.png", 40)
    if mode == "flf2v":
        fields["last_image"] = picture(tmp_path / "2.png", 200)
    is_long = bool(preset.long.methods)
    (tmp_path / "work").mkdir()
    context = RunContext(
        job_id="job",
        work_dir=tmp_path / "work",
        outputs_dir=tmp_path / "outputs",
        cache_dir=tmp_path / "cache",
        models=ModelManager(2**33),
        presets={name: preset},
        emit=lambda event: None,
        should_stop=lambda: False,
        out=tmp_path / "a.mp4",
    )
    frames = 17 if is_long else 9
    request = parse_request({**fields, "frames": frames, "num_inference_steps": 2})
    done = run(request, context)
    found = probe(tmp_path / "a.mp4")
    assert (found.frames, found.width, found.height) == (frames, 32, 32)
    assert done.summary["method"] == (method if is_long else "single")
    assert done.summary["forwards"] == done.summary["forwards_spent"] > 0
