"""Looks at what is computed while it is computed: numbers, and a picture in them that moves.

Thresholds are those of broken kernels and weights, which give one value everywhere; dark, plain
or still scenes of a working model are far from them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from studio.core.errors import EstimateError, NumericError

if TYPE_CHECKING:
    import torch

    from studio.models.family import Frames

FIRST_STEPS = 2
"""The estimate is looked at for flat and frozen latents after so many steps; for NaN after all."""

FLAT = 1e-6
"""Standard deviation of latents, whose own is near 1, at or below which nothing is in them."""

ENOUGH_FRAMES = 5
"""Fewer frames may be equal without meaning anything."""


def check_estimate(clean: torch.Tensor, step: int, window: int) -> None:
    """Look at the estimate of the clean latents [1, C, T, h, w] after step `step`, from 0.

    Raises:
        EstimateError: if it has NaN or infinities, one value a channel, or equal frames.
    """
    import torch

    found = ""
    if not bool(torch.isfinite(clean).all()):
        found = "is not a number"
    elif step < FIRST_STEPS and clean[0, 0].numel() > 1:
        if float(clean.float().std(dim=(2, 3, 4)).max()) <= FLAT:
            found = "is flat: each channel has one value"
        elif clean.shape[2] >= ENOUGH_FRAMES and _is_frozen(clean):
            found = "is frozen: all frames are equal"
    if found:
        raise EstimateError(
            f"window {window} {found} after step {step + 1}; choose float32 in the preset's "
            "options, a lower guidance, or download the weights again"
        )


def _is_frozen(clean: torch.Tensor) -> bool:
    # The first latent frame of a causal VAE stands for fewer frames and differs.
    later = clean[:, :, 1:]
    return float((later - later[:, :, :1]).abs().max()) <= FLAT


class FrameGuard:
    """Takes a window's decoded frames piece by piece; `close` refuses what is no picture."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._first: Frames | None = None
        self._count = 0
        self._moves = self._has_contrast = False

    def push(self, frames: Frames) -> None:
        """Look at the next frames uint8 [n, H, W, 3]."""
        if not len(frames):
            return
        if self._first is None:
            self._first = frames[0].copy()
        self._count += len(frames)
        if not self._has_contrast:
            self._has_contrast = bool((frames != frames[:, :1, :1]).any())
        if not self._moves:
            self._moves = bool((frames != self._first).any())

    def close(self) -> None:
        """All frames were pushed.

        Raises:
            NumericError: if no frame has two colours, or all are equal.
        """
        if not self._count or (self._has_contrast and (self._moves or self._few)):
            return
        found = "frozen: all frames are equal" if self._has_contrast else "flat: one colour a frame"
        raise NumericError(
            f"window {self._window} was decoded to a picture that is {found}; try another seed or "
            "prompt, or download the weights again"
        )

    @property
    def _few(self) -> bool:
        return self._count < ENOUGH_FRAMES


@contextmanager
def attention(*, plain: bool) -> Iterator[None]:
    """With `plain`, attention is computed by matrix products alone, without fused kernels."""
    if not plain:
        yield
        return
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with sdpa_kernel(SDPBackend.MATH):
        yield
