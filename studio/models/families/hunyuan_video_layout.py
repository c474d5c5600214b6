"""Which HunyuanVideo a folder holds, read from its configuration before anything is loaded."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from studio.core.errors import PresetError, RequestError, WeightsError
from studio.core.preset import Preset
from studio.models.families.diffusers_parts import PartsFolder
from studio.models.family import Given

if TYPE_CHECKING:
    import torch

OPTIONS = {"dtype", "embedded_guidance", "image_embed_interleave", "template", "vae_tiling"}
NAMES = ("embeds", "pooled", "mask")
TRANSFORMER = "HunyuanVideoTransformer3DModel"
Condition = Literal["none", "latent_concat", "token_replace"]
INTERLEAVE: dict[Condition, int] = {"none": 1, "latent_concat": 2, "token_replace": 4}


@dataclass(frozen=True)
class HunyuanVideoLayout:
    """The facts of one checkpoint that decide how it is driven.

    condition: none: text alone; token_replace: the first latent frame is the picture's, at
    timestep 0; latent_concat: channels hold the picture's latents, and a latent frame of the
    picture's own is made before the clip and dropped.
    """

    condition: Condition
    has_guidance: bool
    """Whether the transformer takes a guidance scale as an input."""

    @property
    def sees_image(self) -> bool:
        """Whether it begins with a picture."""
        return self.condition != "none"

    @property
    def lead_frames(self) -> int:
        """Latent frames that are computed before the clip and dropped."""
        return 1 if self.condition == "latent_concat" else 0

    @property
    def interleave(self) -> int:
        """Every how many of the picture's tokens the transformer is given."""
        return INTERLEAVE[self.condition]

    @property
    def embedded(self) -> float:
        """diffusers' default of the guidance input."""
        return 1.0 if self.sees_image else 6.0


def read_layout(preset: Preset, parts: PartsFolder) -> HunyuanVideoLayout:
    """The layout of the preset's folder.

    Raises:
        PresetError: for options or channels that the checkpoint does not have.
        WeightsError: if the folder holds another kind of transformer or condition.
    """
    unknown = sorted(set(preset.options) - OPTIONS)
    if unknown:
        raise PresetError(
            f"preset {preset.id!r}: HunyuanVideo has no option {unknown[0]!r}; "
            f"choose from {', '.join(sorted(OPTIONS))}"
        )
    config = parts.config("transformer")
    name = config.get("_class_name")
    if name != TRANSFORMER:
        raise WeightsError(
            f"{parts.folder} holds a {name}, not a {TRANSFORMER}; download the weights of "
            f"{preset.title}, or pick the preset that these belong to"
        )
    kinds: dict[Any, Condition] = {None: "none", **{k: k for k in INTERLEAVE if k != "none"}}
    kind = config.get("image_condition_type")
    if kind not in kinds:
        raise WeightsError(
            f"{parts.folder} conditions on pictures by {kind!r}, which is not known here; "
            f"choose a checkpoint with {', '.join(k for k in INTERLEAVE if k != 'none')}"
        )
    condition = kinds[kind]
    channels, seen = preset.latent_channels, int(config.get("in_channels", 16))
    wanted = 2 * channels + 1 if condition == "latent_concat" else channels
    if seen != wanted:
        raise PresetError(
            f"preset {preset.id!r}: with latent_channels {channels} the transformer would take "
            f"{wanted} channels (got {seen}); correct latent_channels"
        )
    _check_template(preset)
    return HunyuanVideoLayout(condition, bool(config.get("guidance_embeds", False)))


def _check_template(preset: Preset) -> None:
    template = preset.options.get("template")
    if template is None:
        return
    if not isinstance(template, dict) or "{}" not in str(template.get("template", "")):
        raise PresetError(
            f"preset {preset.id!r}: template is a table with the text template = '...{{}}...' and "
            f"crop_start (got {template!r}); correct it"
        )


def text_options(preset: Preset) -> dict[str, Any]:
    """What `encode_prompt` is told of a preset: prompt length, and a template other than stock."""
    options: dict[str, Any] = {"max_sequence_length": preset.limits.max_prompt_tokens}
    if "template" in preset.options:
        options["prompt_template"] = dict(preset.options["template"])
    return options


def check_given(layout: HunyuanVideoLayout, title: str, given: Given) -> None:
    """Raises RequestError if the checkpoint does not take what is given."""
    if given.last_image is not None or len(given.references) > 1:
        raise RequestError(
            f"{title} was not trained with a last frame; drop it or pick an FLF2V preset"
        )
    if given.references and not layout.sees_image:
        raise RequestError(
            f"{title} makes video from text alone; drop the picture or pick another preset"
        )
    begins = given.image is not None or given.prefix is not None
    if layout.sees_image and not (given.references and begins):
        raise RequestError(f"{title} begins with a picture (got none); add one with --image")


def set_timesteps(scheduler: Any, steps: int) -> torch.Tensor:
    """The timesteps of evenly spaced noise levels, shifted by the scheduler.

    Raises:
        WeightsError: for a scheduler that takes no noise levels.
    """
    import numpy as np

    if "sigmas" not in inspect.signature(scheduler.set_timesteps).parameters:
        raise WeightsError(
            f"HunyuanVideo needs a scheduler that takes noise levels (got "
            f"{type(scheduler).__name__}); use FlowMatchEulerDiscreteScheduler in the folder"
        )
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 0.0, steps + 1)[:-1])
    found: torch.Tensor = scheduler.timesteps
    return found


def as_tokens(text: str) -> torch.Tensor:
    """[1, n] bytes of a prompt that is read later."""
    import torch

    return torch.tensor([list(text.encode())], dtype=torch.uint8)


def as_text(tokens: torch.Tensor) -> str:
    """The prompt of `as_tokens`."""
    return bytes(tokens[0].tolist()).decode()
