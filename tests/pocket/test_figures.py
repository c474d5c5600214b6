"""The shipped weights give the figures of docs/pocket.md, on a sample that takes a minute."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKLWan

from studio.pocket.commands import DEFAULT_WEIGHTS
from studio.pocket.evaluate import follow, round_trip
from studio.pocket.generate import Generator

CAPTIONS = 16
# What may be missed by chance: the documented share less two standard errors of 16 captions.
LEAST = {"colour": 0.75, "place": 0.9, "light": 0.85, "camera": 0.6, "motion": 0.42, "shape": 0.25}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_the_autoencoder_keeps_scenes_and_people() -> None:
    vae = AutoencoderKLWan.from_pretrained(DEFAULT_WEIGHTS / "vae").eval()
    figures = round_trip(vae, clips=2)
    assert figures["scenes"] > 28.0
    assert figures["people"] > 27.0


def test_clips_follow_held_out_captions() -> None:
    shares = follow(Generator(DEFAULT_WEIGHTS), CAPTIONS, seed=11)["all"]
    assert {name for name, least in LEAST.items() if shares[name] < least} == set(), shares
