"""Figures of the pocket model with pictures given: where a clip begins, ends and goes between."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from studio.pocket import captions
from studio.pocket.generate import Generator
from studio.pocket.judge import judge, object_path
from studio.pocket.tracks import scene_track
from studio.pocket.train_text import random_scene
from studio.pocket.train_vae import psnr
from studio.pocket.vocabulary import Scene
from studio.pocket.world import draw_track

_TRAVELS = ("moves left", "moves right", "rises", "falls")
_JUMP = 5.0  # the largest step in medians of all steps
_BACK = 2.0  # pixels that an object may step back on its way


@dataclass(frozen=True)
class Shot:
    """A drawn clip [T,128,128,3], what it shows and its plain caption."""

    scene: Scene
    frames: np.ndarray
    text: str


def shots(count: int, seed: int, motions: Sequence[str] = ()) -> list[Shot]:
    """Drawn clips that no training has seen; with `motions` only of these."""
    words, rng = random.Random(seed), np.random.default_rng(seed)
    drawn: list[Shot] = []
    while len(drawn) < count:
        scene = random_scene(words)
        if motions and (scene.motion not in motions or scene.camera != "static"):
            continue
        frames = draw_track(scene, scene_track(scene, rng), rng)
        drawn.append(Shot(scene, frames, captions.canonical(scene)))
    return drawn


def first_frames(generate: Generator, count: int, seed: int = 0) -> dict[str, float]:
    """Image to video from the drawn first frames.

    `motion` is the share of clips that move as their caption says, `first_psnr` how near the
    first frame is to the given one (dB) and `round_trip` the autoencoder's own figure for it.
    """
    asked = shots(count, seed)
    firsts = [shot.frames[0] for shot in asked]
    made = generate.between([s.text for s in asked], _seeds(seed, count), firsts)
    right, near = 0, []
    for shot, clip in zip(asked, made, strict=True):
        right += judge(clip).motion == shot.scene.motion
        near.append(psnr(clip[:1], shot.frames[:1]))
    back = [psnr(generate.round_trip(f)[None], f[None]) for f in firsts]
    return {
        "motion": right / count,
        "first_psnr": float(np.mean(near)),
        "worst_first_psnr": float(min(near)),
        "round_trip": float(np.mean(back)),
    }


def first_and_last_frames(generate: Generator, count: int, seed: int = 0) -> dict[str, float]:
    """From an object at one place to the same at another.

    `end_psnr` is the distance of the last frame to the given one (dB) and `path` the share of
    clips whose object goes from the one to the other without turning back or jumping.
    """
    asked = shots(count, seed, _TRAVELS)
    firsts, lasts = [s.frames[0] for s in asked], [s.frames[-1] for s in asked]
    made = generate.between([s.text for s in asked], _seeds(seed, count), firsts, lasts)
    near, right = [], 0
    for shot, clip in zip(asked, made, strict=True):
        near.append(psnr(clip[-1:], shot.frames[-1:]))
        right += goes_straight(object_path(clip), object_path(shot.frames))
    return {
        "end_psnr": float(np.mean(near)),
        "worst_end_psnr": float(min(near)),
        "path": right / count,
    }


def goes_straight(path: np.ndarray, wanted: np.ndarray) -> bool:
    """Whether a path [T,2] (NaN where nothing was seen) runs along the way of `wanted`.

    It must be seen in nearly every frame, cover most of the way, never step back and have no
    step of more than five times the median one.
    """
    way = wanted[-1] - wanted[0]
    length = float(np.hypot(*way))
    along = path @ way / max(length, 1e-6)
    seen = along[~np.isnan(along)]
    if len(seen) < 0.9 * len(along) or length < 1.0:
        return False
    steps = np.diff(seen)
    jump = np.abs(steps).max() > _JUMP * max(float(np.median(np.abs(steps))), 0.5)
    return bool(seen[-1] - seen[0] > 0.6 * length and steps.min() > -_BACK and not jump)


def _seeds(seed: int, count: int) -> list[int]:
    return [seed + index for index in range(count)]
