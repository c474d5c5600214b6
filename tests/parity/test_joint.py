"""HunyuanVideo and CogVideoX by our loop are equal bit for bit to the stock pipelines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from studio.core.errors import PresetError, RequestError, WeightsError
from studio.core.preset import Preset
from studio.models.family import Conditions, Drawer, Given, family_for
from studio.models.manager import ModelManager
from studio.sampling.loop import sample
from studio.sampling.state import LatentState
from studio.sampling.stepper import Stepper
from tests.parity import tiny, tiny_joint

PROMPT = "a red ball"
NEGATIVE = "blurred"
RUNS = [((32, 48), 9, 11), ((64, 32), 5, 12)]
EMBEDDED = 4.0
HUNYUAN = ("t2v", "t2v-plain", "token_replace", "latent_concat")
COG = tuple(tiny_joint.COG)
CASES = [("hunyuan_video", kind, "cfg") for kind in HUNYUAN]
CASES += [("hunyuan_video", kind, "embedded") for kind in ("t2v", "token_replace")]
CASES += [("cogvideox", kind, "cfg") for kind in COG]
CASES += [("cogvideox", kind, "dynamic") for kind in ("2b", "5b-dpm")]


def picture(size: tuple[int, int], seed: int = 1) -> np.ndarray[Any, np.dtype[np.uint8]]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)


def sees_image(kind: str) -> bool:
    return kind.endswith("i2v") or kind in ("token_replace", "latent_concat")


def saved(family: str, kind: str, folder: Path) -> Any:
    build = tiny_joint.hunyuan_pipeline if family == "hunyuan_video" else tiny_joint.cog_pipeline
    pipe = build(kind)
    pipe.set_progress_bar_config(disable=True)
    pipe.save_pretrained(folder)
    return pipe


def preset(folder: Path, family: str, kind: str, how: str) -> Preset:
    options: dict[str, Any] = {}
    if family == "hunyuan_video":
        options["template"] = tiny_joint.TEMPLATE if sees_image(kind) else tiny_joint.PLAIN
        options["embedded_guidance"] = EMBEDDED
    elif how == "dynamic":
        options["use_dynamic_cfg"] = True
    guidance = "embedded" if how == "embedded" else "cfg"
    mode = "i2v" if sees_image(kind) else "t2v"
    return tiny_joint.joint_preset(folder, family, mode, guidance=guidance, options=options)


def stock(
    pipe: Any, case: tuple[str, str, str], size: tuple[int, int], frames: int, seed: int
) -> torch.Tensor:
    """[1, C, T, h, w], padding included."""
    from PIL import Image

    family, kind, how = case
    options: dict[str, Any] = {"negative_prompt": NEGATIVE}
    if sees_image(kind):
        options["image"] = Image.fromarray(picture(size))
    if family == "hunyuan_video":
        options["prompt_template"] = tiny_joint.TEMPLATE if sees_image(kind) else tiny_joint.PLAIN
        options |= {"max_sequence_length": 48}
        is_true = how == "cfg"
        options |= {"guidance_scale": EMBEDDED if is_true else 5.0}
        options |= {"true_cfg_scale": 5.0 if is_true else 1.0}
    else:
        options |= {"max_sequence_length": 32, "guidance_scale": 5.0}
        options |= {"use_dynamic_cfg": how == "dynamic"}
    made: torch.Tensor = pipe(
        prompt=PROMPT,
        width=size[0],
        height=size[1],
        num_frames=frames,
        num_inference_steps=4,
        generator=torch.Generator("cpu").manual_seed(seed),
        output_type="latent",
        **options,
    ).frames
    return made if family == "hunyuan_video" else made.transpose(1, 2)


def ours(setup: Preset, size: tuple[int, int], frames: int, seed: int) -> torch.Tensor:
    """The same with our loop, what is dropped in front included."""
    family = family_for(setup)
    models = ModelManager(2**33)
    plan = tiny.single_plan(setup.modes[0], size, frames)
    first = picture(size) if setup.modes[0] == "i2v" else None
    references = () if first is None else (first,)
    given = Given(plan.latent_frames, first, None, references, seed=seed)
    (embeds,) = family.encode_prompts(models, [PROMPT], NEGATIVE, plan.guidance_scale)
    pins = family.pins(models, plan, given)
    assert isinstance(family, Drawer)
    noise, generator = family.draws(plan, given, pins)
    lead = noise.shape[2] - plan.latent_frames
    counted: list[int] = []
    conditions = Conditions(plan, lambda _frames: embeds, pins, -lead, counted.append)
    stepper = Stepper(*family.scheduler(plan, plan.latent_frames), generator)
    with family.open_denoiser(models, conditions) as denoise:
        state = LatentState(noise, pins.clean, pins.mask)
        made = sample(
            denoise,
            state,
            stepper,
            frames=range(-lead, plan.latent_frames),
            renoise=noise if state.has_pins else None,
        )
    assert sum(counted) == (4 if setup.guidance == "embedded" else plan.forwards)
    return made.with_pins()


@contextmanager
def loops_forbidden(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import diffusers

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("the stock loop was called")

    names = ("HunyuanVideo", "HunyuanVideoImageToVideo", "CogVideoX", "CogVideoXImageToVideo")
    with monkeypatch.context() as patch:
        for name in names:
            patch.setattr(getattr(diffusers, f"{name}Pipeline"), "__call__", refuse)
        yield


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_latents_equal_the_stock_pipeline_bit_for_bit(
    case: tuple[str, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    family, kind, _ = case
    pipe = saved(family, kind, tmp_path)
    runs = [((32, 32), 9, 11), ((32, 32), 5, 12)] if kind == "5b-i2v" else RUNS
    for size, frames, seed in runs:
        # Of a picture's own latent frame the pipeline gives the clip without it.
        own = 4 if kind == "latent_concat" else 0
        expected = stock(pipe, case, size, frames + own, seed)
        with loops_forbidden(monkeypatch):
            made = ours(preset(tmp_path, *case), size, frames, seed)
        made = made[:, :, made.shape[2] - expected.shape[2] :] if own else made
        assert torch.equal(made, expected), float((made - expected).abs().max())


def test_what_a_checkpoint_does_not_take_is_refused(tmp_path: Path) -> None:
    one, two = picture((32, 32)), picture((32, 32), 2)
    cases: list[tuple[str, str, tuple[int, int], tuple[Any, ...], str]] = [
        ("cogvideox", "5b", (32, 32), (one,), "from text alone"),
        ("cogvideox", "5b-i2v", (32, 32), (one, two), "not trained with a last frame"),
        ("cogvideox", "5b-i2v", (32, 32), (), "begins with a picture"),
        ("cogvideox", "5b-i2v", (48, 32), (one,), "knows only 32x32"),
        ("cogvideox", "1.5", (32, 128), (), "goes up to 64 pixels wide and 64 high"),
        ("hunyuan_video", "t2v", (32, 32), (one,), "from text alone"),
        ("hunyuan_video", "token_replace", (32, 32), (), "begins with a picture"),
    ]
    for family, kind, size, pictures, message in cases:
        folder = tmp_path / f"{family}-{kind}"
        if not folder.is_dir():
            saved(family, kind, folder)
        opened = family_for(preset(folder, family, kind, "cfg"))
        plan = tiny.single_plan("i2v" if pictures else "t2v", size, 5)
        given = Given(2, *(*pictures, None, None)[:2], pictures)
        with pytest.raises(RequestError, match=message):
            opened.pins(ModelManager(2**33), plan, given)


def test_foreign_weights_and_wrong_limits_are_refused(tmp_path: Path) -> None:
    saved("cogvideox", "2b", tmp_path)
    cog = {"max_prompt_tokens": 48}
    wrong = tiny_joint.joint_preset(tmp_path, "cogvideox", "t2v", limits=cog)
    with pytest.raises(PresetError, match="reads 32 prompt tokens"):
        family_for(wrong)
    foreign = tiny_joint.joint_preset(tmp_path, "hunyuan_video", "t2v")
    with pytest.raises(WeightsError, match="not a HunyuanVideoTransformer3DModel"):
        family_for(foreign)
    channels = tiny_joint.joint_preset(tmp_path, "cogvideox", "t2v", latent_channels=16)
    with pytest.raises(PresetError, match="takes 4 channels"):
        family_for(channels)


def test_frames_instead_of_latents_are_refused(tmp_path: Path) -> None:
    saved("cogvideox", "5b", tmp_path)
    family = family_for(preset(tmp_path, "cogvideox", "5b", "cfg"))
    models, plan = ModelManager(2**33), tiny.single_plan("t2v", (32, 32), 5)
    (embeds,) = family.encode_prompts(models, [PROMPT], NEGATIVE, 5.0)
    pins = family.pins(models, plan, Given(2))
    conditions = Conditions(plan, lambda _frames: embeds, pins)
    stepper = Stepper(*family.scheduler(plan, 2))
    with (
        family.open_denoiser(models, conditions) as denoise,
        pytest.raises(RequestError, match=r"latents of 4 channels \(got 3\)"),
    ):
        denoise(torch.zeros(1, 3, 2, 4, 4), stepper.at(0), range(2))
