"""Decoding for VAEs that look at all frames they are given: a window at a time.

HunyuanVideo's norms and attention and CogVideoX' norms span the frames of one call, so no memory
makes a split exact. What is pushed at once is decoded at once, as the pipelines do; the latents
before it stand for what came earlier.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from studio.models.families.wan_vae import video_to_frames

if TYPE_CHECKING:
    from studio.models.family import Frames

CONTEXT = 4


class WindowDecoder:
    """Latents of a window in, its frames out."""

    whole = True
    """Push all latents of a window at once."""

    def __init__(self, vae: Any, stride: int = 4, *, odd: bool = False) -> None:
        """`odd`: the VAE gives 4(n-1)+1 frames for an odd number of latents alone (CogVideoX)."""
        self._vae = vae
        self._stride = stride
        self._odd = odd
        self._before: Tensor | None = None

    @torch.no_grad()
    def push(self, latents: Tensor) -> Frames:
        """Frames [n, H, W, 3] of the next latents [1, C, t, h, w]."""
        vae = self._vae
        new = latents.float().cpu()
        before = self._context(new.shape[2])
        joined = new if before is None else torch.cat([before, new], dim=2)
        z = (joined / vae.config.scaling_factor).to(vae.device, vae.dtype)
        if self._odd:
            # The reciprocal is CogVideoX' own way to write it.
            z = (1 / vae.config.scaling_factor * joined).to(vae.device, vae.dtype)
        video = vae.decode(z, return_dict=False)[0].float()
        is_first = self._before is None
        count = self._stride * new.shape[2] - (self._stride - 1 if is_first else 0)
        seen = new if self._before is None else torch.cat([self._before, new], dim=2)
        self._before = seen[:, :, -CONTEXT:].contiguous().clone()
        return video_to_frames(video[:, :, -count:].clamp(-1, 1))

    def _context(self, count: int) -> Tensor | None:
        """The latents that go in front of `count` new ones."""
        if self._before is None:
            return None
        kept = self._before.shape[2]
        if self._odd and kept > 1 and (kept + count) % 2 == 0:
            return self._before[:, :, 1:]
        return self._before

    def snapshot(self) -> dict[str, Tensor]:
        """The latents that the next ones are decoded with."""
        return {} if self._before is None else {"before": self._before.clone()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on where `snapshot` was taken."""
        self._before = state.get("before")
