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
from studio.pocket.dataset import WINDOW
from studio.pocket.latents import CHANNELS
from studio.pocket.preview import sample
from studio.pocket.train_vae import to_frames, to_pixels

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

    def __call__(self, prompts: list[str], seeds: list[int]) -> Iterator[np.ndarray]:
        """Clips from text alone."""
        return self._clips(prompts, seeds, None, None)

    def between(
        self,
        prompts: list[str],
        seeds: list[int],
        firsts: list[np.ndarray],
        lasts: list[np.ndarray] | None = None,
    ) -> Iterator[np.ndarray]:
        """Clips that begin with the pictures `firsts` and end with `lasts`, uint8 [128,128,3]."""
        return self._clips(prompts, seeds, firsts, lasts)

    @torch.no_grad()
    def round_trip(self, picture: np.ndarray) -> np.ndarray:
        """A picture, uint8 [H,W,3], through the encoder and the decoder."""
        back = self._vae.decode(self._encoded([picture])).sample[0]
        return to_frames(back)[0]

    def _encoded(self, pictures: list[np.ndarray]) -> torch.Tensor:
        """Latents [B,48,1,8,8] of still pictures."""
        pixels = to_pixels(np.stack(pictures)[:, None])
        return self._vae.encode(pixels).latent_dist.mode()

    def _given(
        self, firsts: list[np.ndarray] | None, lasts: list[np.ndarray] | None
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Mask [B,4,T,8,8] and condition [B,48,T,8,8]; a last picture is one pixel frame."""
        if firsts is None:
            return None
        count = len(firsts)
        mask = torch.zeros(count, 4, WINDOW, 8, 8)
        condition = torch.zeros(count, CHANNELS, WINDOW, 8, 8)
        mask[:, :, :1], condition[:, :, :1] = 1.0, self._encoded(firsts)
        if lasts is not None:
            mask[:, 3, -1:], condition[:, :, -1:] = 1.0, self._encoded(lasts)
        return mask, condition

    @torch.no_grad()
    def _clips(
        self,
        prompts: list[str],
        seeds: list[int],
        firsts: list[np.ndarray] | None,
        lasts: list[np.ndarray] | None,
    ) -> Iterator[np.ndarray]:
        for at in range(0, len(prompts), _BATCH):
            part = slice(at, at + _BATCH)
            states = self._states([*prompts[part], ""])
            latents = sample(
                self._model,
                self._prior,
                states[:-1],
                states[-1:],
                self._given(firsts and firsts[part], lasts and lasts[part]),
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
