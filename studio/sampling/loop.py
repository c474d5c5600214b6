"""The only denoising loop. It knows no model, no window and no scheduler by name.

x is [B, C, T, H, W]: batch, channels, latent frames, latent rows and columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from studio.sampling.state import LatentState
from studio.sampling.stepper import Step, Stepper

Denoise = Callable[[Tensor, Step, Sequence[int]], Tensor]
"""denoise(x, step, frames): the prediction for x in the scheduler's own parametrisation, guidance
included; `frames` are the absolute latent-frame indices of x's T axis."""

OnStep = Callable[[Step, Tensor, Tensor], None]
"""on_step(step, x, clean): called after each step with the new x and the estimate of the clean
latents. May raise `Cancelled`."""


@torch.no_grad()
def sample(
    denoise: Denoise,
    state: LatentState,
    stepper: Stepper,
    *,
    frames: Sequence[int],
    renoise: Tensor | None = None,
    start: int = 0,
    on_step: OnStep | None = None,
) -> LatentState:
    """`state` with its latent denoised by the steps [start, len(stepper)).

    `frames` names the absolute latent frames of the T axis. `renoise` is the fixed noise
    [B, C, T, H, W] for families that honour pins by it: before the first and after every step the
    given frames are set to their clean latents at the level reached, and to exactly the clean
    latents at the end. With None given frames are the denoiser's affair. To resume, restore the
    stepper, give the saved x as `state.latent` and the index of the next step as `start`: the
    result is equal bit for bit to that of the unbroken run.
    """
    assert len(frames) == state.latent.shape[2], f"{len(frames)} indices, {state.latent.shape}"
    x = _pinned(state, state.latent, stepper, renoise, start)
    for index in range(start, len(stepper)):
        step = stepper.at(index)
        prediction = denoise(stepper.scaled(x, index), step, frames)
        clean = stepper.clean(prediction, index, x) if on_step is not None else None
        x = _pinned(state, stepper.step(prediction, index, x), stepper, renoise, index + 1)
        if on_step is not None and clean is not None:
            on_step(step, x, clean)
    return replace(state, latent=x)


def _pinned(
    state: LatentState, x: Tensor, stepper: Stepper, noise: Tensor | None, index: int
) -> Tensor:
    if noise is None:
        return x
    return replace(state, latent=x).with_pins(stepper.noised(state.clean_latent, noise, index))
