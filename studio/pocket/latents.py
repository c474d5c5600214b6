"""The fixed latent space of the pocket model: a linear code of blocks of pixels.

A block is 4 frames x 16 x 16 pixels x 3 colours; its 48 numbers are principal components.
The first frame stands for a block of its own, repeated four times, as in the causal video
autoencoder that learns this code. A coordinate's standard deviation is the fourth root of
its variance in pixels, half-way between raw and whitened, with a mean variance of one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

CHANNELS = 48
BLOCK = 16
STRIDE = 4
BLOCK_NUMBERS = STRIDE * BLOCK * BLOCK * 3


@dataclass(frozen=True)
class PixelCode:
    """mean [3072], basis [3072,48] with orthonormal columns, scale [48]."""

    mean: np.ndarray
    basis: np.ndarray
    scale: np.ndarray

    def encode(self, frames: np.ndarray) -> np.ndarray:
        """uint8 frames [T,H,W,3], T = 1 + 4n, to float32 latents [48,1+n,H/16,W/16]."""
        return self._to_latents(blocks(frames))

    def encode_images(self, frames: np.ndarray) -> np.ndarray:
        """Every frame as a still image of its own: [T,H,W,3] to [48,T,H/16,W/16]."""
        return self._to_latents(_cut(np.repeat(frames, STRIDE, 0)))

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """Latents [48,1+n,h,w] to uint8 frames [1+4n,16h,16w,3]; of the first block its mean."""
        _, length, high, wide = latents.shape
        rows = np.moveaxis(latents, 0, -1) / self.scale
        cells = rows.reshape(-1, CHANNELS) @ self.basis.T + self.mean
        cells = cells.reshape(length, high, wide, STRIDE, BLOCK, BLOCK, 3)
        video = cells.transpose(0, 3, 1, 4, 2, 5, 6)
        video = video.reshape(length, STRIDE, high * BLOCK, wide * BLOCK, 3)
        frames = np.concatenate([video[0].mean(0)[None], video[1:].reshape(-1, *video.shape[2:])])
        return np.clip((frames + 1.0) * 127.5 + 0.5, 0, 255).astype(np.uint8)

    def save(self, path: Path) -> None:
        save_file({"mean": self.mean, "basis": self.basis, "scale": self.scale}, path)

    @classmethod
    def load(cls, path: Path) -> PixelCode:
        return cls(**load_file(path))

    def _to_latents(self, cells: np.ndarray) -> np.ndarray:
        codes = (cells.reshape(-1, BLOCK_NUMBERS) - self.mean) @ (self.basis * self.scale)
        return np.ascontiguousarray(np.moveaxis(codes.reshape(*cells.shape[:3], CHANNELS), -1, 0))


def blocks(frames: np.ndarray) -> np.ndarray:
    """uint8 frames [1+4n,H,W,3] to blocks [1+n,H/16,W/16,3072] in -1..1."""
    return _cut(np.concatenate([np.repeat(frames[:1], STRIDE, 0), frames[1:]]))


def fit(cells: np.ndarray) -> PixelCode:
    """The code of blocks [N,3072] by their principal components."""
    mean = cells.mean(0)
    centred = cells - mean
    variances, vectors = np.linalg.eigh(centred.T @ centred / len(cells))
    top = np.argsort(variances)[::-1][:CHANNELS]
    variances, basis = variances[top], vectors[:, top]
    deviation = variances**0.25
    deviation = deviation / np.sqrt((deviation**2).mean())
    scale = deviation / np.sqrt(variances)
    return PixelCode(*(np.ascontiguousarray(a, np.float32) for a in (mean, basis, scale)))


def _cut(frames: np.ndarray) -> np.ndarray:
    total, high, wide, _ = frames.shape
    pixels = frames.astype(np.float32) / 127.5 - 1.0
    cells = pixels.reshape(total // STRIDE, STRIDE, high // BLOCK, BLOCK, wide // BLOCK, BLOCK, 3)
    cells = cells.transpose(0, 2, 4, 1, 3, 5, 6)
    return cells.reshape(*cells.shape[:3], BLOCK_NUMBERS)
