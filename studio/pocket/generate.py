"""Clips from prompts, straight from a folder of weights: for evaluation, without the studio."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from transformers import AutoTokenizer, T5EncoderModel

from studio.models.prior import TokenPrior
from studio.pocket.batches import TOKENS
from studio.pocket.preview import sample
from studio.pocket.train_vae import to_frames

_BATCH = 8


class Generator:
    """Prompts and seeds to clips, uint8 [25,128,128,3], a few at a time."""

    def __init__(self, folder: Path, steps: int = 20, guidance: float = 2.5) -> None:
        self._steps, self._guidance = steps, guidance
        self._tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
        self._text = T5EncoderModel.from_pretrained(folder / "text_encoder").float().eval()
        self._model = WanTransformer3DModel.from_pretrained(folder / "transformer").float().eval()
        self._prior = TokenPrior.load(folder / "transformer")
        self._vae = AutoencoderKLWan.from_pretrained(folder / "vae").float().eval()

    @torch.no_grad()
    def __call__(self, prompts: list[str], seeds: list[int]) -> Iterator[np.ndarray]:
        for at in range(0, len(prompts), _BATCH):
            texts = prompts[at : at + _BATCH]
            states = self._states([*texts, ""])
            latents = sample(
                self._model,
                self._prior,
                states[:-1],
                states[-1:],
                steps=self._steps,
                guidance=self._guidance,
                seed=seeds[at],
            )
            for latent in latents:
                with torch.autocast("cpu", torch.bfloat16):
                    pixels = self._vae.decode(latent[None]).sample[0]
                yield to_frames(pixels)

    def _states(self, texts: list[str]) -> torch.Tensor:
        """Text states [B,64,d], zero after the last token."""
        coded = self._tokenizer(
            texts, padding="max_length", truncation=True, max_length=TOKENS, return_tensors="pt"
        )
        mask = coded["attention_mask"]
        hidden = self._text(input_ids=coded["input_ids"], attention_mask=mask).last_hidden_state
        return hidden * mask[..., None]
