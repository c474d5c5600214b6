"""Wan by our loop is equal bit for bit to the stock pipelines, whose loop is not called."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from studio.core.errors import PresetError, RequestError
from studio.models.family import Conditions, Given, family_for
from studio.models.manager import ModelManager
from studio.sampling.loop import sample
from studio.sampling.state import LatentState
from studio.sampling.stepper import Stepper
from tests.parity import tiny

PROMPT = "A red ball &amp; a  blue cube, caf\u00c3\u00a9"
NEGATIVE = "blurred, static"
RUNS = [((32, 48), 9, 11), ((64, 32), 5, 12)]
RUNS_16X = [((32, 64), 9, 11), ((64, 32), 5, 12)]
SIXTEEN = {"spatial_stride": 16, "latent_channels": 48}
KINDS: dict[str, dict[str, Any]] = {
    "t2v": {},
    "t2v-euler": {},
    "t2v-a14b": {"defaults": {"guidance_scale_2": 3.0}},
    "t2v-5b": SIXTEEN,
    "i2v": {},
    "i2v-a14b": {"defaults": {"guidance_scale_2": 3.5}},
    "i2v-5b": SIXTEEN,
    "flf2v": {},
    "flf2v-a14b": {"defaults": {"guidance_scale_2": 3.5}},
}


def picture(size: tuple[int, int], seed: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)


def stock(pipe: Any, kind: str, size: tuple[int, int], frames: int, seed: int) -> torch.Tensor:
    from PIL import Image

    options: dict[str, Any] = {}
    if kind.startswith(("i2v", "flf2v")):
        options["image"] = Image.fromarray(picture(size, 1))
    if kind.startswith("flf2v"):
        options["last_image"] = Image.fromarray(picture(size, 2))
    second = KINDS[kind].get("defaults", {}).get("guidance_scale_2")
    if second is not None:
        options["guidance_scale_2"] = second
    latents: torch.Tensor = pipe(
        prompt=PROMPT,
        negative_prompt=NEGATIVE,
        width=size[0],
        height=size[1],
        num_frames=frames,
        num_inference_steps=4,
        guidance_scale=5.0,
        generator=torch.Generator("cpu").manual_seed(seed),
        output_type="latent",
        **options,
    ).frames
    return latents


def ours(folder: Path, kind: str, size: tuple[int, int], frames: int, seed: int) -> torch.Tensor:
    mode = kind.split("-", maxsplit=1)[0]
    family = family_for(tiny.preset_for(folder, (mode,), **KINDS[kind]))
    models = ModelManager(2**33)
    plan = tiny.single_plan(mode, size, frames)
    first = picture(size, 1) if mode in ("i2v", "flf2v") else None
    last = picture(size, 2) if mode == "flf2v" else None
    references = tuple(p for p in (first, last) if p is not None)
    given = Given(plan.latent_frames, first, last, references)
    (embeds,) = family.encode_prompts(models, [PROMPT], NEGATIVE, plan.guidance_scale)
    pins = family.pins(models, plan, given)
    counted: list[int] = []
    conditions = Conditions(plan, lambda _frames: embeds, pins, on_forward=counted.append)
    shape = family.latent_shape(plan, plan.latent_frames)
    noise = torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed))
    stepper = Stepper(*family.scheduler(plan, plan.latent_frames))
    with family.open_denoiser(models, conditions) as denoise:
        state = LatentState(noise, pins.clean, pins.mask)
        made = sample(denoise, state, stepper, frames=range(plan.latent_frames))
    assert sum(counted) == plan.forwards
    return made.with_pins() if not family.pin_renoise else made.latent


@contextmanager
def loops_forbidden(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from diffusers import WanImageToVideoPipeline, WanPipeline

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("the stock loop was called")

    with monkeypatch.context() as patch:
        patch.setattr(WanPipeline, "__call__", refuse)
        patch.setattr(WanImageToVideoPipeline, "__call__", refuse)
        yield


def saved(kind: str, folder: Path) -> Any:
    base = "i2v-a14b" if kind == "flf2v-a14b" else kind
    pipe = tiny.wan_pipeline(base)
    pipe.set_progress_bar_config(disable=True)
    pipe.save_pretrained(folder)
    return pipe


@pytest.mark.parametrize("kind", KINDS)
def test_latents_equal_the_stock_pipeline_bit_for_bit(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = saved(kind, tmp_path)
    for size, frames, seed in RUNS_16X if kind.endswith("5b") else RUNS:
        expected = stock(pipe, kind, size, frames, seed)
        with loops_forbidden(monkeypatch):
            made = ours(tmp_path, kind, size, frames, seed)
        assert torch.equal(made, expected), float((made - expected).abs().max())


def test_a_picture_that_the_checkpoint_does_not_take_is_refused(tmp_path: Path) -> None:
    size = (32, 32)
    models = ModelManager(2**33)
    one, two = picture(size, 1), picture(size, 2)
    cases = [
        ("i2v", (one, two), "not trained with a last frame"),
        ("flf2v", (one,), "needs a first and a last frame"),
        ("t2v", (one,), "from text alone"),
        ("i2v-5b", (one, two), "no last frame"),
    ]
    for kind, pictures, message in cases:
        saved(kind, tmp_path / kind)
        changes = KINDS[kind]
        family = family_for(tiny.preset_for(tmp_path / kind, ("t2v",), **changes))
        plan = tiny.single_plan("i2v", size, 5)
        last = pictures[1] if len(pictures) > 1 else None
        with pytest.raises(RequestError, match=message):
            family.pins(models, plan, Given(2, pictures[0], last, pictures))


def test_clip_features_with_another_prompt_length_are_refused(tmp_path: Path) -> None:
    saved("i2v", tmp_path)
    preset = tiny.preset_for(tmp_path, ("i2v",), limits={"max_prompt_tokens": 226})
    with pytest.raises(PresetError, match="512 prompt tokens"):
        family_for(preset)
