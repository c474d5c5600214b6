"""One HunyuanVideo denoiser: embedded or true guidance, the picture as a frame or as channels.

x is [1, C, T, h, w]. The operations and their order are those of diffusers' HunyuanVideo
pipelines, so that a run is equal to theirs bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from studio.core.errors import RequestError
from studio.models.families.hunyuan_video_layout import NAMES, HunyuanVideoLayout, as_text
from studio.models.family import Conditions, PromptEmbeds
from studio.sampling.guidance import cfg

if TYPE_CHECKING:
    from studio.sampling.stepper import Step

    Text = dict[str, torch.Tensor]


class HunyuanVideoDenoiser:
    """A `Denoise` over one transformer, under `conditions`."""

    def __init__(
        self,
        transformer: Any,
        conditions: Conditions,
        layout: HunyuanVideoLayout,
        embedded: float,
        true: float,
    ) -> None:
        """`embedded`: the guidance input; `true`: scale of real guidance, none at 1 or less."""
        self._transformer = transformer
        self._conditions = conditions
        self._layout = layout
        self._embedded = embedded
        self._true = true

    @torch.no_grad()
    def __call__(self, x: torch.Tensor, step: Step, frames: Sequence[int]) -> torch.Tensor:
        """The guided prediction for the window `frames`, on the device of x."""
        model = self._transformer
        embeds = self._conditions.prompts(frames)
        inputs = self._inputs(x, frames)
        if inputs.shape[1] != model.config.in_channels:
            raise RequestError(
                f"the HunyuanVideo transformer takes {model.config.in_channels} channels (got "
                f"{inputs.shape[1]}); encode frames with the VAE first, and pick the preset that "
                "the weights belong to"
            )
        inputs = inputs.to(model.device, model.dtype)
        timestep = step.timestep.to(model.device).expand(len(x)).to(x.dtype)
        cond = self._forward(inputs, timestep, self._text(embeds))
        if self._true <= 1.0 or embeds.negative is None:
            return cond.to(x.device)
        uncond = self._forward(inputs, timestep, self._text(embeds, negative=True))
        return cfg(cond, uncond, self._true).to(x.device)

    def _inputs(self, x: torch.Tensor, frames: Sequence[int]) -> torch.Tensor:
        """What the transformer sees instead of x."""
        pins = self._conditions.pins
        if self._layout.condition == "none":
            return x
        rows = self._conditions.rows(frames)
        if self._layout.condition == "latent_concat":
            return torch.cat([x, pins.extras["condition"][:, :, rows].to(x)], dim=1)
        # Only the window's first frame is at timestep 0; a longer prefix follows the noise level.
        return torch.cat([pins.clean[:, :, rows[:1]].to(x), x[:, :, 1:]], dim=2)

    def _text(self, embeds: PromptEmbeds, *, negative: bool = False) -> Text:
        texts = self._conditions.pins.extras.get("texts")
        chosen = embeds.negative if negative else embeds.positive
        assert chosen is not None
        if texts is None:
            before = "negative_" if negative else ""
            more = {name: embeds.extras[f"{before}{name}"] for name in NAMES[1:]}
            return {"embeds": chosen, **more}
        found: Text = texts[f"negative:{as_text(chosen)}" if negative else as_text(chosen)]
        return found

    def _forward(self, inputs: torch.Tensor, timestep: torch.Tensor, text: Text) -> torch.Tensor:
        self._conditions.on_forward(1)
        guidance = None
        if self._layout.has_guidance or not self._layout.sees_image:
            one = torch.tensor([self._embedded], dtype=inputs.dtype, device=inputs.device)
            guidance = one * 1000.0
        predicted: torch.Tensor = self._transformer(
            hidden_states=inputs,
            timestep=timestep,
            encoder_hidden_states=text["embeds"].to(inputs),
            encoder_attention_mask=text["mask"].to(inputs),
            pooled_projections=text["pooled"].to(inputs),
            guidance=guidance,
            return_dict=False,
        )[0]
        return predicted
