"""A step cache that needs no hook in any model: skipped steps extrapolate the prediction.

The prediction of a flow or v-prediction model changes smoothly with the noise level, so between
two computed steps it is continued along the line through the last two (Adams-Bashforth's idea;
TaylorSeer, arXiv 2503.06923, does it per block). It works on the whole prediction: outside
position shift it lies over the full clip, so that moving windows cannot mix up what is kept, and a
skipped step loads no block. Which steps are skipped is known beforehand (`computed_steps`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from studio.core.request import Cache
from studio.sampling.loop import Denoise
from studio.sampling.skipping import computed_steps
from studio.sampling.stepper import Step, Stepper


class StepCache:
    """A `Denoise` that calls another only at computed steps.

    Wrap the outermost denoiser of a run (after `position_shift.fuse`), one cache a run, in order
    of the steps. It keeps two predictions; they are part of the stepper's saved state.
    """

    def __init__(self, denoise: Denoise, cache: Cache, stepper: Stepper) -> None:
        self._denoise = denoise
        self._computed = computed_steps(cache, len(stepper))
        self._kept: list[tuple[float, Tensor]] = []
        stepper.attach("cache", self)

    def __call__(self, x: Tensor, step: Step, frames: Sequence[int]) -> Tensor:
        """The prediction for x [B, C, T, H, W], computed or extrapolated."""
        if self._computed[step.index] or len(self._kept) < 2:
            prediction = self._denoise(x, step, frames)
            self._kept = [*self._kept[-1:], (step.sigma, prediction)]
            return prediction
        (sigma_0, before), (sigma_1, last) = self._kept
        ahead = (step.sigma - sigma_1) / (sigma_1 - sigma_0)
        return last + ahead * (last - before)

    def state(self) -> dict[str, Tensor]:
        """What a resumed run needs."""
        saved: dict[str, Tensor] = {}
        for i, (sigma, prediction) in enumerate(self._kept):
            saved[f"sigma.{i}"] = torch.tensor(sigma, dtype=torch.float64)
            saved[f"prediction.{i}"] = prediction.detach().clone()
        return saved

    def restore(self, state: dict[str, Tensor]) -> None:
        """Put `state` back."""
        self._kept = [
            (float(state[f"sigma.{i}"]), state[f"prediction.{i}"])
            for i in range(2)
            if f"sigma.{i}" in state
        ]


def cached(denoise: Denoise, cache: Cache, stepper: Stepper) -> Denoise:
    """`denoise` with a step cache; itself for "none"."""
    return denoise if cache == "none" else StepCache(denoise, cache, stepper)
