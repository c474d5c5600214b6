"""Whole clips by tiny avatars: from a portrait and a sound to frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from studio.core.errors import PresetError, RequestError, WeightsError
from studio.core.events import Done
from studio.core.preset import Preset
from studio.core.request import FaceBox, parse_request
from studio.jobs.context import RunContext
from studio.jobs.inputs import read_inputs
from studio.jobs.runner import run
from studio.media.decode import read_frames
from studio.models.family import Given, family_for
from studio.models.manager import ModelManager
from studio.stitching.windows import make_plan
from tests.models.avatars import tiny_avatars
from tests.parity.tiny import single_plan

MAKERS = {"omniavatar": tiny_avatars.omniavatar, "hunyuan_avatar": tiny_avatars.hunyuan}
COVERED = {(family, "avatar") for family in MAKERS}


@pytest.fixture(scope="module")
def presets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Preset]:
    return {name: make(tmp_path_factory.mktemp(name)) for name, make in MAKERS.items()}


@pytest.fixture(scope="module")
def models() -> Iterator[ModelManager]:
    manager = ModelManager(2**33)
    yield manager
    manager.free_all()


def clip(preset: Preset, models: ModelManager, root: Path, **fields: Any) -> Done:
    (root / "work").mkdir(parents=True, exist_ok=True)
    request = {
        "kind": "avatar",
        "preset": "tiny",
        "prompt": "a person speaks",
        "image": tiny_avatars.portrait(root / "portrait.png"),
        "audio": [tiny_avatars.sound(root / "sound.wav", 1.3)],
        **fields,
    }
    context = RunContext(
        job_id="job",
        work_dir=root / "work",
        outputs_dir=root / "outputs",
        cache_dir=root / "cache",
        models=models,
        presets={"tiny": preset},
        emit=lambda _event: None,
        should_stop=lambda: False,
    )
    return run(parse_request(request), context)


@pytest.mark.parametrize("name", MAKERS)
def test_a_portrait_speaks_longer_than_one_window(
    name: str, presets: dict[str, Preset], models: ModelManager, tmp_path: Path
) -> None:
    done = clip(presets[name], models, tmp_path)
    # 1.3 s at 25 fps are 32.5 frames; 4k+1: 33, 9 latent frames
    frames = np.stack(list(read_frames(done.path)))
    assert frames.shape == (33, 32, 32, 3)
    assert len(done.summary["windows"]) > 1
    assert done.summary["forwards"] == done.summary["forwards_spent"] > 0


@pytest.mark.parametrize("name", MAKERS)
def test_the_sound_changes_the_clip(
    name: str, presets: dict[str, Preset], models: ModelManager, tmp_path: Path
) -> None:
    hashes = set()
    for pitch in (220.0, 220.0, 700.0):
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        root.mkdir()
        audio = [tiny_avatars.sound(root / "own.wav", 0.5, pitch)]
        done = clip(presets[name], models, root, audio=audio)
        hashes.add(done.summary["windows"][0]["sha256"])
    assert len(hashes) == 2


@pytest.mark.parametrize("name", MAKERS)
def test_half_precision_makes_nearly_the_same(
    name: str, presets: dict[str, Preset], models: ModelManager, tmp_path: Path
) -> None:
    clips = []
    for dtype in ("float32", "bfloat16"):
        options = {**presets[name].options, "dtype": dtype}
        preset = presets[name].model_copy(update={"options": options})
        (tmp_path / dtype).mkdir()
        audio = [tiny_avatars.sound(tmp_path / dtype / "own.wav", 0.5)]
        done = clip(preset, models, tmp_path / dtype, audio=audio)
        clips.append(np.stack(list(read_frames(done.path))).astype(np.float32))
    assert np.abs(clips[0] - clips[1]).mean() < 4


def test_split_guidance_costs_three_passes(
    presets: dict[str, Preset], models: ModelManager, tmp_path: Path
) -> None:
    audio = [tiny_avatars.sound(tmp_path / "own.wav", 0.5)]
    done = clip(presets["omniavatar"], models, tmp_path, audio=audio, audio_guidance_scale=3.0)
    assert done.summary["forwards"] == done.summary["forwards_spent"] == 2 * 3


def test_a_later_window_begins_with_the_frames_before_it_encoded_afresh(
    presets: dict[str, Preset], models: ModelManager
) -> None:
    family = family_for(presets["omniavatar"])
    picture = np.zeros((32, 32, 3), np.uint8)
    prefix = torch.ones(1, 16, 2, 4, 4)
    given = Given(5, references=(picture,), prefix=prefix, audio=(Path("none"),))
    family._audio_rows = lambda *_args: torch.zeros(1, 1)  # type: ignore[attr-defined]
    plan = replace(tiny_plan(presets["omniavatar"]), width=32, height=32)
    pins = family.pins(models, plan, given)
    assert pins.mask.flatten().tolist() == [0, 0, 1, 1, 1]
    assert torch.equal(pins.clean[:, :, :2], prefix)
    assert pins.extras["reference"].shape == (1, 16, 1, 4, 4)
    first = family.pins(models, plan, replace(given, prefix=None))
    assert first.mask.flatten().tolist() == [0, 1, 1, 1, 1]
    assert torch.equal(first.clean[:, :, :1], first.extras["reference"])


def tiny_plan(preset: Preset) -> Any:
    request = parse_request({"kind": "avatar", "preset": "tiny", "image": "a", "audio": ["b"]})
    return make_plan(request, preset, audio_seconds=1.3)


def test_speakers_take_turns(
    presets: dict[str, Preset], models: ModelManager, tmp_path: Path
) -> None:
    audio = [tiny_avatars.sound(tmp_path / f"{i}.wav", 0.5, 200.0 + i) for i in range(2)]
    face = {"x": 2, "y": 2, "width": 8, "height": 8}
    with pytest.raises(RequestError, match="one face for each sound"):
        clip(presets["hunyuan_avatar"], models, tmp_path, audio=audio, faces=[face])
    done = clip(presets["hunyuan_avatar"], models, tmp_path, audio=audio, faces=[face, face])
    assert done.summary["frames"] == 13
    with pytest.raises(RequestError, match="one speaker"):
        clip(presets["omniavatar"], models, tmp_path, audio=audio, faces=[face, face])


def test_a_pickle_is_to_be_converted(presets: dict[str, Preset], tmp_path: Path) -> None:
    preset = presets["hunyuan_avatar"]
    options = {**preset.options, "transformer_file": "elsewhere/weights.safetensors"}
    family = family_for(preset.model_copy(update={"options": options}))
    with pytest.raises(WeightsError, match=r"models convert weights\.pt"):
        family.components()
    ears = presets["omniavatar"].weights.adapters[1]
    weights = presets["omniavatar"].weights.model_copy(update={"adapters": (str(tmp_path), ears)})
    bare = family_for(presets["omniavatar"].model_copy(update={"weights": weights}))
    with pytest.raises(WeightsError, match=r"models convert pytorch_model\.pt"):
        bare.components()["transformer"].load(torch.device("cpu"))


@pytest.mark.parametrize("name", MAKERS)
def test_an_option_that_is_unknown_is_refused(name: str, presets: dict[str, Preset]) -> None:
    preset = presets[name].model_copy(update={"options": {"emotion": 1}})
    with pytest.raises(PresetError, match="emotion"):
        family_for(preset)


def test_any_partition_of_the_latents_decodes_alike(
    presets: dict[str, Preset], models: ModelManager
) -> None:
    family = family_for(presets["hunyuan_avatar"])
    latents = torch.randn(1, 16, 7, 4, 4, generator=torch.Generator().manual_seed(0))
    with family.decoder(models) as decoder:
        whole = decoder.push(latents)
    with family.decoder(models) as decoder:
        start = decoder.push(latents[:, :, :3])
        state = decoder.snapshot()
    with family.decoder(models) as decoder:
        decoder.restore(state)
        rest = decoder.push(latents[:, :, 3:])
    assert whole.shape == (25, 32, 32, 3)
    assert np.array_equal(np.concatenate([start, rest]), whole)


def test_faces_are_given_in_the_portraits_own_pixels(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (128, 64)).save(tmp_path / "wide.png")
    face = {"x": 48, "y": 16, "width": 32, "height": 32}
    request = parse_request(
        {
            "kind": "avatar",
            "image": str(tmp_path / "wide.png"),
            "audio": [tiny_avatars.sound(tmp_path / "a.wav", 0.5, 220.0)],
            "faces": [face],
        }
    )
    plan = single_plan("avatar", (32, 32), 5)
    inputs = read_inputs(request, plan, lambda _notice: None)
    # halved, and 16 columns are cut off on the left
    assert inputs.faces == (FaceBox(x=8, y=8, width=16, height=16),)
