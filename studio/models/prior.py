"""Coordinates of latent tokens in which the pocket transformer sees noise and names clean clips.

A token is a patch of 2 x 2 latent cells, 4C numbers. Over the data its mean at a place is mu
and its covariance R diag(L) R^T. With x_t = (1 - s) x0 + s eps, along every direction of
z = R^T (x_t - (1 - s) mu), whose variance is d = (1 - s)^2 L + s^2, the transformer is shown
z / sqrt(d), of unit variance at every s, and names the clean token in whitened coordinates:

    x0 = mu + R sqrt(L) F,    v = (x_t - x0) / s.

It names x0 and not v or the noise because drawings lie on a thin surface among all the tokens
of 4C numbers, and the noise does not: a network hardly wider than a token cannot carry the
noise through to its output (T. Li and K. He, "Back to Basics: Let Denoising Generative Models
Denoise", 2025). An F of zero is the mean picture.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

FILE_NAME = "prior.safetensors"
PATCH = 2
LEAST_LEVEL = 0.2
"""Below this noise an error counts no more than here: the last steps correct nothing large."""


class TokenPrior:
    """Mean [h,w,n] by place, rotation R [n,n] and variances L [n] of tokens of n numbers."""

    def __init__(self, mean: Tensor, rotation: Tensor, variances: Tensor) -> None:
        self.mean = mean.float()
        self.rotation = rotation.float()
        self.variances = variances.float().clamp(min=1e-4)

    @classmethod
    def fit(cls, latents: Tensor) -> TokenPrior:
        """From clean latents [B,C,T,H,W]."""
        tokens = to_tokens(latents.float())
        mean = tokens.mean((0, 1))
        rest = (tokens - mean).flatten(0, 3)
        variances, rotation = torch.linalg.eigh(rest.T @ rest / len(rest))
        return cls(mean, rotation.flip(1).contiguous(), variances.flip(0))

    @classmethod
    def load(cls, folder: Path) -> TokenPrior:
        return cls(**load_file(folder / FILE_NAME))

    def save(self, folder: Path) -> None:
        parts = {"mean": self.mean, "rotation": self.rotation, "variances": self.variances}
        save_file({k: v.contiguous() for k, v in parts.items()}, folder / FILE_NAME)

    def to(self, device: torch.device | str) -> TokenPrior:
        return TokenPrior(*(a.to(device) for a in (self.mean, self.rotation, self.variances)))

    def prepare(self, noisy: Tensor, mask: Tensor, condition: Tensor, sigma: Tensor) -> Tensor:
        """The transformer's input [B,2C+4,T,H,W].

        noisy and condition [B,C,T,H,W], mask [B,4,T,H,W] with 1 for frames that are given,
        sigma [B] in 0..1. The condition is whitened where any frame is given, zero elsewhere.
        """
        seen = from_tokens(self._rotated(noisy, sigma) / self._spread(sigma).sqrt())
        given = from_tokens(self._whitened(condition)) * mask.amax(1, keepdim=True)
        return torch.cat([seen, mask.float(), given], 1)

    def finish(self, named: Tensor, noisy: Tensor, sigma: Tensor) -> Tensor:
        """The velocity [B,C,T,H,W] from what the transformer names, of the same shape."""
        tokens = to_tokens(named.float()) * self.variances.sqrt() @ self.rotation.T
        clean = from_tokens(tokens + self._mean_at(noisy))
        return (noisy.float() - clean) / _wide(sigma)

    def target(self, clean: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """What the transformer should name, and the loss weights [B,1,1,1,n], both as tokens.

        The weights make an error of the velocity along a direction count 1 / sqrt(L / d), over
        the mean of sqrt(L / d): half-way between equal weight for all directions and equal
        weight for all that can be known of them.
        """
        spread, level = self._spread(sigma), _wide(sigma).clamp(min=LEAST_LEVEL)
        unit = (self.variances / spread).sqrt()
        weight = self.variances / (level**2 * unit * unit.mean(-1, keepdim=True))
        return self._whitened(clean), weight

    def _spread(self, sigma: Tensor) -> Tensor:
        """d [B,1,1,1,n]."""
        level = _wide(sigma)
        return (1.0 - level) ** 2 * self.variances + level**2

    def _whitened(self, clean: Tensor) -> Tensor:
        tokens = to_tokens(clean.float()) - self._mean_at(clean)
        return tokens @ self.rotation / self.variances.sqrt()

    def _rotated(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        keep = 1.0 - _wide(sigma)
        return (to_tokens(noisy.float()) - keep * self._mean_at(noisy)) @ self.rotation

    def _mean_at(self, like: Tensor) -> Tensor:
        """The mean for this picture's size, [h,w,n]; stretched where it is not the trained one."""
        size = (like.shape[-2] // PATCH, like.shape[-1] // PATCH)
        if size == tuple(self.mean.shape[:2]):
            return self.mean
        grid = self.mean.permute(2, 0, 1)[None]
        grid = torch.nn.functional.interpolate(grid, size=size, mode="bilinear")
        return grid[0].permute(1, 2, 0)


def to_tokens(latents: Tensor) -> Tensor:
    """[B,C,T,H,W] to [B,T,H/2,W/2,4C]."""
    batch, channels, length, high, wide = latents.shape
    cells = latents.reshape(batch, channels, length, high // PATCH, PATCH, wide // PATCH, PATCH)
    return cells.permute(0, 2, 3, 5, 1, 4, 6).flatten(4)


def from_tokens(tokens: Tensor) -> Tensor:
    """[B,T,h,w,4C] to [B,C,T,2h,2w]."""
    batch, length, high, wide, numbers = tokens.shape
    cells = tokens.reshape(batch, length, high, wide, numbers // PATCH**2, PATCH, PATCH)
    cells = cells.permute(0, 4, 1, 2, 5, 3, 6)
    return cells.reshape(batch, -1, length, high * PATCH, wide * PATCH)


def _wide(sigma: Tensor) -> Tensor:
    return sigma.float().reshape(-1, 1, 1, 1, 1)
