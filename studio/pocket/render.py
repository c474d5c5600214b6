"""Fit the pixel code and render training rows into a cache folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from studio.pocket import dataset, latents
from studio.pocket.vocabulary import CLIP_FRAMES

FIT_CLIPS = 480
FIT_PEOPLE = 0.25


def fit_code(path: Path, clips: int = FIT_CLIPS, seed: int = 7) -> latents.PixelCode:
    """Fit the code on a mixture of scenes and people, save it and return it."""
    rng = np.random.default_rng(seed)
    wanted = {True: int(clips * FIT_PEOPLE), False: clips - int(clips * FIT_PEOPLE)}
    cells = []
    while any(wanted.values()):
        frames, row = dataset.render(rng, CLIP_FRAMES)
        kind = row.scene is None
        if not wanted[kind]:
            continue
        wanted[kind] -= 1
        cells.append(latents.blocks(frames).reshape(-1, latents.BLOCK_NUMBERS))
    pixel_code = latents.fit(np.concatenate(cells))
    draft = path.with_name(f".{path.name}")
    pixel_code.save(draft)
    draft.rename(path)
    return pixel_code


def render_rows(
    cache: Path, renders: int, per_shard: int = 50, part: int = 0, parts: int = 1
) -> None:
    """Render shards `part`, `part + parts`, ... until `renders` clips lie on disk.

    A shard's content depends on its number alone, so that several processes share the work
    and a stopped one goes on where it was.
    """
    path = cache / "pca.safetensors"
    pixel_code = latents.PixelCode.load(path) if path.exists() else fit_code(path)
    for number in range(part, renders // per_shard, parts):
        folder = cache / "rows" / f"{number:05d}"
        if not folder.exists():
            dataset.write_shard(folder, pixel_code, 1000 + number, per_shard)
