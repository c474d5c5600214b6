"""One Wan denoiser: condition channels or per-token timesteps, two experts, guidance.

x is [1, C, T, h, w]. The operations and their order are those of diffusers' Wan pipelines, so
that a run is equal to theirs bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch

from studio.models.families.wan_layout import WanLayout
from studio.models.family import Conditions, PromptEmbeds
from studio.sampling.guidance import cfg

if TYPE_CHECKING:
    from studio.models.component import ComponentSpec
    from studio.models.manager import ModelManager
    from studio.models.prior import TokenPrior
    from studio.sampling.stepper import Step


class Experts:
    """The one or two transformers of a checkpoint, of which one at a time is in use."""

    def __init__(
        self, models: ModelManager, specs: Sequence[ComponentSpec], boundary: float | None
    ) -> None:
        self._models = models
        self._specs = specs
        self._boundary = boundary
        self._held = ExitStack()
        self._index = -1
        self._module: Any = None

    def at(self, timestep: torch.Tensor) -> tuple[int, Any]:
        """Which expert works at `timestep`, and its transformer."""
        low = self._boundary is not None and bool(timestep < self._boundary)
        index = int(low)
        if index != self._index:
            self.close()
            self._module = self._held.enter_context(self._models.use(self._specs[index]))
            self._index = index
        return index, self._module

    def close(self) -> None:
        """Let the transformer go."""
        self._held.close()
        self._index, self._module = -1, None


class WanDenoiser:
    """A `Denoise` over the experts, under `conditions`."""

    def __init__(
        self,
        layout: WanLayout,
        experts: Experts,
        conditions: Conditions,
        scales: tuple[float, float],
        prior: TokenPrior | None = None,
    ) -> None:
        """`scales`: guidance of the first and of the second expert; 1 or less means none."""
        self._prior = prior
        self._layout = layout
        self._experts = experts
        self._conditions = conditions
        self._scales = scales
        self._guided = scales[0] > 1.0

    @torch.no_grad()
    def __call__(self, x: torch.Tensor, step: Step, frames: Sequence[int]) -> torch.Tensor:
        """The guided prediction for the window `frames` of the clip, on the device of x."""
        if self._prior is not None:
            made = self._around_prior(self._prior, x, step, frames)
        else:
            inputs, timestep = self._inputs(x, step.timestep, frames)
            made = self._guided_forward(inputs, timestep, step, frames)
        return made.to(x.device)

    def _around_prior(
        self, prior: TokenPrior, x: torch.Tensor, step: Step, frames: Sequence[int]
    ) -> torch.Tensor:
        """The transformer names what the linear denoiser gets wrong, in a unit of its own."""
        x = x.to(prior.mean.device)
        sigma = torch.full((len(x),), step.sigma, device=x.device)
        rows = self._conditions.rows(frames)
        given = self._conditions.pins.extras["condition"][:, :, rows].to(x)
        inputs = prior.prepare(x, given[:, :4], given[:, 4:], sigma)
        named = self._guided_forward(inputs, 1000.0 * sigma, step, frames)
        return prior.finish(named, x, sigma)

    def _guided_forward(
        self, inputs: torch.Tensor, timestep: torch.Tensor, step: Step, frames: Sequence[int]
    ) -> torch.Tensor:
        index, transformer = self._experts.at(step.timestep)
        embeds = self._conditions.prompts(frames)
        inputs = inputs.to(transformer.device, transformer.dtype)
        timestep = timestep.to(transformer.device)
        if not self._guided or embeds.negative is None:
            return self._forward(transformer, inputs, timestep, embeds.positive)
        if self._layout.batch_guidance:
            return self._both(transformer, inputs, timestep, embeds, self._scales[index])
        cond = self._forward(transformer, inputs, timestep, embeds.positive)
        uncond = self._forward(transformer, inputs, timestep, embeds.negative)
        return cfg(cond, uncond, self._scales[index])

    def _inputs(
        self, x: torch.Tensor, t: torch.Tensor, frames: Sequence[int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What the transformer sees instead of x, and its timestep (one, or one a token)."""
        pins = self._conditions.pins
        rows = self._conditions.rows(frames)
        kind = self._layout.condition
        if kind in ("video", "latents"):
            return torch.cat([x, pins.extras["condition"][:, :, rows]], dim=1), t.expand(len(x))
        if kind == "none":
            return x, t.expand(len(x))
        mask = pins.mask[:, :, rows].expand(1, 1, *x.shape[2:])
        blended = (1 - mask) * pins.clean[:, :, rows] + mask * x
        _, high, wide = self._layout.patch
        tokens = (mask[0][0][:, ::high, ::wide] * t).flatten()
        return blended, tokens.unsqueeze(0).expand(len(x), -1)

    def _forward(
        self, transformer: Any, inputs: torch.Tensor, timestep: torch.Tensor, text: torch.Tensor
    ) -> torch.Tensor:
        self._conditions.on_forward(1)
        images = self._conditions.pins.extras.get("image_embeds")
        predicted: torch.Tensor = transformer(
            hidden_states=inputs,
            timestep=timestep,
            encoder_hidden_states=text.to(inputs.device, inputs.dtype),
            encoder_hidden_states_image=None if images is None else images.to(inputs),
            return_dict=False,
        )[0]
        return predicted

    def _both(
        self,
        transformer: Any,
        inputs: torch.Tensor,
        timestep: torch.Tensor,
        embeds: PromptEmbeds,
        scale: float,
    ) -> torch.Tensor:
        """Both branches in one call of the transformer: faster for a small one."""
        assert embeds.negative is not None
        self._conditions.on_forward(1)
        text = torch.cat([embeds.positive, embeds.negative])
        both = self._forward(
            transformer, torch.cat([inputs, inputs]), torch.cat([timestep, timestep]), text
        )
        cond, uncond = both.chunk(2)
        return cfg(cond, uncond, scale)
