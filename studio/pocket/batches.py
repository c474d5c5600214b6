"""Training batches of the transformer: rows, masks of what is given, and text states."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import AutoTokenizer, T5EncoderModel

from studio.pocket.captions import describe
from studio.pocket.dataset import WINDOW, Rows

TOKENS = 64
MIDDLE_SHARE = 0.6
TEXT_DROPOUT = 0.1
COMPLETE = 0.85
COMPOSED_SHARE = 0.9
PURE = 0.9
MODES = {
    "none": 0.74,
    "first": 0.09,
    "first and last": 0.06,
    "prefix": 0.06,
    "prefix and last": 0.03,
    "prefix and suffix": 0.02,
}


@dataclass
class Batch:
    """clean and condition [B,48,T,8,8], mask [B,4,T,8,8], text [B,64,d]."""

    clean: Tensor
    mask: Tensor
    condition: Tensor
    text: Tensor
    captions: list[str]


class TextEncoder:
    """The trained text encoder; states are zero after the last token, as Wan pads them."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model = T5EncoderModel.from_pretrained(folder).eval()
        self.width = int(self._model.config.d_model)

    @torch.no_grad()
    def __call__(self, texts: list[str]) -> Tensor:
        """States [B,64,d]."""
        coded = self._tokenizer(
            texts, padding=True, truncation=True, max_length=TOKENS, return_tensors="pt"
        )
        mask = coded["attention_mask"]
        states = self._model(input_ids=coded["input_ids"], attention_mask=mask).last_hidden_state
        states = states.float() * mask[..., None]
        return torch.nn.functional.pad(states, (0, 0, 0, TOKENS - states.shape[1]))


class Batches:
    """Draws batches from rows on disk; every hundred it looks for new shards."""

    def __init__(self, rows: Rows, encoder: TextEncoder, size: int, seed: int) -> None:
        self._rows = rows
        self._encoder = encoder
        self._size = size
        self._rng = np.random.default_rng(seed)
        self._words = random.Random(seed)
        self._drawn = 0

    def draw(self) -> Batch:
        self._drawn += 1
        if self._drawn % 100 == 0:
            self._rows.refresh()
        parts = [self._one() for _ in range(self._size)]
        clean, mask, condition = (
            torch.from_numpy(np.stack([p[i] for p in parts])).float() for i in range(3)
        )
        captions = [p[3] for p in parts]
        return Batch(clean, mask, condition, self._encoder(captions), captions)

    def _pick(self, mode: str) -> int:
        """A row for `mode`.

        With a text alone the object's place is not known. Clips from text are learned from
        composed rows, where it follows from the words: an average over all the places it
        might be at is a blob that moves nowhere.
        """
        composed = self._rows.composed
        if mode == "none" and composed and self._rng.random() < COMPOSED_SHARE:
            return composed[int(self._rng.integers(len(composed)))]
        return int(self._rng.integers(len(self._rows)))

    def _one(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
        rng = self._rng
        mode = str(rng.choice(list(MODES), p=list(MODES.values())))
        latents, ends, row = self._rows.row(self._pick(mode))
        start, spare = 0, latents.shape[1] - WINDOW
        if spare and rng.random() < MIDDLE_SHARE:
            start = int(rng.integers(1, spare + 1))
        thing, purity = row.window(start)
        if mode == "none" and not (start or row.composed or row.people):
            mode = "first"
        if purity < PURE or (start and mode.startswith("first")):
            mode = "prefix and last" if mode.endswith("last") else "prefix"
        clean = np.asarray(latents[:, start : start + WINDOW])
        mask, condition = given(clean, np.asarray(ends[start]), mode, rng)
        text = ""
        if rng.random() >= TEXT_DROPOUT:
            text = describe(thing, self._words, complete=COMPLETE)[0]
        return clean, mask, condition, text


def given(
    clean: np.ndarray, last: np.ndarray, mode: str, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Mask [4,T,h,w] and condition [C,T,h,w] of a mode.

    clean [C,T,h,w]; last [C,h,w] is the last frame as a still image. A last image is one
    pixel frame of the last latent, so its mask there is 0 0 0 1.
    """
    length = clean.shape[1]
    mask = np.zeros((4, *clean.shape[1:]), clean.dtype)
    condition = np.zeros_like(clean)
    if mode == "none":
        return mask, condition
    count = 1 if mode.startswith("first") else int(rng.integers(1, 5))
    mask[:, :count], condition[:, :count] = 1, clean[:, :count]
    if mode.endswith("suffix"):
        after = int(rng.integers(count + 1, length))
        mask[:, after:], condition[:, after:] = 1, clean[:, after:]
    elif mode.endswith("last"):
        mask[3, -1], condition[:, -1] = 1, last
    return mask, condition
