"""Figures of the pocket model: how exact its autoencoder is and how well it follows captions."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from diffusers import AutoencoderKLWan

from studio.pocket import captions, dataset
from studio.pocket.judge import JUDGED, judge
from studio.pocket.people import draw_person, talking
from studio.pocket.train_text import random_scene
from studio.pocket.train_vae import psnr, to_frames, to_pixels
from studio.pocket.vocabulary import CLIP_FRAMES
from studio.pocket.world import draw_scene

Generate = Callable[[list[str], list[int]], Iterator[np.ndarray]]
"""Prompts and seeds to clips, uint8 [T,128,128,3], in the same order."""


@dataclass(frozen=True)
class Question:
    """A caption and what it asks for; parts that it leaves out do not count."""

    text: str
    slots: captions.Slots
    group: str


@dataclass
class _Tally:
    right: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)

    def add(self, name: str, right: bool) -> None:
        self.asked[name] += 1
        self.right[name] += right

    def shares(self) -> dict[str, float]:
        return {name: round(self.right[name] / n, 4) for name, n in sorted(self.asked.items())}


def questions(count: int, seed: int = 0) -> list[Question]:
    """Captions for scenes: plain ones, held-out wordings and held-out combinations in turn."""
    rng = random.Random(seed)
    asked = []
    for index in range(count):
        group = ("plain", "held-out wording", "held-out combination")[index % 3]
        scene = random_scene(rng, unseen=group == "held-out combination")
        if group == "held-out wording":
            text, slots = captions.describe(scene, rng, held_out_wording=True)
        else:
            text = captions.canonical(scene)
            slots = captions.scene_slots(scene, set(captions.SCENE_PARTS))
        asked.append(Question(text, slots, group))
    return asked


def follow(generate: Generate, count: int, seed: int = 0) -> dict[str, dict[str, float]]:
    """Share of the asked attributes that the clips show, by group of captions and for all."""
    asked = questions(count, seed)
    tallies = {group: _Tally() for group in ("all", *sorted({q.group for q in asked}))}
    clips = generate([q.text for q in asked], [seed + i for i in range(len(asked))])
    for question, clip in zip(asked, clips, strict=True):
        verdict = judge(clip)
        for part in JUDGED:
            wanted = question.slots[part]
            if wanted == captions.ABSENT:
                continue
            for group in ("all", question.group):
                tallies[group].add(part, getattr(verdict, part) == wanted)
    return {group: tally.shares() for group, tally in tallies.items()}


def unseen_clips(kind: str, count: int, seed: int = 99) -> Iterator[np.ndarray]:
    """Drawings of `scenes` or `people` that no training has seen, uint8 [25,128,128,3]."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        if kind == "scenes":
            yield draw_scene(dataset.random_scene(rng), rng, CLIP_FRAMES)
            continue
        people = [dataset.random_person(rng) for _ in range(int(rng.integers(1, 3)))]
        people = [replace(p, background=people[0].background) for p in people]
        mouths = np.stack([talking(rng, CLIP_FRAMES) for _ in people])
        yield draw_person(people, mouths, rng, CLIP_FRAMES)


@torch.no_grad()
def round_trip(vae: AutoencoderKLWan, clips: int = 12) -> dict[str, float]:
    """PSNR in dB through encoder and decoder: whole clips, and the first frame as an image."""
    figures = {}
    for kind in ("scenes", "people"):
        whole, image = [], []
        for clip in unseen_clips(kind, clips):
            pixels = to_pixels(clip[None]).to(vae.dtype)
            back = vae.decode(vae.encode(pixels).latent_dist.mode()).sample
            whole.append(psnr(to_frames(back[0]), clip))
            first = vae.decode(vae.encode(pixels[:, :, :1]).latent_dist.mode()).sample
            image.append(psnr(to_frames(first[0]), clip[:1]))
        figures[kind] = round(float(np.mean(whole)), 2)
        figures[f"{kind}, one image"] = round(float(np.mean(image)), 2)
    return figures


def evaluate(
    generate: Generate | None,
    vae: AutoencoderKLWan | None,
    captions_count: int = 200,
    clips: int = 12,
    seed: int = 0,
) -> dict[str, dict]:
    """All figures: `psnr` of the autoencoder and `follow` of the generated clips."""
    figures: dict[str, dict] = {}
    if vae is not None and clips:
        figures["psnr"] = round_trip(vae, clips)
    if generate is not None and captions_count:
        figures["follow"] = follow(generate, captions_count, seed)
    return figures
