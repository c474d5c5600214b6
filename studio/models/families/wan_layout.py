"""Which Wan a folder holds, read from its configuration files before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from studio.core.errors import PresetError, RequestError, WeightsError
from studio.core.preset import Preset
from studio.models.families.diffusers_parts import PRIOR, PartsFolder

Condition = Literal["none", "latents", "video", "tokens"]
"""How the transformer learns what is given. none: not at all (T2V); video: channels with the
encoding of a video that is grey where nothing is given (Wan I2V, FLF2V); latents: channels with
the given latents themselves (pocket); tokens: clean latents at timestep 0 (TI2V-5B)."""

OPTIONS = {
    "condition",
    "dtype",
    "boundary_ratio",
    "batch_guidance",
    "transformer_file",
    "transformer_2_file",
}
CLIP_TOKENS = 512


@dataclass(frozen=True)
class WanLayout:
    """The facts of one Wan checkpoint that decide how it is driven."""

    condition: Condition
    latent_channels: int
    patch: tuple[int, int, int]
    sees_images: bool
    """Whether the transformer takes CLIP features (Wan 2.1 I2V and FLF2V)."""
    sees_last_image: bool
    """Whether it takes those of two pictures (Wan 2.1 FLF2V), and only of two."""
    experts: tuple[str, ...]
    boundary: float | None
    """Timestep from which on the first expert works, the second below."""
    max_tokens: int
    has_prior: bool
    """Whether a linear denoiser stands around the transformer (pocket)."""
    batch_guidance: bool
    """Whether both guidance branches go through the transformer at once."""


def read_layout(preset: Preset, parts: PartsFolder) -> WanLayout:
    """The layout of the preset's folder.

    Raises:
        PresetError: for options that Wan does not have, and for a prompt length that a
            transformer with CLIP features would silently get wrong.
        WeightsError: if a configuration file is missing.
    """
    unknown = sorted(set(preset.options) - OPTIONS)
    if unknown:
        raise PresetError(
            f"preset {preset.id!r}: Wan has no option {unknown[0]!r}; "
            f"choose from {', '.join(sorted(OPTIONS))}"
        )
    index = parts.index()
    experts = tuple(p for p in ("transformer", "transformer_2") if parts.has(p))
    config = parts.config(experts[0] if experts else "transformer")
    if config.get("_class_name") != "WanTransformer3DModel":
        raise WeightsError(
            f"{parts.folder} holds {config.get('_class_name') or 'no transformer'}, which is not "
            f"what {preset.title} is made of; pick the preset that these weights belong to"
        )
    sees_images = config.get("image_dim") is not None
    tokens = preset.limits.max_prompt_tokens
    if sees_images and tokens != CLIP_TOKENS:
        raise PresetError(
            f"preset {preset.id!r}: a Wan model with CLIP features reads {CLIP_TOKENS} prompt "
            f"tokens (got {tokens}); set max_prompt_tokens = {CLIP_TOKENS}"
        )
    has_prior = (parts.folder / "transformer" / PRIOR).is_file()
    ratio = preset.options.get("boundary_ratio", index.get("boundary_ratio"))
    return WanLayout(
        condition=_condition(preset, parts, config, index),
        latent_channels=preset.latent_channels,
        patch=tuple(config.get("patch_size", (1, 2, 2))),
        sees_images=sees_images,
        sees_last_image=config.get("pos_embed_seq_len") is not None,
        experts=experts,
        boundary=None if ratio is None or len(experts) < 2 else _train_steps(parts) * float(ratio),
        max_tokens=tokens,
        has_prior=has_prior,
        batch_guidance=bool(preset.options.get("batch_guidance", has_prior)),
    )


def check_pictures(layout: WanLayout, title: str, has_first: bool, has_last: bool) -> None:
    """Raises RequestError if the checkpoint does not take these pictures."""
    if has_first and layout.condition == "none":
        raise RequestError(
            f"{title} makes video from text alone; drop the picture or pick another preset"
        )
    if has_last and layout.sees_images and not layout.sees_last_image:
        raise RequestError(
            f"{title} was not trained with a last frame; drop it or pick an FLF2V preset"
        )
    if has_last and layout.condition == "tokens":
        raise RequestError(f"{title} takes no last frame; drop it or pick an FLF2V preset")
    if layout.sees_last_image and not has_last:
        raise RequestError(f"{title} needs a first and a last frame; add the last frame")


def _train_steps(parts: PartsFolder) -> int:
    from studio.models.weights import read_config

    config = read_config(parts.folder / "scheduler", "scheduler_config.json")
    return int(config.get("num_train_timesteps", 1000))


def _condition(
    preset: Preset, parts: PartsFolder, config: dict[str, Any], index: dict[str, Any]
) -> Condition:
    chosen = preset.options.get("condition")
    if chosen is not None:
        kinds: dict[str, Condition] = {k: k for k in ("none", "latents", "video", "tokens")}
        if chosen not in kinds:
            raise PresetError(
                f"preset {preset.id!r}: condition is one of {', '.join(kinds)} (got {chosen!r})"
            )
        return kinds[chosen]
    if index.get("expand_timesteps"):
        return "tokens"
    if config.get("in_channels") == preset.latent_channels:
        return "none"
    # The pocket model has a prior beside its transformer; published checkpoints do not.
    return "latents" if (parts.folder / "transformer" / PRIOR).is_file() else "video"
