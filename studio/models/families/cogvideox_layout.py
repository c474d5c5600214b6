"""Which CogVideoX a folder holds, read from its configuration before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass

from studio.core.errors import PresetError, RequestError, WeightsError
from studio.core.plan import Plan
from studio.core.preset import Preset
from studio.models.families.diffusers_parts import PartsFolder
from studio.models.family import Given

OPTIONS = {"dtype", "use_dynamic_cfg", "vae_tiling"}
TRANSFORMER = "CogVideoXTransformer3DModel"


@dataclass(frozen=True)
class CogVideoXLayout:
    """The facts of one checkpoint that decide how it is driven."""

    sees_image: bool
    """Whether half of the transformer's channels hold a picture's latents."""
    inverse_condition: bool
    """Whether those are divided by the VAE's factor instead of multiplied (1.5)."""
    patch_frames: int
    """Latent frames of one token: 1, or 2 (1.5)."""
    fixed_size: tuple[int, int] | None
    """(width, height) in latents of learned positions, which know no other."""
    largest: tuple[int, int] | None
    """(width, height) in latents up to which the positions of 1.5 go."""


def read_layout(preset: Preset, parts: PartsFolder) -> CogVideoXLayout:
    """The layout of the preset's folder.

    Raises:
        PresetError: for options or limits that the checkpoint does not have.
        WeightsError: if the folder holds another kind of transformer.
    """
    unknown = sorted(set(preset.options) - OPTIONS)
    if unknown:
        raise PresetError(
            f"preset {preset.id!r}: CogVideoX has no option {unknown[0]!r}; "
            f"choose from {', '.join(sorted(OPTIONS))}"
        )
    config, vae = parts.config("transformer"), parts.config("vae")
    name = config.get("_class_name")
    if name != TRANSFORMER:
        raise WeightsError(
            f"{parts.folder} holds a {name}, not a {TRANSFORMER}; download the weights of "
            f"{preset.title}, or pick the preset that these belong to"
        )
    seen, channels = int(config.get("in_channels", 16)), preset.latent_channels
    if seen not in (channels, 2 * channels):
        raise PresetError(
            f"preset {preset.id!r}: the transformer takes {seen} channels, so latent_channels is "
            f"{seen}, or {seen // 2} for image to video (got {channels}); correct it"
        )
    patch = int(config.get("patch_size_t") or 1)
    if preset.long.window_frames % patch:
        raise PresetError(
            f"preset {preset.id!r}: window_frames is a multiple of {patch} for this transformer "
            f"(got {preset.long.window_frames}); try {preset.long.window_frames + 1}"
        )
    rotary = bool(config.get("use_rotary_positional_embeddings", False))
    learned = bool(config.get("use_learned_positional_embeddings", False))
    _check_prompt(
        preset, int(config.get("max_text_seq_length", 226)), absolute=not rotary or learned
    )
    fixed = (int(config.get("sample_width", 90)), int(config.get("sample_height", 60)))
    return CogVideoXLayout(
        sees_image=seen == 2 * channels,
        inverse_condition=bool(vae.get("invert_scale_latents", False)),
        patch_frames=patch,
        fixed_size=fixed if learned else None,
        largest=fixed if rotary and patch > 1 else None,
    )


def _check_prompt(preset: Preset, most: int, *, absolute: bool) -> None:
    tokens = preset.limits.max_prompt_tokens
    if tokens > most or (absolute and tokens != most):
        raise PresetError(
            f"preset {preset.id!r}: this CogVideoX reads {'' if absolute else 'at most '}{most} "
            f"prompt tokens (got {tokens}); set max_prompt_tokens = {most}"
        )


def lead_frames(layout: CogVideoXLayout, latent_frames: int) -> int:
    """Latent frames that are computed in front so that tokens come out even; dropped in the end."""
    return -latent_frames % layout.patch_frames


def check_given(layout: CogVideoXLayout, title: str, plan: Plan, given: Given) -> None:
    """Raises RequestError if the checkpoint does not take what is given."""
    if given.last_image is not None or len(given.references) > 1:
        raise RequestError(
            f"{title} was not trained with a last frame; drop it or pick an FLF2V preset"
        )
    if given.references and not layout.sees_image:
        raise RequestError(
            f"{title} makes video from text alone; drop the picture or pick another preset"
        )
    if layout.sees_image and given.image is None and given.prefix is None:
        raise RequestError(f"{title} begins with a picture (got none); add one with --image")
    size = (plan.width // 8, plan.height // 8)
    most = layout.largest
    if most is not None and (size[0] > most[0] or size[1] > most[1]):
        raise RequestError(
            f"{title} goes up to {8 * most[0]} pixels wide and {8 * most[1]} high (got "
            f"{plan.width}x{plan.height}); choose a size within that"
        )
    if layout.fixed_size is not None and size != layout.fixed_size:
        wide, high = (8 * side for side in layout.fixed_size)
        raise RequestError(
            f"{title} knows only {wide}x{high} (got {plan.width}x{plan.height}); use that size"
        )
