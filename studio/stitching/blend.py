"""Ramps, weighted means over frames, colour match. Tensors are [B, C, T, H, W]."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def ramp(frames: int) -> Tensor:
    """`frames` weights that rise evenly inside (0, 1): 1/(n+1), ..., n/(n+1)."""
    return torch.arange(1, frames + 1, dtype=torch.float32) / (frames + 1)


def crossfade(before: Tensor, after: Tensor) -> Tensor:
    """`before` turning into `after` along T; both have the same shape."""
    weight = ramp(before.shape[2]).to(before.device).view(1, 1, -1, 1, 1)
    mixed = before.float() * (1 - weight) + after.float() * weight
    return mixed.to(before.dtype)


class FrameMean:
    """The weighted mean of overlapping windows, accumulated in float32.

    A frame that one window covers with weight 1 comes out bit for bit as it went in.
    """

    def __init__(self, total_frames: int) -> None:
        self._total_frames = total_frames
        self._weights = torch.zeros(total_frames)
        self._sum: Tensor | None = None
        self._dtype = torch.float32

    def add(self, window: Tensor, frames: Sequence[int], weights: Tensor | None = None) -> None:
        """Add `window` [B, C, len(frames), H, W], which stands at `frames` (each at most once)."""
        if self._sum is None:
            shape = list(window.shape)
            shape[2] = self._total_frames
            self._sum = window.new_zeros(shape, dtype=torch.float32)
            self._dtype = window.dtype
        weight = torch.ones(len(frames)) if weights is None else weights.float().cpu()
        index = torch.as_tensor(list(frames))
        self._weights.index_add_(0, index, weight)
        scaled = window.float() * weight.to(window.device).view(1, 1, -1, 1, 1)
        self._sum.index_add_(2, index.to(window.device), scaled)

    def result(self) -> Tensor:
        """The mean [B, C, total_frames, H, W] in the dtype of the first window."""
        assert self._sum is not None, "no window was added"
        assert bool((self._weights > 0).all()), "a frame was covered by no window"
        weights = self._weights.to(self._sum.device).view(1, 1, -1, 1, 1)
        return (self._sum / weights).to(self._dtype)


def match_colour(latents: Tensor, source: Tensor, target: Tensor, share: float = 1.0) -> Tensor:
    """`latents` with the per-channel mean and deviation of `source` moved to those of `target`.

    For a window after another: `source` is what the model made of the given prefix, `target` the
    prefix itself. `share` 0 changes nothing, 1 moves all the way. Works on pixels [B, 3, T, H, W]
    as well.
    """
    axes = (2, 3, 4)
    mean_s, mean_t = (t.float().mean(axes, keepdim=True) for t in (source, target))
    std_s, std_t = (t.float().std(axes, keepdim=True) for t in (source, target))
    gain = std_t / std_s.clamp_min(1e-6)
    moved = (latents.float() - mean_s) * gain + mean_t
    return (share * moved + (1 - share) * latents.float()).to(latents.dtype)
