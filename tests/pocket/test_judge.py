"""The judge reads true drawings right."""

import random
from collections import Counter

import numpy as np
import pytest

from studio.pocket.evaluate import follow, questions
from studio.pocket.judge import JUDGED, judge
from studio.pocket.sheet import contact_sheet
from studio.pocket.train_text import random_scene
from studio.pocket.train_vae import psnr
from studio.pocket.world import draw_scene


def test_true_drawings_are_judged_right():
    rng, noise = random.Random(8), np.random.default_rng(8)
    wrong: Counter[str] = Counter()
    for index in range(14):
        scene = random_scene(rng, unseen=index % 2 == 0)
        verdict = judge(draw_scene(scene, noise))
        wrong.update(part for part in JUDGED if getattr(verdict, part) != getattr(scene, part))
    assert max(wrong.values(), default=0) <= 1, wrong


def test_a_still_grey_clip_gets_some_verdict():
    verdict = judge(np.full((9, 128, 128, 3), 128, np.uint8))
    assert verdict.fit > 5


def test_only_what_a_caption_mentions_counts():
    asked = questions(6)
    clips = (np.full((9, 128, 128, 3), 128, np.uint8) for _ in asked)
    figures = follow(lambda prompts, seeds: clips, 6)
    assert set(figures["plain"]) == set(JUDGED)


def test_psnr():
    black = np.zeros((4, 4, 3), np.uint8)
    assert psnr(black, black + 1) == pytest.approx(48.13, abs=0.01)


def test_a_sheet_has_a_row_for_every_clip():
    clips = [np.zeros((25, 128, 128, 3), np.uint8)] * 2
    assert contact_sheet(clips, 6).shape == (256, 768, 3)
