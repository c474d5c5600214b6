"""What HunyuanVideo-Avatar hears: Whisper's encoder states around every video frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SAMPLE_RATE = 16_000
TOKEN_HZ = 50
BEFORE, SPAN = 4, 10


@torch.no_grad()
def whisper_states(encoder: Any, extractor: Any, waveform: np.ndarray) -> Tensor:
    """[tokens, layers, width] at 50 Hz: the embedding and every layer of all 30-second pieces.

    A piece is as long as the encoder has positions for, 30 seconds in every published one.

    The published code reads the first piece only and stops at 16 s; here sound has no end.
    """
    positions = int(encoder.config.max_source_positions)
    size = positions * SAMPLE_RATE // TOKEN_HZ
    like = next(encoder.parameters())
    pieces = []
    for start in range(0, max(1, len(waveform)), size):
        features = extractor(
            waveform[start : start + size], sampling_rate=SAMPLE_RATE, return_tensors="pt"
        ).input_features[..., : 2 * positions]
        states = encoder(features.to(like), output_hidden_states=True).hidden_states
        pieces.append(torch.stack(states, dim=2)[0].float().cpu())
    return torch.cat(pieces)


def frame_rows(states: Tensor, frames: int, fps: float) -> Tensor:
    """[frames, 10, layers, width]: ten tokens, 0.2 s, around each video frame."""
    starts = torch.round(torch.arange(frames) * (TOKEN_HZ / fps)).long()
    index = starts[:, None] + torch.arange(SPAN)
    short = max(0, int(index.max()) + 1 - BEFORE - states.shape[0]) if frames else 0
    return F.pad(states, (0, 0, 0, 0, BEFORE, short))[index]


def sound_frames(samples: int, fps: float) -> int:
    """Whole video frames that the sound covers."""
    return int(samples * fps // SAMPLE_RATE)
