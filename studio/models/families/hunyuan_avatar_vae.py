"""Frames to latents and back with AutoencoderKLHunyuanVideo, a latent frame at a time.

Latents are scaled by the VAE's factor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from studio.models.families.wan_vae import frames_to_video, video_to_frames

if TYPE_CHECKING:
    from studio.models.family import Frames

CONTEXT = 4
TILE_FRAMES, TILE_STRIDE = 64, 48


def prepare(vae: Any) -> Any:
    """Tiling as published: diffusers would cut every clip into 16 frames."""
    vae.enable_tiling(
        tile_sample_min_num_frames=TILE_FRAMES, tile_sample_stride_num_frames=TILE_STRIDE
    )
    return vae


@torch.no_grad()
def encode_clip(vae: Any, frames: Frames) -> Tensor:
    """Scaled latents [1, C, T', h, w] (float32) of frames [T, H, W, 3]: the mode, no draw."""
    video = frames_to_video(frames).to(vae.device, vae.dtype)
    latents: Tensor = vae.encode(video).latent_dist.mode().float() * vae.config.scaling_factor
    return latents


class ContextDecoder:
    """Decodes each latent frame together with those just before it; any partition is the same.

    The VAE is causal but its norms and its attention look at all frames they are given, so there
    is no memory that would make it exact: the four latent frames before stand for it.
    """

    def __init__(self, vae: Any) -> None:
        self._vae = vae
        self._before: Tensor | None = None

    @torch.no_grad()
    def push(self, latents: Tensor) -> Frames:
        """Frames [n, H, W, 3] of the next latents [1, C, t, h, w]."""
        vae = self._vae
        pieces = []
        for index in range(latents.shape[2]):
            new = latents[:, :, index : index + 1].float()
            first = self._before is None
            whole = new if self._before is None else torch.cat([self._before.to(new), new], dim=2)
            z = (whole / vae.config.scaling_factor).to(vae.device, vae.dtype)
            video = vae.decode(z, return_dict=False)[0].float()
            stride = vae.temporal_compression_ratio
            pieces.append(video_to_frames(video[:, :, -1 if first else -stride :].clamp(-1, 1)))
            self._before = whole[:, :, -CONTEXT:].cpu()
        return np.concatenate(pieces)

    def snapshot(self) -> dict[str, Tensor]:
        """The latents that the next ones are decoded with."""
        return {} if self._before is None else {"before": self._before.contiguous().clone()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on where `snapshot` was taken."""
        self._before = state.get("before")
