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
from studio.models.family import Conditions
from studio.models.layer_major import layer_major
from studio.models.offload import stream_of
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
        [made] = self.many([(x, frames)], step)
        return made

    @torch.no_grad()
    def many(
        self, parts: Sequence[tuple[torch.Tensor, Sequence[int]]], step: Step
    ) -> list[torch.Tensor]:
        """The predictions of several windows (x, frames) of one step.

        Where blocks are streamed each is read once for all windows and both branches.
        """
        index, transformer = self._experts.at(step.timestep)
        together = stream_of(transformer) is not None
        made: list[torch.Tensor] = []
        for group in [parts] if together else [[part] for part in parts]:
            asked = [self._prepared(x, step, frames) for x, frames in group]
            calls = [
                self._calls(transformer, a, t, f)
                for (a, t), (_, f) in zip(asked, group, strict=True)
            ]
            flat = [call for window in calls for call in window]
            answers = iter(self._answers(transformer, flat, together=together))
            for (x, _), window in zip(group, calls, strict=True):
                guided = self._guided_sum([next(answers) for _ in window], self._scales[index])
                made.append(self._finished(guided, x, step).to(x.device))
        return made

    def _prepared(
        self, x: torch.Tensor, step: Step, frames: Sequence[int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What the transformer sees, and its timestep.

        Around a linear denoiser it names what that one gets wrong, in a unit of its own.
        """
        if self._prior is None:
            return self._inputs(x, step.timestep, frames)
        x = x.to(self._prior.mean.device)
        sigma = torch.full((len(x),), step.sigma, device=x.device)
        rows = self._conditions.rows(frames)
        given = self._conditions.pins.extras["condition"][:, :, rows].to(x)
        return self._prior.prepare(x, given[:, :4], given[:, 4:], sigma), 1000.0 * sigma

    def _finished(self, guided: torch.Tensor, x: torch.Tensor, step: Step) -> torch.Tensor:
        if self._prior is None:
            return guided
        x = x.to(self._prior.mean.device)
        sigma = torch.full((len(x),), step.sigma, device=x.device)
        return self._prior.finish(guided, x, sigma)

    def _calls(
        self,
        transformer: Any,
        inputs: torch.Tensor,
        timestep: torch.Tensor,
        frames: Sequence[int],
    ) -> list[dict[str, Any]]:
        """The calls of the transformer that a window needs: one a branch, or one for both."""
        embeds = self._conditions.prompts(frames)
        inputs = inputs.to(transformer.device, transformer.dtype)
        timestep = timestep.to(transformer.device)
        if not self._guided or embeds.negative is None:
            return [self._call(inputs, timestep, embeds.positive)]
        if self._layout.batch_guidance:
            # Both branches in one call: faster for a small transformer.
            text = torch.cat([embeds.positive, embeds.negative])
            both = torch.cat([inputs, inputs]), torch.cat([timestep, timestep])
            return [self._call(*both, text)]
        texts = (embeds.positive, embeds.negative)
        return [self._call(inputs, timestep, text) for text in texts]

    def _call(
        self, inputs: torch.Tensor, timestep: torch.Tensor, text: torch.Tensor
    ) -> dict[str, Any]:
        images = self._conditions.pins.extras.get("image_embeds")
        return {
            "hidden_states": inputs,
            "timestep": timestep,
            "encoder_hidden_states": text.to(inputs.device, inputs.dtype),
            "encoder_hidden_states_image": None if images is None else images.to(inputs),
            "return_dict": False,
        }

    def _answers(
        self, transformer: Any, calls: Sequence[dict[str, Any]], *, together: bool
    ) -> list[torch.Tensor]:
        """The transformer's predictions, all calls counted."""
        if together:
            self._conditions.on_forward(sum(len(call["hidden_states"]) for call in calls))
            return layer_major(transformer, calls)
        made = []
        for call in calls:
            self._conditions.on_forward(len(call["hidden_states"]))
            made.append(transformer(**call)[0])
        return made

    def _guided_sum(self, answers: Sequence[torch.Tensor], scale: float) -> torch.Tensor:
        if len(answers) == 1 and len(answers[0]) == 1:
            return answers[0]
        cond, uncond = answers[0].chunk(2) if len(answers) == 1 else answers
        return cfg(cond, uncond, scale)

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
