"""OmniAvatar's denoiser: given latents written over, reference and mask beside, sound per window.

x is [1, 16, T, h, w]. The mask channel is 0 where a latent frame is given, 1 where it is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from studio.models.families.avatar_parts import video_frames
from studio.models.families.omniavatar_audio import window_rows
from studio.sampling.guidance import cfg, cfg_text_audio

if TYPE_CHECKING:
    from studio.models.family import Conditions
    from studio.sampling.stepper import Step


@dataclass(frozen=True)
class Guidance:
    """Scales of text and sound; one for both needs two passes, one each needs three."""

    text: float
    audio: float | None = None

    @property
    def passes(self) -> int:
        """Forwards that a step costs."""
        if self.text <= 1.0 and not self.is_split:
            return 1
        return 3 if self.is_split else 2

    @property
    def is_split(self) -> bool:
        """Whether text and sound have scales of their own."""
        return self.audio is not None and self.audio != self.text


class OmniAvatarDenoiser:
    """A `Denoise` over the transformer, under `conditions`.

    `pins.extras` has `reference` [1, 16, 1, h, w] and `audio_rows` [n, features].
    """

    def __init__(
        self,
        transformer: Any,
        conditions: Conditions,
        guidance: Guidance,
        *,
        rounded_timesteps: bool = False,
    ) -> None:
        """`rounded_timesteps`: round time steps to bfloat16 as the published code does."""
        self._transformer = transformer
        self._conditions = conditions
        self._guidance = guidance
        self._rounded = rounded_timesteps

    @torch.no_grad()
    def __call__(self, x: Tensor, step: Step, frames: Sequence[int]) -> Tensor:
        """The guided velocity of the window `frames`."""
        pins, rows = self._conditions.pins, self._conditions.rows(frames)
        like = self._transformer.patch_embedding.weight
        mask = pins.mask[:, :, rows].to(x)
        given = torch.where(mask == 0, pins.clean[:, :, rows].to(x), x)
        reference = pins.extras["reference"].to(x).expand_as(given)
        channel = mask.expand(1, 1, *given.shape[2:])
        inputs = torch.cat([given, reference, channel], dim=1).to(like)
        audio = window_rows(pins.extras["audio_rows"], video_frames(frames)).to(like)
        timestep = step.timestep.float().reshape(1).to(like.device)
        if self._rounded:
            timestep = timestep.bfloat16().float()
        return self._guided(inputs, timestep, frames, audio).to(x)

    def _guided(
        self, inputs: Tensor, timestep: Tensor, frames: Sequence[int], audio: Tensor
    ) -> Tensor:
        embeds = self._conditions.prompts(frames)
        scales = self._guidance

        def forward(text: Tensor, sound: Tensor) -> Tensor:
            self._conditions.on_forward(1)
            velocity: Tensor = self._transformer(
                inputs, timestep, text.to(inputs), audio_embeds=sound
            )
            return velocity.float()

        if scales.passes == 1 or embeds.negative is None:
            return forward(embeds.positive, audio)
        silent = torch.zeros_like(audio)
        uncond = forward(embeds.negative, silent)
        full = forward(embeds.positive, audio)
        if not scales.is_split:
            return cfg(full, uncond, scales.text)
        text_only = forward(embeds.positive, silent)
        assert scales.audio is not None
        return cfg_text_audio(full, text_only, uncond, scales.text, scales.audio)
