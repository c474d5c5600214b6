"""Where the sound may move the picture: masks around faces, and whose turn it is.

Boxes are (left, top, width, height) in pixels of the fitted portrait.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from studio.core.request import FaceBox

GROWTH = 3.0
"""A face's box is this many times as wide and as high in the mask."""


def face_mask(
    box: FaceBox | None,
    size: tuple[int, int],
    latent: tuple[int, int],
    growth: float = GROWTH,
) -> Tensor:
    """[1, 1, 1, h, w] for one face in a picture of `size` (width, height); without a face all ones.

    The grown box is clamped to the picture, then the mask is brought to `latent` (rows, columns).
    """
    width, height = size
    if box is None:
        return torch.ones(1, 1, 1, *latent)
    columns = _grown(box.x, box.width, width, growth)
    rows = _grown(box.y, box.height, height, growth)
    mask = torch.zeros(1, 1, height, width)
    mask[:, :, rows[0] : rows[1], columns[0] : columns[1]] = 1
    return F.interpolate(mask, latent, mode="bilinear")[:, :, None]


def _grown(start: int, length: int, limit: int, growth: float) -> tuple[int, int]:
    centre, half = start + length / 2, growth * length / 2
    return max(0, int(centre - half)), min(limit, int(centre + half))


def mask_in_turn(masks: Sequence[Tensor], loudness: Tensor) -> Tensor:
    """[1, 1, N, h, w]: at each latent frame the mask of the loudest of `loudness` [N, speakers].

    While all are silent (below a hundredth of the peak) the last speaker keeps the turn. One mask
    is given back as it is. The model has one sound, so two people cannot speak at once.
    """
    if len(masks) == 1:
        return masks[0]
    turns: list[int] = []
    floor = 0.01 * float(loudness.max())
    for row in loudness:
        silent = float(row.max()) <= floor
        turns.append((turns[-1] if turns else 0) if silent else int(row.argmax()))
    return torch.cat([masks[turn] for turn in turns], dim=2)


def loudness_by_frame(tracks: Sequence[Tensor], latent_frames: int, samples: int) -> Tensor:
    """[N, speakers]: root mean square of each track over each latent frame of `samples` samples."""
    rows = []
    for track in tracks:
        length = latent_frames * samples
        filled = F.pad(track[:length], (0, max(0, length - track.shape[0])))
        rows.append(filled.view(latent_frames, samples).pow(2).mean(dim=1).sqrt())
    return torch.stack(rows, dim=1)
