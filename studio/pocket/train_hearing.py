"""Train the pocket avatar's ear: a small Whisper encoder that knows how far a mouth is open.

The front end is Whisper's own (80 mel bands, pieces of 30 seconds, 50 states a second). A linear
reading of the last states must give the mouth's opening and the sound's level; the reading is
thrown away, the states are what the avatar hears.
"""

from __future__ import annotations

import logging
import random
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

from studio.media.sound import Sound
from studio.pocket.speech import PIECE_S, openings, random_voice, speak_piece

_log = logging.getLogger(__name__)

WIDTH = 64
TOKEN_HZ = 50.0
SILENT_SHARE = 0.04


def build_ear() -> WhisperModel:
    """The untrained model; its decoder is as small as one can be, nobody uses it."""
    config = WhisperConfig(
        vocab_size=8,
        num_mel_bins=80,
        d_model=WIDTH,
        encoder_layers=2,
        encoder_attention_heads=2,
        encoder_ffn_dim=2 * WIDTH,
        decoder_layers=1,
        decoder_attention_heads=1,
        decoder_ffn_dim=8,
        max_target_positions=4,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        suppress_tokens=[],
        begin_suppress_tokens=[],
        dropout=0.0,
    )
    return WhisperModel(config)


def record_pieces(folder: Path, count: int, seed: int = 0) -> None:
    """Write `piece-0000.npy` (int16, 30 s at 16 kHz) and so on; each from its number alone."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        path = folder / f"piece-{number:04d}.npy"
        if path.exists():
            continue
        rng = random.Random(f"{seed}:{number}")
        piece = speak_piece(rng, random_voice(rng))
        draft = folder / f".{path.name}"
        np.save(draft, np.clip(piece.mono * 32767.0, -32768, 32767).astype(np.int16))
        draft.rename(path)


def load_piece(path: Path) -> Sound:
    """A recorded piece."""
    samples = np.load(path).astype(np.float32) / 32767.0
    return Sound(samples[None], 16_000)


def train_ear(pieces: Path, folder: Path, minutes: float, batch: int = 4) -> float:
    """Train on the recorded pieces and save into `folder`; the last loss."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    extractor = WhisperFeatureExtractor()
    sounds = [load_piece(path) for path in sorted(pieces.glob("piece-*.npy"))]
    features = torch.stack([_mel(extractor, sound) for sound in sounds])
    wanted = torch.stack([_wanted(sound) for sound in sounds])
    model = build_ear()
    encoder: Any = model.get_encoder()
    reading = nn.Linear(WIDTH, wanted.shape[-1])
    weights = [*encoder.parameters(), *reading.parameters()]
    weights = [w for w in weights if w.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=2e-3, betas=(0.9, 0.98), weight_decay=0.01)
    generator = torch.Generator().manual_seed(0)
    began, step, loss = time.monotonic(), 0, torch.zeros(())
    while (done := (time.monotonic() - began) / (60.0 * minutes)) < 1.0:
        picked = torch.randint(len(sounds), (batch,), generator=generator)
        heard, target = _varied(features[picked], wanted[picked], generator)
        states = encoder(heard).last_hidden_state
        loss = (reading(states) - target).abs().mean()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * min(1.0, (step + 1) / 50) * min(1.0, 2.0 * (1.0 - done))
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        step += 1
        if step % 50 == 0:
            _log.info("ear step %d loss %.4f", step, float(loss))
    _save(model, extractor, folder)
    return float(loss.detach())


def _save(model: WhisperModel, extractor: Any, folder: Path) -> None:
    draft = folder.with_name(f".{folder.name}")
    shutil.rmtree(draft, ignore_errors=True)
    model.to(torch.float16).save_pretrained(draft)
    extractor.save_pretrained(draft)
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)


def _mel(extractor: Any, sound: Sound) -> Tensor:
    made = extractor(sound.mono, sampling_rate=sound.rate, return_tensors="pt")
    features: Tensor = made.input_features[0]
    return features


def _wanted(sound: Sound) -> Tensor:
    """[1500,2]: the opening and its finer track, 50 times a second."""
    tokens = round(PIECE_S * TOKEN_HZ)
    fine = openings(sound, tokens, TOKEN_HZ)
    frames = round(PIECE_S * 12.5)
    coarse = np.interp(
        (np.arange(tokens) + 0.5) / TOKEN_HZ,
        (np.arange(frames) + 0.5) / 12.5,
        openings(sound, frames),
    )
    return torch.from_numpy(np.stack([coarse, fine], axis=1).astype(np.float32))


def _varied(heard: Tensor, target: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Some pieces end early, as short sounds do, and a few are silent."""
    heard, target = heard.clone(), target.clone()
    for row in range(len(heard)):
        draw = float(torch.rand((), generator=generator))
        stop = 0 if draw < SILENT_SHARE else 100 * int(1 + 14 * draw) if draw < 0.4 else 1500
        heard[row, :, 2 * stop :] = heard[row].amin()
        target[row, stop:] = 0.0
    return heard, target
