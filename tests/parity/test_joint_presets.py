"""Every HunyuanVideo and CogVideoX preset makes a clip of tiny weights in the folder layout."""

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
from tests.parity import tiny_joint

KINDS = {
    "hunyuan-video": "t2v",
    "hunyuan-video-i2v": "token_replace",
    "hunyuan-video-i2v-33ch": "latent_concat",
    "cogvideox-2b": "2b",
    "cogvideox-5b": "5b",
    "cogvideox-5b-i2v": "5b-i2v",
    "cogvideox1.5-5b": "1.5",
    "cogvideox1.5-5b-i2v": "1.5-i2v",
}
FAMILIES = ("hunyuan_video", "cogvideox")
PRESETS = {k: p for k, p in load_presets([ROOT / "presets"]).items() if p.family in FAMILIES}
COVERED = {(name, mode) for name, preset in PRESETS.items() for mode in preset.modes}
CASES = [(name, method) for name, preset in PRESETS.items() for method in preset.long.methods]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp("weights")
            is_cog = PRESETS[name].family == "cogvideox"
            build = tiny_joint.cog_pipeline if is_cog else tiny_joint.hunyuan_pipeline
            build(KINDS[name]).save_pretrained(made[name])
        return made[name]

    return folder


def shrunk(preset: Preset, folder: Path) -> Preset:
    """The preset with local weights and small limits; everything else as published."""
    plain: dict[str, Any] = preset.model_dump()
    plain["weights"] |= {"source": "local", "path": str(folder), "revision": ""}
    is_cog = preset.family == "cogvideox"
    plain["limits"] |= {"sizes": [[32, 32]], "max_prompt_tokens": 32 if is_cog else 48}
    even = preset.id.startswith("cogvideox1.5")
    plain["long"] |= {"window_frames": 4 if even else 3, "overlap_frames": 1}
    plain["defaults"] |= {"seconds": 9 / plain["defaults"]["fps"]}
    plain["latent_channels"] = 4
    if not is_cog:
        i2v = "i2v" in preset.modes
        plain["options"] |= {"template": tiny_joint.TEMPLATE if i2v else tiny_joint.PLAIN}
    return Preset.model_validate({**plain, "long": {**plain["long"], "shift_frames": 1}})


def clip(
    preset: Preset, folder: Path, method: str, frames: int
) -> tuple[Any, tuple[int, int, int]]:
    """(the run's summary, (frames, width, height) of the file)."""
    fields: dict[str, Any] = {"kind": preset.modes[0], "preset": preset.id, "prompt": "a boat"}
    if fields["kind"] != "t2v":
        Image.fromarray(np.full((40, 40, 3), 90, np.uint8)).save(folder / "1.png")
        fields["image"] = str(folder / "1.png")
    (folder / "work").mkdir()
    context = RunContext(
        job_id="job",
        work_dir=folder / "work",
        outputs_dir=folder / "outputs",
        cache_dir=folder / "cache",
        models=ModelManager(2**33),
        presets={preset.id: preset},
        emit=lambda event: None,
        should_stop=lambda: False,
        out=folder / "a.mp4",
    )
    more = {"frames": frames, "method": method, "num_inference_steps": 2}
    done = run(parse_request({**fields, **more}), context)
    found = probe(folder / "a.mp4")
    return done.summary, (found.frames, found.width, found.height)


def test_every_preset_has_its_tiny_twin() -> None:
    assert set(PRESETS) == set(KINDS)


@pytest.mark.parametrize(("name", "method"), CASES)
def test_a_preset_makes_a_long_clip(
    name: str, method: str, folders: Callable[[str], Path], tmp_path: Path
) -> None:
    summary, found = clip(shrunk(PRESETS[name], folders(name)), tmp_path, method, 17)
    assert found == (17, 32, 32)
    assert summary["method"] == method
    assert summary["forwards"] == summary["forwards_spent"] > 0


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_makes_a_clip_of_one_window(
    name: str, folders: Callable[[str], Path], tmp_path: Path
) -> None:
    summary, found = clip(shrunk(PRESETS[name], folders(name)), tmp_path, "auto", 9)
    assert found == (9, 32, 32)
    assert summary["method"] == "single"
    assert summary["forwards"] == summary["forwards_spent"] > 0
