"""What OmniAvatar hears: Wav2Vec2's states, one row for every video frame."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

SAMPLE_RATE = 16_000


def normalise(waveform: Tensor) -> Tensor:
    """Mean 0, variance 1, as Wav2Vec2's feature extractor does."""
    return (waveform - waveform.mean()) / (waveform.var(unbiased=False) + 1e-7).sqrt()


@torch.no_grad()
def wav2vec_rows(model: Any, waveform: Tensor, frames: int, fps: float) -> Tensor:
    """[frames, features]: last state and all states of a `Wav2Vec2Model`, side by side.

    `waveform` [S] at 16 kHz is normalised, then filled with zeros to `frames` frames. Between the
    convolutions and the transformer the features are stretched to `frames` rows.
    """
    samples = round(frames * SAMPLE_RATE / fps)
    filled = F.pad(normalise(waveform), (0, max(0, samples - waveform.shape[0])))[:samples]

    def stretch(_module: Any, _inputs: Any, features: Tensor) -> Tensor:
        return F.interpolate(features, size=frames, mode="linear", align_corners=True)

    hook = model.feature_extractor.register_forward_hook(stretch)
    try:
        states = model(filled[None], output_hidden_states=True)
    finally:
        hook.remove()
    return torch.cat([states.last_hidden_state, *states.hidden_states], dim=-1)[0]


def window_rows(rows: Tensor, frames: list[int]) -> Tensor:
    """[1, n, features] for video frames: frame f hears row f-1, beyond both ends nothing.

    Frame 0 is the portrait itself: the sound starts one frame later.
    """
    index = torch.tensor(frames) - 1
    heard = (index >= 0) & (index < rows.shape[0])
    picked = rows[index.clamp(0, rows.shape[0] - 1).to(rows.device)]
    return (picked * heard[:, None].to(picked))[None]
