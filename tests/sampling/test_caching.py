"""The step cache: how many calls it saves, what it costs, and that resume is exact."""

from __future__ import annotations

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler

from studio.sampling.caching import cached
from studio.sampling.loop import sample
from studio.sampling.skipping import RULES, computed_steps
from studio.sampling.state import LatentState
from studio.sampling.stepper import Stepper
from studio.stitching.position_shift import fuse
from tests.stitching.plans import plan

STEPS = 20
SHAPE = (1, 24, 14, 4, 2)
SCHEDULERS = {
    "euler": lambda: FlowMatchEulerDiscreteScheduler(shift=3.0),
    "unipc": lambda: UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    ),
}


class Mixture:
    """The exact velocity of a mixture of Gaussians in the channels, under guidance 2.5."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.means = torch.randn((6, 24), generator=generator)
        self.calls = 0

    def __call__(self, x, step, frames):
        self.calls += 1
        rows = x.movedim(1, -1)
        some, every = (self.velocity(rows, step.sigma, count) for count in (3, 6))
        return (every + 2.5 * (some - every)).movedim(-1, 1)

    def velocity(self, rows, s, count):
        means, spread = self.means[:count], 0.25
        variance = (1 - s) ** 2 * spread**2 + s**2
        apart = rows[..., None, :] - (1 - s) * means
        share = (-(apart**2).sum(-1) / (2 * variance)).softmax(-1)[..., None]
        clean = means + (1 - s) * spread**2 / variance * apart
        return ((s / variance * apart - clean) * share).sum(-2)


def fresh(name: str, steps: int = STEPS) -> Stepper:
    scheduler = SCHEDULERS[name]()
    scheduler.set_timesteps(steps)
    return Stepper(scheduler, scheduler.timesteps)


def noise() -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))


def run(name: str, cache: str, steps: int = STEPS) -> tuple[torch.Tensor, int]:
    model, stepper = Mixture(), fresh(name, steps)
    made = sample(
        cached(model, cache, stepper), LatentState.of(noise()), stepper, frames=range(SHAPE[2])
    )
    return made.latent, model.calls


def decibels(made: torch.Tensor, truth: torch.Tensor) -> float:
    """PSNR of the median position: a few positions flip to another mode under any change."""
    span = float(truth.max() - truth.min())
    return float(10 * torch.log10(span**2 / ((made - truth) ** 2).mean(1).median()))


@pytest.mark.parametrize("name", SCHEDULERS)
def test_fewer_calls_at_little_loss_and_better_than_fewer_steps(name: str) -> None:
    truth, calls = run(name, "none")
    assert calls == STEPS
    for cache, most, least_db in (("fast", 12, 40), ("faster", 10, 30)):
        made, calls = run(name, cache)
        assert calls == most
        assert decibels(made, truth) > least_db
        fewer, _ = run(name, "none", steps=calls)
        assert decibels(made, truth) > decibels(fewer, truth)


def test_computed_steps_of_every_count() -> None:
    for count in range(1, 101):
        assert computed_steps("none", count) == (True,) * count
        for cache, rule in RULES.items():
            steps = computed_steps(cache, count)
            assert len(steps) == count
            assert all(steps[: rule.head])
            assert all(steps[max(0, count - rule.tail) :])
            gaps = "".join("x" if called else "." for called in steps).split("x")
            assert max(map(len, gaps)) <= rule.every - 1
    assert sum(computed_steps("fast", 20)) == 12
    assert sum(computed_steps("faster", 20)) == 10


def test_none_is_the_denoiser_itself() -> None:
    model = Mixture()
    assert cached(model, "none", fresh("euler")) is model


@pytest.mark.parametrize("cut", range(0, STEPS - 1, 3))
@pytest.mark.parametrize("cache", ["fast", "faster"])
def test_a_resumed_cached_run_equals_the_unbroken_run(cut: int, cache: str) -> None:
    saved = {}
    steady = fresh("unipc")

    def save(step, x, clean) -> None:
        if step.index == cut:
            saved.update(x=x.clone(), state=steady.state())

    frames = range(SHAPE[2])
    whole = sample(
        cached(Mixture(), cache, steady),
        LatentState.of(noise()),
        steady,
        frames=frames,
        on_step=save,
    )
    again = fresh("unipc")
    denoise = cached(Mixture(), cache, again)
    again.restore(saved["state"])
    state = LatentState.of(saved["x"])
    resumed = sample(denoise, state, again, frames=frames, start=cut + 1)
    assert torch.equal(whole.latent, resumed.latent)


def test_moving_windows_change_nothing_for_a_frame_local_denoiser() -> None:
    """The mixture sees one frame at a time, so shifted windows with a cache equal none."""
    plain, _ = run("unipc", "fast")
    model, stepper = Mixture(), fresh("unipc")
    fused = fuse(model, window_frames=7, shift_frames=3, ends="ring", total_frames=14)
    made = sample(
        cached(fused, "fast", stepper), LatentState.of(noise()), stepper, frames=range(14)
    )
    assert model.calls == 2 * 12
    assert torch.allclose(made.latent, plain, atol=1e-4)


def test_a_plan_counts_only_computed_steps() -> None:
    for method in ("overlap-prefix", "position-shift"):
        full = plan(seconds=20, method=method, ends="clamped")
        fast = plan(seconds=20, method=method, cache="fast")
        assert fast.forwards < 0.65 * full.forwards
    assert plan(cache="faster").forwards == 10 * 2
