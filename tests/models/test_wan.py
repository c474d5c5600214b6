"""The Wan family's parts: prior, streamed decoding, prompt cache, refusals of odd weights."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from studio.core.errors import PresetError, WeightsError
from studio.models.families.wan import WanFamily
from studio.models.family import Conditions, Given, family_for
from studio.models.manager import ModelManager
from studio.models.prior import TokenPrior
from studio.sampling.guidance import cfg
from studio.sampling.stepper import Step
from tests.parity import tiny

SIXTEEN = {"spatial_stride": 16, "latent_channels": 48}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pocket")
    tiny.wan_pipeline("pocket").save_pretrained(path)
    latents = torch.randn(8, 48, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    TokenPrior.fit(latents).save(path / "transformer")
    return path


@pytest.fixture(scope="module")
def models() -> ModelManager:
    return ModelManager(2**33)


def opened(folder: Path, **changes: Any) -> WanFamily:
    family = family_for(tiny.preset_for(folder, ("t2v", "i2v", "flf2v"), **SIXTEEN, **changes))
    assert isinstance(family, WanFamily)
    return family


def random_latents(frames: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(1, 48, frames, 4, 4, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("batched", [True, False])
def test_the_prior_stands_around_the_transformer(
    batched: bool, folder: Path, models: ModelManager
) -> None:
    family = opened(folder, options={"batch_guidance": batched})
    plan = tiny.single_plan("i2v", (64, 64), 9, guidance=3.0)
    image = np.full((64, 64, 3), 90, np.uint8)
    pins = family.pins(models, plan, Given(3, image, None, (image,)))
    (embeds,) = family.encode_prompts(models, ["a ball"], "", 3.0)
    counted: list[int] = []
    conditions = Conditions(plan, lambda _f: embeds, pins, on_forward=counted.append)
    x, step = random_latents(3), Step(0, 4, torch.tensor(700.0), 0.7)
    with family.open_denoiser(models, conditions) as denoise:
        made = denoise(x, step, range(3))
    parts = family.components()
    sigma = torch.tensor([0.7])
    condition = pins.extras["condition"]
    with (
        models.use(parts["prior"]) as prior,
        models.use(parts["transformer"]) as transformer,
        torch.no_grad(),
    ):
        inputs = prior.prepare(x, condition[:, :4], condition[:, 4:], sigma)
        cond, uncond = (
            transformer(inputs, 1000 * sigma, text, return_dict=False)[0]
            for text in (embeds.positive, embeds.negative)
        )
        expected = prior.finish(cfg(cond, uncond, 3.0), x, sigma)
    torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-5)
    assert sum(counted) == 2


def test_what_is_given_is_marked_as_in_training(folder: Path, models: ModelManager) -> None:
    family = opened(folder)
    plan = tiny.single_plan("flf2v", (64, 64), 17)
    first, last = (np.full((64, 64, 3), v, np.uint8) for v in (20, 200))
    pins = family.pins(models, plan, Given(5, first, last, (first, last)))
    marks = pins.extras["condition"][0, :4, :, 0, 0].T.tolist()
    assert marks == [[1, 1, 1, 1], [0] * 4, [0] * 4, [0] * 4, [0, 0, 0, 1]]
    assert pins.mask.flatten().tolist() == [0, 1, 1, 1, 1]
    own = family.encode_frames(models, last[None])
    assert torch.equal(pins.extras["condition"][:, 4:, -1:], own)
    prefix, suffix = random_latents(2), random_latents(1, 1)
    pins = family.pins(models, plan, Given(5, prefix=prefix, suffix=suffix))
    assert pins.mask.flatten().tolist() == [0, 0, 1, 1, 0]
    assert torch.equal(pins.clean[:, :, :2], prefix)
    assert torch.equal(pins.extras["condition"][:, 4:, 4:], suffix)
    plain = family.pins(models, plan, Given(5))
    assert not plain.extras["condition"].any()


@pytest.mark.parametrize("kind", ["pocket", "t2v"])
def test_decoding_in_pieces_equals_decoding_at_once(
    kind: str, folder: Path, models: ModelManager, tmp_path: Path
) -> None:
    if kind == "t2v":
        tiny.wan_pipeline("t2v").save_pretrained(tmp_path)
        family, latents = (
            family_for(tiny.preset_for(tmp_path, ("t2v",))),
            torch.randn(1, 16, 5, 4, 4),
        )
    else:
        family, latents = opened(folder), random_latents(5)
    with models.use(family.components()["vae"]) as vae, torch.no_grad():
        shape = (1, vae.config.z_dim, 1, 1, 1)
        mean, std = (
            torch.tensor(v).view(shape) for v in (vae.config.latents_mean, vae.config.latents_std)
        )
        video = vae.decode(latents / (1.0 / std) + mean, return_dict=False)[0]
    whole = ((video[0] / 2 + 0.5).clamp(0, 1) * 255).round().byte().permute(1, 2, 3, 0).numpy()
    for cuts in ((1, 2, 3, 4), (2,), (3, 4)):
        with family.decoder(models) as decoder:
            pieces = [decoder.push(p) for p in latents.tensor_split(cuts, dim=2)]
        assert np.array_equal(np.concatenate(pieces), whole)


def test_a_decoder_goes_on_from_a_snapshot(folder: Path, models: ModelManager) -> None:
    family, latents = opened(folder), random_latents(5)
    for at in (1, 2, 3):
        with family.decoder(models) as one:
            one.push(latents[:, :, :at])
            state = one.snapshot()
            expected = one.push(latents[:, :, at:])
        with family.decoder(models) as other:
            other.push(random_latents(2, 7))
            other.restore(state)
            assert np.array_equal(other.push(latents[:, :, at:]), expected)


def test_prompts_are_encoded_once_and_kept_on_disk(folder: Path, tmp_path: Path) -> None:
    first = ModelManager(2**33, cache_dir=tmp_path)
    family = opened(folder)
    made = family.encode_prompts(first, ["a ball", "a  ball"], "bad", 3.0)
    again = ModelManager(2**33, cache_dir=tmp_path)
    kept = family.encode_prompts(again, ["a ball"], "bad", 3.0)
    assert not again.loads, "the text encoder is not needed"
    assert torch.equal(kept[0].positive, made[0].positive)
    assert torch.equal(made[1].positive, made[0].positive)
    for path in (tmp_path / "prompts").iterdir():
        path.write_bytes(b"damaged")
    mended = family.encode_prompts(again, ["a ball"], "bad", 3.0)
    assert torch.equal(mended[0].positive, made[0].positive)


def test_embeddings_are_zero_behind_the_prompt(folder: Path, models: ModelManager) -> None:
    (embeds,) = opened(folder).encode_prompts(models, ["abc"], "", 1.0)
    used = embeds.positive[0].abs().sum(1) > 0
    assert embeds.positive.shape == (1, 512, 32)
    assert int(used.sum()) == 5  # a word mark, three letters, the end
    assert not used[5:].any()
    assert embeds.negative is None


def test_odd_weights_are_refused_with_a_reason(folder: Path, tmp_path: Path) -> None:
    models = ModelManager(2**33)

    def broken(name: str) -> Path:
        copy = tmp_path / name
        shutil.copytree(folder, copy)
        return copy / "transformer"

    part = broken("half") / "diffusion_pytorch_model.safetensors"
    part.write_bytes(part.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="not a whole safetensors"):
        opened(tmp_path / "half").components()
    part = broken("none") / "diffusion_pytorch_model.safetensors"
    part.rename(part.with_suffix(".bin"))
    with pytest.raises(WeightsError, match="only pickles"):
        opened(tmp_path / "none").components()
    keys(broken("foreign"), lambda name: name.replace("blocks.1", "blocks.7"))
    family = opened(tmp_path / "foreign")
    message = r"missing \(blocks\.1\..*unknown \(blocks\.7\."
    with (
        pytest.raises(WeightsError, match=message),
        models.use(family.components()["transformer"]),
    ):
        pass
    assert models.resident_bytes() == 0
    with pytest.raises(WeightsError, match="are not at"):
        opened(tmp_path / "nowhere")
    with pytest.raises(PresetError, match="no option 'sped'"):
        opened(folder, options={"sped": 1})


def keys(folder: Path, rename: Any) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "diffusion_pytorch_model.safetensors"
    tensors = {rename(k): v.clone() for k, v in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt"})


def test_a_hub_model_that_is_not_here_says_what_to_fetch(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    weights = {"source": "hub", "path": "someone/some-model", "licence": "Apache-2.0"}
    preset = tiny.preset_for(folder, ("t2v",), weights=weights)
    with pytest.raises(WeightsError, match=r"someone/some-model.*models pull tiny.*Apache-2\.0"):
        family_for(preset)


def test_previews_come_from_the_linear_code_where_there_is_one(
    folder: Path, models: ModelManager, tmp_path: Path
) -> None:
    from safetensors.numpy import save_file as save_numpy

    from studio.pocket.latents import fit

    decoded = opened(folder).preview(models, random_latents(5))
    assert decoded is not None
    assert decoded.shape == (5, 64, 64, 3)
    copy = tmp_path / "pocket"
    shutil.copytree(folder, copy)
    pixels = np.random.default_rng(0).uniform(-1, 1, (200, 3072)).astype(np.float32)
    code = fit(pixels)
    parts = {"mean": code.mean, "basis": code.basis, "scale": code.scale}
    save_numpy(parts, copy / "vae" / "linear.safetensors")
    latents = random_latents(5)
    shown = opened(copy).preview(models, latents)
    whole = code.decode(latents[0].numpy())
    assert shown is not None
    assert np.array_equal(shown[2:], whole[1::2]), "the first latent frame stands for one frame"
    assert shown.shape == (10, 64, 64, 3)


def test_the_faster_decoder_differs_by_rounding_alone(folder: Path, models: ModelManager) -> None:
    from diffusers import AutoencoderKLWan

    from studio.models.families.wan_vae import WanStreamDecoder

    plain = AutoencoderKLWan.from_pretrained(folder / "vae").eval()
    latents = random_latents(4)
    with opened(folder).decoder(models) as decoder:
        fast = decoder.push(latents).astype(int)
    slow = WanStreamDecoder(plain).push(latents).astype(int)
    assert np.abs(fast - slow).max() <= 1
    assert (fast != slow).mean() < 1e-3
