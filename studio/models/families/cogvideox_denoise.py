"""One CogVideoX denoiser: v-prediction, both guidance branches in one call, dynamic guidance.

x is [1, C, T, h, w]; the transformer takes [B, T, C, h, w]. The operations and their order are
those of diffusers' CogVideoX pipelines, so that a run is equal to theirs bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from studio.core.errors import RequestError
from studio.models.family import Conditions
from studio.sampling.guidance import cfg

if TYPE_CHECKING:
    from studio.sampling.stepper import Step

OFFSET = 2.0
"""What the image-to-video checkpoints of 1.5 were trained to be told."""


class CogVideoXDenoiser:
    """A `Denoise` over one transformer, under `conditions`."""

    def __init__(
        self, transformer: Any, conditions: Conditions, stride: int, dynamic: bool
    ) -> None:
        """`stride`: pixels of a latent row; `dynamic`: guidance that grows over the steps."""
        self._transformer = transformer
        self._conditions = conditions
        self._stride = stride
        self._dynamic = dynamic

    @torch.no_grad()
    def __call__(self, x: torch.Tensor, step: Step, frames: Sequence[int]) -> torch.Tensor:
        """The guided prediction (float32) for the window `frames`, on the device of x.

        Raises:
            RequestError: if x with its condition is not what the transformer takes.
        """
        model, conditions = self._transformer, self._conditions
        config = model.config
        embeds = conditions.prompts(frames)
        scale = conditions.plan.guidance_scale
        guided = scale > 1.0 and embeds.negative is not None
        # A short shot between moving windows may be uneven: its first frame is then shown twice.
        lead = -x.shape[2] % (config.patch_size_t or 1)
        x = torch.cat([x[:, :, :1]] * lead + [x], dim=2)
        frames = [frames[0]] * lead + list(frames)
        inputs = x.transpose(1, 2)
        condition = conditions.pins.extras.get("condition")
        if condition is not None:
            rows = conditions.rows(frames)
            seen = condition[:, :, rows].transpose(1, 2).to(inputs)
            inputs = torch.cat([inputs, seen], dim=2)
        self._check(inputs)
        text = embeds.positive
        if guided and embeds.negative is not None:
            inputs, text = torch.cat([inputs] * 2), torch.cat([embeds.negative, text])
        inputs = inputs.to(model.device, model.dtype)
        conditions.on_forward(len(inputs))
        ofs = None if config.ofs_embed_dim is None else inputs.new_full((1,), OFFSET)
        made: torch.Tensor = model(
            hidden_states=inputs,
            encoder_hidden_states=text.to(inputs),
            timestep=step.timestep.to(model.device).expand(len(inputs)),
            ofs=ofs,
            image_rotary_emb=self._rotary(x),
            return_dict=False,
        )[0].float()
        if guided:
            uncond, cond = made.chunk(2)
            made = cfg(cond, uncond, self._scale(scale, step))
        return made.transpose(1, 2)[:, :, lead:].to(x.device)

    def _check(self, inputs: torch.Tensor) -> None:
        config = self._transformer.config
        if inputs.shape[2] != config.in_channels:
            raise RequestError(
                f"the CogVideoX transformer takes latents of {config.in_channels} channels (got "
                f"{inputs.shape[2]}); encode frames with the VAE first, and pick the preset that "
                "the weights belong to"
            )

    def _scale(self, scale: float, step: Step) -> float:
        """The published dynamic guidance, or the scale itself."""
        if not self._dynamic:
            return scale
        share = ((step.count - step.timestep.item()) / step.count) ** 5.0
        return 1 + scale * ((1 - math.cos(math.pi * share)) / 2)

    def _rotary(self, x: torch.Tensor) -> Any:
        """Rotary positions (cos, sin) of a window [1, C, T, h, w], counted from its start."""
        from diffusers import CogVideoXPipeline

        model = self._transformer
        if not model.config.use_rotary_positional_embeddings:
            return None
        _, _, frames, height, width = x.shape
        holder: Any = _Holder(model, self._stride)
        positions: Any = CogVideoXPipeline._prepare_rotary_positional_embeddings
        size = (height * self._stride, width * self._stride)
        return positions(holder, *size, frames, model.device)


class _Holder:
    """What diffusers' position helper reads of a pipeline."""

    def __init__(self, transformer: Any, stride: int) -> None:
        self.transformer = transformer
        self.vae_scale_factor_spatial = stride
