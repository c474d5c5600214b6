"""The loop against the stock loops of diffusers' pipelines, its pins and its resume."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from diffusers import (
    CogVideoXDDIMScheduler,
    CogVideoXDPMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
)

from studio.sampling.guidance import cfg, cfg_text_audio, rescale
from studio.sampling.loop import sample
from studio.sampling.state import LatentState
from studio.sampling.stepper import Stepper

STEPS = 9
SHAPE = (1, 3, 5, 2, 2)
FRAMES = range(5)
FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
COG = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "snr_shift_scale": 3.0,
    "timestep_spacing": "trailing",
}
SCHEDULERS = {
    "euler": lambda: FlowMatchEulerDiscreteScheduler(shift=3.0),
    "unipc2": lambda: UniPCMultistepScheduler(**FLOW),
    "unipc3": lambda: UniPCMultistepScheduler(**FLOW, solver_order=3),
    "dpm++": lambda: DPMSolverMultistepScheduler(**FLOW),
    "dpm++sde": lambda: DPMSolverMultistepScheduler(**FLOW, algorithm_type="sde-dpmsolver++"),
    "cog-ddim": lambda: CogVideoXDDIMScheduler(**COG),
    "cog-dpm": lambda: CogVideoXDPMScheduler(**COG),
}
DRAWING = ("dpm++sde", "cog-dpm")


def fresh(name: str) -> Stepper:
    scheduler = SCHEDULERS[name]()
    scheduler.set_timesteps(STEPS)
    return Stepper(scheduler, scheduler.timesteps, torch.Generator().manual_seed(5))


def noise(seed: int = 1) -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def model(x: torch.Tensor, step, frames) -> torch.Tensor:
    """A smooth stand-in that mixes neighbours in time."""
    return torch.tanh(x + 0.3 * x.roll(1, 2)) * (0.5 + float(step.timestep) / 1000)


def stock(name: str, x: torch.Tensor) -> torch.Tensor:
    """The loop as diffusers' pipelines write it (CogVideoX: latents are [B, T, C, H, W])."""
    stepper = fresh(name)
    scheduler, generator = stepper.scheduler, stepper.generator
    extra = {"generator": generator} if name in DRAWING else {}
    cog = name.startswith("cog")
    x = x.transpose(1, 2).contiguous() if cog else x
    old = None
    for i, t in enumerate(scheduler.timesteps):
        seen = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        inside = seen.transpose(1, 2) if cog else seen
        pred = model(inside, stepper.at(i), FRAMES)
        pred = pred.transpose(1, 2) if cog else pred
        if name == "cog-dpm":
            back = scheduler.timesteps[i - 1] if i > 0 else None
            x, old = scheduler.step(pred, old, t, back, x, **extra, return_dict=False)
        else:
            x = scheduler.step(pred, t, x, **extra, return_dict=False)[0]
    return x.transpose(1, 2) if cog else x


@pytest.mark.parametrize("name", SCHEDULERS)
def test_equals_the_stock_loop_bit_for_bit(name: str) -> None:
    made = sample(model, LatentState.of(noise()), fresh(name), frames=FRAMES).latent
    assert torch.equal(made, stock(name, noise()))


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("cut", [0, 1, 4, STEPS - 1])
def test_a_resumed_run_equals_the_unbroken_run_bit_for_bit(name: str, cut: int) -> None:
    saved = {}

    def save(step, x, clean) -> None:
        if step.index == cut:
            saved.update(x=x.clone(), state=copy.deepcopy(steady.state()))

    steady = fresh(name)
    whole = sample(model, LatentState.of(noise()), steady, frames=FRAMES, on_step=save).latent
    again = fresh(name)
    again.restore(saved["state"])
    resumed = sample(model, LatentState.of(saved["x"]), again, frames=FRAMES, start=cut + 1).latent
    assert torch.equal(whole, resumed)


def test_saved_state_is_tensors_only() -> None:
    stepper = fresh("unipc3")
    sample(model, LatentState.of(noise()), stepper, frames=FRAMES)
    assert all(isinstance(v, torch.Tensor) for v in stepper.state().values())


@pytest.mark.parametrize("name", SCHEDULERS)
def test_renoised_pins_follow_the_schedule_and_end_exact(name: str) -> None:
    clean, eps = noise(2)[:, :, :2], noise(3)
    state = LatentState.of(eps).pin(clean, 0)
    stepper, seen = fresh(name), []

    def look(step, x, _) -> None:
        seen.append((step.index, x[:, :, :2].clone()))

    made = sample(model, state, stepper, frames=FRAMES, renoise=eps, on_step=look).latent
    assert torch.equal(made[:, :, :2], clean)
    for index, x in seen[:-1]:
        alpha, sigma = stepper.level(index + 1)
        assert torch.allclose(x, alpha * clean + sigma * eps[:, :, :2], atol=1e-6)


def test_renoised_run_resumes_bit_for_bit() -> None:
    clean, eps, saved = noise(2)[:, :, :1], noise(3), {}
    state = LatentState.of(eps).pin(clean, -1)
    steady = fresh("unipc2")

    def save(step, x, _) -> None:
        if step.index == 3:
            saved.update(x=x.clone(), state=steady.state())

    whole = sample(model, state, steady, frames=FRAMES, renoise=eps, on_step=save).latent
    again = fresh("unipc2")
    again.restore(saved["state"])
    back = LatentState.of(saved["x"]).pin(clean, -1)
    assert torch.equal(
        whole, sample(model, back, again, frames=FRAMES, renoise=eps, start=4).latent
    )


@pytest.mark.parametrize("name", ["euler", "unipc2", "dpm++"])
def test_exact_denoiser_returns_the_distribution(name: str) -> None:
    """Data N(2, 0.5^2): the exact velocity must carry N(0, 1) to it."""
    mean, std = 2.0, 0.5
    scheduler = SCHEDULERS[name]()
    scheduler.set_timesteps(100)
    stepper = Stepper(scheduler, scheduler.timesteps)

    def exact(x, step, frames):
        s = step.sigma
        variance = (1 - s) ** 2 * std**2 + s**2
        spread = x - (1 - s) * mean
        clean = mean + (1 - s) * std**2 / variance * spread
        eps = s / variance * spread
        return eps - clean

    x = torch.randn((1, 4, 5, 32, 32), generator=torch.Generator().manual_seed(0))
    made = sample(exact, LatentState.of(x), stepper, frames=FRAMES).latent
    assert abs(float(made.mean()) - mean) < 0.03
    assert abs(float(made.std()) - std) < 0.03


@pytest.mark.parametrize("name", SCHEDULERS)
def test_preview_estimate_is_exact_for_an_exact_denoiser(name: str) -> None:
    """If the prediction is that of one known clip, the estimate is that clip at every step."""
    clip = noise(7)
    stepper = fresh(name)

    def exact(x, step, frames):
        alpha, sigma = stepper.level(step.index)
        eps = (x - alpha * clip) / max(sigma, 1e-12)
        return alpha * eps - sigma * clip if name.startswith("cog") else eps - clip

    worst = []

    def look(step, x, clean) -> None:
        worst.append(float((clean - clip).abs().max()))

    sample(exact, LatentState.of(noise()), stepper, frames=FRAMES, on_step=look)
    assert len(worst) == STEPS
    assert max(worst) < 2e-3


def test_pins_add_up_and_slice() -> None:
    state = LatentState.of(noise()).pin(noise(2)[:, :, :1], 0).pin(noise(2)[:, :, 4:], -1)
    assert state.has_pins
    assert state.denoise_mask.flatten().tolist() == [0, 1, 1, 1, 0]
    assert torch.equal(state.with_pins()[:, :, 4], noise(2)[:, :, 4])
    assert torch.equal(state.with_pins()[:, :, 1:4], noise()[:, :, 1:4])
    part = state.take([4, 0, 2])
    assert part.denoise_mask.flatten().tolist() == [0, 0, 1]
    assert torch.equal(part.clean_latent[:, :, 0], noise(2)[:, :, 4])
    with pytest.raises(AssertionError):
        state.pin(noise(2)[:, :, :2], 4)


def test_a_cancel_from_on_step_ends_the_run() -> None:
    calls = []

    def stop(step, x, clean) -> None:
        calls.append(step.index)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample(model, LatentState.of(noise()), fresh("euler"), frames=FRAMES, on_step=stop)
    assert calls == [0]


def test_guidance_reduces_to_its_parts() -> None:
    a, b, c = noise(1), noise(2), noise(3)
    assert torch.equal(cfg(a, b, 4.5), b + 4.5 * (a - b))
    assert torch.allclose(cfg_text_audio(a, c, b, 3.0, 3.0), cfg(a, b, 3.0), atol=1e-5)
    assert torch.equal(rescale(a, b, 0.0), a)
    assert np.isclose(float(rescale(a, b, 1.0).std()), float(b.std()), rtol=1e-5)
