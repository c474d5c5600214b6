"""Latents with pinned frames: first frame, last frame and overlap prefix are one thing.

B batch, C channels, T latent frames, H/W latent rows and columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class LatentState:
    """What is being made, and which frames of it are given.

    `latent` and `clean_latent` are [B, C, T, H, W], the latter 0 where nothing is given;
    `denoise_mask` is [1, 1, T, 1, 1]: 1 for a frame that is to be made, 0 for one that is given.
    """

    latent: Tensor
    clean_latent: Tensor
    denoise_mask: Tensor

    @classmethod
    def of(cls, latent: Tensor) -> LatentState:
        """A state in which every frame of `latent` [B, C, T, H, W] is to be made."""
        mask = latent.new_ones((1, 1, latent.shape[2], 1, 1))
        return cls(latent, torch.zeros_like(latent), mask)

    def pin(self, frames: Tensor, at: int) -> LatentState:
        """This state with clean `frames` [B or 1, C, t, H, W] given from latent frame `at` on.

        A negative `at` counts from the end. `latent` is left as it is: whether and how the frames
        are written into it is the family's way (see `with_pins` and `sample(renoise=...)`).
        """
        total, count = self.latent.shape[2], frames.shape[2]
        start = at + total if at < 0 else at
        assert 0 <= start <= total - count, f"{count} frames at {at} of {total}"
        clean, mask = self.clean_latent.clone(), self.denoise_mask.clone()
        clean[:, :, start : start + count] = frames.to(clean)
        mask[:, :, start : start + count] = 0
        return replace(self, clean_latent=clean, denoise_mask=mask)

    def take(self, frames: Sequence[int]) -> LatentState:
        """The state of these latent frames alone, in this order."""
        index = torch.as_tensor(list(frames), device=self.latent.device)
        return LatentState(
            self.latent.index_select(2, index),
            self.clean_latent.index_select(2, index),
            self.denoise_mask.index_select(2, index),
        )

    def with_pins(self, given: Tensor | None = None) -> Tensor:
        """`latent` with its given frames set to `given` (default: the clean ones), exactly."""
        source = self.clean_latent if given is None else given
        return torch.where(self.denoise_mask == 0, source.to(self.latent.dtype), self.latent)

    @property
    def has_pins(self) -> bool:
        """Whether any frame is given."""
        return bool((self.denoise_mask == 0).any())
