"""Fusion changes nothing for a frame-local denoiser, and counts its forwards exactly."""

from __future__ import annotations

import pytest
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
)

from studio.sampling.loop import sample
from studio.sampling.state import LatentState
from studio.sampling.stepper import Step, Stepper
from studio.stitching.position_shift import fuse, windows_at

STEPS = 8
FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
SCHEDULERS = {
    "euler": lambda: FlowMatchEulerDiscreteScheduler(shift=3.0),
    "unipc2": lambda: UniPCMultistepScheduler(**FLOW),
    "unipc3": lambda: UniPCMultistepScheduler(**FLOW, solver_order=3),
    "dpm++": lambda: DPMSolverMultistepScheduler(**FLOW),
}


def frame_local(x, step, frames):
    """Each frame's prediction depends on that frame and its absolute index alone."""
    place = torch.tensor([float(f) for f in frames]).view(1, 1, -1, 1, 1)
    return torch.tanh(x * 1.3) + 0.05 * torch.sin(place)


def run(denoise, name: str, total: int, on_step=None):
    scheduler = SCHEDULERS[name]()
    scheduler.set_timesteps(STEPS)
    x = torch.randn((1, 2, total, 2, 2), generator=torch.Generator().manual_seed(0))
    stepper = Stepper(scheduler, scheduler.timesteps)
    return sample(denoise, LatentState.of(x), stepper, frames=range(total), on_step=on_step).latent


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("ends", ["ring", "clamped"])
def test_windowing_changes_nothing_for_a_frame_local_denoiser(name: str, ends: str) -> None:
    for total, shift in ((23, 3), (21, 3), (8, 5), (7, 2), (5, 1), (1, 1)):
        fused = fuse(
            frame_local, window_frames=7, shift_frames=shift, ends=ends, total_frames=total
        )
        assert torch.allclose(run(fused, name, total), run(frame_local, name, total), atol=1e-6)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_one_window_equals_the_plain_run_bit_for_bit(name: str) -> None:
    def mixing(x, step, frames):
        return torch.tanh(x + 0.3 * x.roll(1, 2))

    fused = fuse(mixing, window_frames=7, shift_frames=3, ends="clamped", total_frames=7)
    assert torch.equal(run(fused, name, 7), run(mixing, name, 7))


@pytest.mark.parametrize("total", [7, 8, 14, 20, 63])
def test_forwards_are_counted_exactly(total: int) -> None:
    calls: dict[int, int] = {}

    def counting(x, step, frames):
        calls[step.index] = calls.get(step.index, 0) + 1
        assert x.shape[2] == len(frames) == 7
        return x

    for ends in ("ring", "clamped"):
        calls.clear()
        run(
            fuse(counting, window_frames=7, shift_frames=3, ends=ends, total_frames=total),
            "euler",
            total,
        )
        least = -(-total // 7)
        counts = [calls[step] for step in range(STEPS)]
        if ends == "ring":
            assert counts == [least] * STEPS
        else:
            assert all(least <= count <= least + 1 for count in counts)


def test_frames_are_absolute_and_in_window_order() -> None:
    seen = []

    def looking(x, step, frames):
        seen.append(list(frames))
        assert torch.equal(x[0, 0, :, 0, 0], torch.tensor(frames, dtype=torch.float32) - 10)
        return x

    fused = fuse(looking, window_frames=4, shift_frames=1, ends="ring", total_frames=8)
    x = torch.arange(8.0).view(1, 1, 8, 1, 1)
    out = fused(x, Step(1, 2, torch.tensor(0.0), 0.0), range(10, 18))
    assert seen == [[17, 10, 11, 12], [13, 14, 15, 16]]
    assert torch.equal(out, x)


def test_overlapping_windows_are_averaged_in_float32() -> None:
    """5 frames, windows of 4: [0, 4) and [1, 5); frames 1 to 3 get the mean of 1 and 2."""
    answers = iter((1.0, 2.0))

    def constant(x, step, frames):
        return torch.full_like(x, next(answers))

    fused = fuse(constant, window_frames=4, shift_frames=1, ends="clamped", total_frames=5)
    x = torch.zeros((1, 1, 5, 1, 1), dtype=torch.bfloat16)
    out = fused(x, Step(0, 1, torch.tensor(0.0), 0.0), range(5))
    assert out.dtype == torch.bfloat16
    assert out.flatten().tolist() == [1.0, 1.5, 1.5, 1.5, 2.0]


def test_context_does_not_leak_over_a_cut() -> None:
    def mixing(x, step, frames):
        return x.mean(2, keepdim=True).expand_as(x)

    fused = fuse(
        mixing, window_frames=7, shift_frames=3, ends="clamped", total_frames=20, cuts=(9,)
    )
    plain = fuse(mixing, window_frames=7, shift_frames=3, ends="clamped", total_frames=9)
    x = torch.randn((1, 1, 20, 1, 1), generator=torch.Generator().manual_seed(1))
    for index in range(5):
        step = Step(index, 5, torch.tensor(0.0), 0.0)
        out = fused(x, step, range(20))
        assert torch.equal(out[:, :, :9], plain(x[:, :, :9], step, range(9)))


def test_shift_spreads_context_over_former_joins() -> None:
    """With shift a change in frame 0 reaches every frame; without it stays in its window."""

    def mixing(x, step, frames):
        return x.mean(2, keepdim=True).expand_as(x)

    reach = {}
    for shift in (3, 7):  # a shift of the whole window is no shift
        fused = fuse(mixing, window_frames=7, shift_frames=shift, ends="ring", total_frames=21)
        x = torch.zeros((1, 1, 21, 1, 1))
        x[:, :, 0] = 1
        for index in range(8):
            x = fused(x, Step(index, 8, torch.tensor(0.0), 0.0), range(21))
        reach[shift] = int((x.abs() > 0).sum())
    assert reach == {3: 21, 7: 7}
    assert windows_at(0, window_frames=7, shift_frames=7, ends="ring", total_frames=21)
