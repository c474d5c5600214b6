"""Sample the transformer in training with the linear decode: a yardstick, not the runtime."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from studio.models.prior import TokenPrior
from studio.pocket.dataset import WINDOW
from studio.pocket.latents import CHANNELS
from studio.pocket.train_transformer import SHIFT


def levels(steps: int, shift: float = SHIFT) -> Tensor:
    """Noise levels [steps + 1] from one to zero."""
    level = torch.linspace(1.0, 0.0, steps + 1)
    return shift * level / (1.0 + (shift - 1.0) * level)


@torch.no_grad()
def sample(
    model: nn.Module,
    prior: TokenPrior,
    text: Tensor,
    empty: Tensor,
    given: tuple[Tensor, Tensor] | None = None,
    steps: int = 20,
    guidance: float = 2.5,
    seed: int = 0,
) -> Tensor:
    """Latents [B,48,T,8,8] for text states [B,64,d]; `given` is mask [B,4,..], condition."""
    count = len(text)
    shape = (count, CHANNELS, WINDOW, 8, 8)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    noise = x.clone()
    mask, condition = given or (torch.zeros(count, 4, *shape[2:]), torch.zeros(shape))
    pinned = mask.amin(1, keepdim=True)
    sigmas = levels(steps)
    states = torch.cat([text, empty.expand_as(text)])
    for high, low in itertools.pairwise(sigmas):
        sigma = high.expand(count)
        inputs = prior.prepare(x, mask, condition, sigma)
        with torch.autocast("cpu", torch.bfloat16):
            both = model(
                torch.cat([inputs, inputs]),
                1000.0 * high.expand(2 * count),
                states,
                return_dict=False,
            )[0].float()
        wanted, free = both.chunk(2)
        velocity = prior.finish(free + guidance * (wanted - free), x, sigma)
        x = x + (low - high) * velocity
        x = pinned * ((1 - low) * condition + low * noise) + (1 - pinned) * x
    return x


def sheet(videos: list[np.ndarray], every: int = 4, columns: int = 2) -> np.ndarray:
    """Every fourth frame of each clip in a row, the clips in columns; uint8 [H,W,3]."""
    strips = [np.concatenate(list(v[::every]), 1) for v in videos]
    rows = -(-len(strips) // columns)
    stacks = [np.concatenate(strips[c * rows : (c + 1) * rows]) for c in range(columns)]
    high = max(s.shape[0] for s in stacks)
    stacks = [np.pad(s, ((0, high - s.shape[0]), (0, 0), (0, 0))) for s in stacks]
    return np.concatenate(stacks, 1)


def load(cache: Path, model: nn.Module, name: str = "state.pt") -> int:
    """Put the EMA weights of a training state into `model`; returns the step."""
    state = torch.load(cache / name, map_location="cpu", weights_only=True)
    with torch.no_grad():
        for weight, mean in zip(model.parameters(), state["average"], strict=True):
            weight.copy_(mean)
    return int(state["step"])
