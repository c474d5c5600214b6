"""The portrait's colours, kept: how bright and of what hue each place is on average over a window.

The pocket model's latents are a linear code of blocks of pixels, so the mean colour of a block is
a linear function of its latent, and a colour can be corrected without decoding anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from studio.core.request import FaceBox

MOUTH = (0.2, 0.5, 0.8, 1.0)
"""Where a face is left alone, as shares of its box: left, top, right, bottom."""


class ColourKeeper:
    """Moves predicted clean latents so that places have the portrait's mean colour."""

    def __init__(self, code: Mapping[str, Any], keep: Tensor) -> None:
        """`code`: the linear code (basis [n,C], scale [C]); `keep` [1,1,1,h,w]: 1 where it acts."""
        basis, scale = (torch.as_tensor(code[name]).float() for name in ("basis", "scale"))
        blocks = basis.reshape(-1, 3, basis.shape[1])
        self._read = blocks.mean(dim=0) / scale
        write = blocks.sum(dim=0).T * scale[:, None]
        self._write = write @ torch.linalg.inv(self._read @ write)
        self._keep = keep

    def __call__(self, clean: Tensor, reference: Tensor) -> Tensor:
        """`clean` [1,C,T,h,w] with the mean colours of `reference` [1,C,1,h,w]."""
        off = reference - clean.mean(dim=2, keepdim=True)
        wrong = torch.einsum("kc,bcthw->bkthw", self._read.to(clean), off)
        return clean + self._keep.to(clean) * torch.einsum(
            "ck,bkthw->bcthw", self._write.to(clean), wrong
        )


def still_places(
    faces: Sequence[FaceBox], size: tuple[int, int], latent: tuple[int, int]
) -> Tensor:
    """[1,1,1,h,w]: 0 where a mouth may be, 1 elsewhere; `size` is (width, height) in pixels."""
    keep = torch.ones(1, 1, 1, *latent)
    boxes = faces or [FaceBox(x=0, y=0, width=size[0], height=size[1])]
    across, down = latent[1] / size[0], latent[0] / size[1]
    for box in boxes:
        left, top, right, bottom = MOUTH
        columns = _cells(box.x + left * box.width, box.x + right * box.width, across)
        rows = _cells(box.y + top * box.height, box.y + bottom * box.height, down)
        keep[..., rows, columns] = 0
    return keep


def _cells(start: float, stop: float, scale: float) -> slice:
    """The cells of which more than a fifth lies between `start` and `stop` pixels."""
    return slice(
        int(start * scale + 0.8), max(int(start * scale + 0.8) + 1, int(stop * scale + 0.8))
    )
