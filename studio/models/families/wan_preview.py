"""A quick look at predicted latents: a linear code where the folder has one, else the decoder.

The pocket model's latents come from a linear code of blocks of pixels (`vae/linear.safetensors`
with mean [n], basis [n, C], scale [C]; n = 4 frames x 16 x 16 pixels x 3 colours), so a product of
matrices shows them, a thousand times faster than the decoder.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

    from studio.models.family import Frames

FILE_NAME = "linear.safetensors"
SHOWN_LATENTS = 13
"""A preview shows so many latent frames from the start at most, every other picture of each."""


def load_code(vae_folder: Path) -> dict[str, np.ndarray[Any, Any]] | None:
    """The linear code beside the VAE, or None."""
    from safetensors.numpy import load_file

    path = vae_folder / FILE_NAME
    return load_file(path) if path.is_file() else None


def linear_preview(code: dict[str, np.ndarray[Any, Any]], x0: torch.Tensor) -> Frames:
    """Frames [n, H, W, 3] of latents [1, C, T, h, w]."""
    latents = x0[0, :, :SHOWN_LATENTS].float().cpu().numpy()
    _, length, high, wide = latents.shape
    rows = np.moveaxis(latents, 0, -1) / code["scale"]
    cells = rows @ code["basis"].T + code["mean"]
    side = round((cells.shape[-1] / 12) ** 0.5)
    cells = cells.reshape(length, high, wide, 4, side, side, 3)[:, :, :, ::2]
    video = cells.transpose(0, 3, 1, 4, 2, 5, 6).reshape(-1, high * side, wide * side, 3)
    pixels: Frames = np.clip((video + 1.0) * 127.5 + 0.5, 0, 255).astype(np.uint8)
    return pixels
