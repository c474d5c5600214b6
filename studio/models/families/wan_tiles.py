"""Decoding with AutoencoderKLWan in tiles: less memory, a stream of its own for each tile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from studio.models.families.wan_vae import WanStreamDecoder

if TYPE_CHECKING:
    from studio.models.family import Frames

LARGEST = 24
"""Latent rows or columns of a tile, without what it shares with its neighbours."""

SMALLEST = 8
"""A side below twice this is not divided."""

SHARED = 2
"""Latent rows or columns that a tile reaches into each neighbour."""


@dataclass(frozen=True)
class Tile:
    """Latent rows and columns [start, stop) of a tile."""

    rows: tuple[int, int]
    columns: tuple[int, int]

    def of(self, tensor: torch.Tensor, size: tuple[int, int]) -> tuple[Any, ...]:
        """The index of the tile in `tensor` [..., H, W], of the latents' `size` or a multiple."""
        rows, columns = tensor.shape[-2] // size[0], tensor.shape[-1] // size[1]
        return (
            ...,
            slice(self.rows[0] * rows, self.rows[1] * rows),
            slice(self.columns[0] * columns, self.columns[1] * columns),
        )


def tiles_of(height: int, width: int) -> list[Tile]:
    """The tiles of latents of that size, row by row."""
    return [Tile(r, c) for r in _spans(height) for c in _spans(width)]


def _spans(side: int) -> list[tuple[int, int]]:
    count = 1 if side < 2 * SMALLEST else max(2, -(-side // LARGEST))
    edges = [round(side * index / count) for index in range(count + 1)]
    return [(max(0, a - SHARED), min(side, b + SHARED)) for a, b in pairwise(edges)]


class TiledWanDecoder:
    """`WanStreamDecoder` in tiles. Its snapshots are those of the whole picture, so a stream may
    go on with tiles that began without them, and the other way round.
    """

    def __init__(self, vae: Any) -> None:
        self._vae = vae
        self._tiles: list[Tile] = []
        self._size = (0, 0)
        self._decoders: list[WanStreamDecoder] = []
        self._state: Mapping[str, torch.Tensor] = {}

    @torch.no_grad()
    def push(self, latents: torch.Tensor) -> Frames:
        """Frames [n, H, W, 3] of the next latents [1, C, t, h, w]."""
        if not self._tiles:
            self._open((latents.shape[3], latents.shape[4]))
        height, width = self._size
        total = weights = None
        for tile, decoder in zip(self._tiles, self._decoders, strict=True):
            frames = decoder.push(latents[tile.of(latents, self._size)].contiguous())
            stride = frames.shape[1] // (tile.rows[1] - tile.rows[0])
            if total is None or weights is None:
                total = np.zeros((len(frames), height * stride, width * stride, 3), np.float32)
                weights = np.zeros((height * stride, width * stride, 1), np.float32)
            ramp = np.outer(_ramp(tile.rows, height, stride), _ramp(tile.columns, width, stride))[
                ..., None
            ]
            place = (
                slice(tile.rows[0] * stride, tile.rows[1] * stride),
                slice(tile.columns[0] * stride, tile.columns[1] * stride),
            )
            total[:, place[0], place[1]] += frames * ramp
            weights[place] += ramp
        assert total is not None, "latents without a picture"
        assert weights is not None
        blended: Frames = np.rint(total / weights).astype(np.uint8)
        return blended

    def _open(self, size: tuple[int, int]) -> None:
        self._size, self._tiles = size, tiles_of(*size)
        self._decoders = [WanStreamDecoder(self._vae) for _ in self._tiles]
        if not self._state:
            return
        for tile, decoder in zip(self._tiles, self._decoders, strict=True):
            decoder.restore(
                {
                    key: value[tile.of(value, size)].contiguous() if value.ndim == 5 else value
                    for key, value in self._state.items()
                }
            )
        self._state = {}

    def snapshot(self) -> dict[str, torch.Tensor]:
        """The memory of the whole picture, put together from the tiles'."""
        if not self._decoders:
            return dict(self._state)
        height, width = self._size
        whole: dict[str, torch.Tensor] = {}
        for tile, decoder in zip(self._tiles, self._decoders, strict=True):
            for key, value in decoder.snapshot().items():
                if value.ndim != 5:
                    whole[key] = value
                    continue
                times = value.shape[3] // (tile.rows[1] - tile.rows[0])
                if key not in whole:
                    shape = (*value.shape[:3], height * times, width * times)
                    whole[key] = torch.empty(shape, dtype=value.dtype)
                whole[key][tile.of(whole[key], self._size)] = value
        return whole

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on where a snapshot was taken; it is divided when the latents' size is known."""
        self._state = dict(state)
        self._tiles, self._decoders = [], []


def _ramp(span: tuple[int, int], side: int, stride: int) -> np.ndarray[Any, Any]:
    """Weights of a tile's pixels along one side: rising over what it shares with a neighbour."""
    count = (span[1] - span[0]) * stride
    shared = 2 * SHARED * stride
    place = np.arange(count, dtype=np.float32) + 0.5
    weights = np.ones(count, np.float32)
    if span[0] > 0:
        weights = np.minimum(weights, place / shared)
    if span[1] < side:
        weights = np.minimum(weights, place[::-1] / shared)
    return weights
