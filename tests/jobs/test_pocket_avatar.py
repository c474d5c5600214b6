"""The shipped talking portrait makes clips through the runner, one window and several."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from studio.core.preset import load_presets
from studio.core.request import parse_request
from studio.core.settings import ROOT
from studio.jobs.context import RunContext
from studio.jobs.runner import run
from studio.media.decode import probe
from studio.models.manager import ModelManager
from studio.pocket.avatar_rows import portrait
from studio.pocket.vocabulary import Person
from tests.models.avatars.tiny_avatars import sound

COVERED = {("pocket-avatar", "avatar")}
ANNE = Person("tan", "long", "brown", "blue", "green", "green")


@pytest.mark.parametrize(("seconds", "method"), [(1.0, "auto"), (3.0, "overlap-prefix")])
def test_a_portrait_speaks_as_long_as_the_sound(
    seconds: float, method: str, tmp_path: Path
) -> None:
    drawn = portrait((ANNE,), np.random.default_rng(0))[0]
    Image.fromarray(drawn).save(tmp_path / "face.png")
    context = RunContext(
        job_id="job",
        work_dir=tmp_path / "work",
        outputs_dir=tmp_path / "outputs",
        cache_dir=tmp_path / "cache",
        models=ModelManager(2**33),
        presets=load_presets([ROOT / "presets"]),
        emit=lambda event: None,
        should_stop=lambda: False,
        out=tmp_path / "a.mp4",
    )
    context.work_dir.mkdir()
    asked = {
        "kind": "avatar",
        "preset": "pocket-avatar",
        "image": str(tmp_path / "face.png"),
        "audio": [sound(tmp_path / "a.wav", seconds, 220.0)],
        "method": method,
        "num_inference_steps": 2,
    }
    done = run(parse_request(asked), context)
    found = probe(tmp_path / "a.mp4")
    assert (found.width, found.height) == (128, 128)
    assert abs(found.frames - seconds * 12.5) <= 1.0
    assert done.summary["forwards"] == done.summary["forwards_spent"] > 0
