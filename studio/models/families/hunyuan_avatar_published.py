"""The published loop of HunyuanVideo-Avatar, for parity: every window is stepped alone.

Stepped samples are rounded to bfloat16 and averaged on the ring; ours (studio.stitching) fuses
predictions and steps once. x is [1, 16, N, h, w].
"""

from __future__ import annotations

import torch
from torch import Tensor

from studio.models.families.avatar_parts import STRIDE
from studio.sampling.loop import Denoise
from studio.sampling.stepper import Stepper
from studio.stitching.blend import FrameMean
from studio.stitching.published import ShiftLoop


def published_noise(loop: ShiftLoop, size: tuple[int, int], seed: int) -> Tensor:
    """[1, 16, N, h, w]: drawn for the untrimmed ring, of which a single window keeps the start."""
    drawn = 32 * (loop.padded_audio // 128 + 1) + 1
    generator = torch.Generator("cpu").manual_seed(seed)
    noise = torch.randn((1, 16, drawn, *size), generator=generator)
    return noise[:, :, : loop.total]


@torch.no_grad()
def sample_published(denoise: Denoise, noise: Tensor, stepper: Stepper, loop: ShiftLoop) -> Tensor:
    """The latents [1, 16, keep, h, w] that are decoded.

    `loop.steps` needs as many entries as `stepper`. The noise levels are those of the stepper, the
    step is Euler's, which has no memory: any window may be stepped at any time.
    """
    assert len(loop.steps) == len(stepper), f"{len(loop.steps)} plans for {len(stepper)} steps"
    x = noise
    for index, windows in enumerate(loop.steps):
        step = stepper.at(index)
        stride = stepper.level(index + 1)[1] - stepper.level(index)[1]
        mean = FrameMean(loop.total)
        for window in windows:
            assert len(window.audio) == STRIDE * len(window.latents) - STRIDE + 1
            part = x[:, :, list(window.latents)]
            moved = part + denoise(part, step, window.latents) * stride
            mean.add(moved.bfloat16().float(), window.latents)
        x = mean.result()
    return x[:, :, : loop.keep]
