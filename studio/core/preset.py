"""Presets: one selectable model each, parsed from presets/*.toml and the user's data directory."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from studio.core.errors import PresetError
from studio.core.geometry import FrameRule, parse_rule
from studio.core.request import Carry, Frozen, Mode, sentence

PinStyle = Literal["none", "per_token_timestep", "mask_channels", "overwrite", "renoise"]


class Weights(Frozen):
    """Where the weights are: a folder in the package, a hub repository, or a local folder."""

    source: Literal["embedded", "hub", "local"]
    path: str = ""
    """Embedded: folder below studio/. Local: a folder. Hub: the repository id."""
    revision: str = ""
    licence: str
    licence_url: str = ""
    download_bytes: int = Field(default=0, ge=0)
    adapters: tuple[str, ...] = ()
    """Further weights that the family needs: folders, files or repository ids."""
    files: tuple[str, ...] = ()
    """Patterns of what is fetched of `path`; all settings and safetensors files without."""


class Limits(Frozen):
    """What the model can be asked for."""

    max_seconds: float = Field(default=600.0, gt=0)
    max_steps: int = Field(default=100, ge=1)
    sizes: tuple[tuple[int, int], ...]
    """Native (width, height) pairs; the first is the default."""
    size_multiple: int = Field(default=16, ge=1)
    any_size: bool = False
    max_prompt_tokens: int = Field(default=512, ge=1)
    fps: tuple[float, ...] = ()
    """The frame rates that the model knows; empty: any."""
    max_speakers: int = Field(default=4, ge=1)
    """Sounds of a talking portrait."""


class Defaults(Frozen):
    """What a request that says nothing gets."""

    seconds: float = Field(gt=0)
    fps: float = Field(gt=0)
    num_inference_steps: int = Field(ge=1)
    guidance_scale: float = Field(ge=0)
    guidance_scale_2: float | None = None
    audio_guidance_scale: float | None = None
    negative_prompt: str = ""
    flow_shift: float | None = None


class LongVideo(Frozen):
    """How the model makes clips longer than one window, in latent frames."""

    methods: tuple[Literal["overlap-prefix", "position-shift"], ...] = ()
    window_frames: int = Field(ge=1)
    overlap_frames: int = Field(default=1, ge=1)
    shift_frames: int = Field(default=1, ge=1)
    carry: Carry = "latent"
    full_windows: bool = False
    """The model knows only full windows: less is computed in full and cut, never shortened."""
    reason: str = ""
    """Why a method that is not listed is locked; shown beside the control."""


class Memory(Frozen):
    """Bytes that the model needs, as far as known before it is loaded."""

    transformer_bytes: int = Field(ge=0)
    text_encoder_bytes: int = Field(ge=0)
    vae_bytes: int = Field(ge=0)
    other_bytes: int = Field(default=0, ge=0)
    activation_bytes: int = Field(default=0, ge=0)

    @property
    def weights_bytes(self) -> int:
        """All weights together."""
        return self.transformer_bytes + self.text_encoder_bytes + self.vae_bytes + self.other_bytes


class Preset(Frozen):
    """A model as the user picks it."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=80)
    title: str
    description: str = ""
    family: str
    modes: tuple[Mode, ...] = Field(min_length=1)
    frame_rule: str
    spatial_stride: int = Field(ge=1)
    latent_channels: int = Field(ge=1)
    pin: PinStyle = "none"
    guidance: Literal["cfg", "embedded"] = "cfg"
    """"embedded": the scale is an input of the model, and a step costs one forward."""
    prompt_words: tuple[int, int] = (0, 200)
    prompt_language: Literal["en", "zh", "any"] = "any"
    weights: Weights
    defaults: Defaults
    limits: Limits
    long: LongVideo
    memory: Memory
    options: dict[str, Any] = Field(default_factory=dict)
    """Settings that only the family understands; it refuses those it does not know."""

    @model_validator(mode="after")
    def _consistent(self) -> Preset:
        rule = self.rule
        frames = rule.nearest(self.defaults.seconds * self.defaults.fps)
        if self.defaults.num_inference_steps > self.limits.max_steps:
            raise ValueError(
                f"default steps {self.defaults.num_inference_steps} exceed the preset's own limit "
                f"{self.limits.max_steps}; lower the default or raise the limit"
            )
        if self.defaults.seconds > self.limits.max_seconds:
            raise ValueError(
                f"default seconds {self.defaults.seconds} exceed the preset's own limit "
                f"{self.limits.max_seconds}; lower the default or raise the limit"
            )
        if not self.long.methods and rule.latent_frames(frames) > self.long.window_frames:
            raise ValueError(
                f"the default length needs {rule.latent_frames(frames)} latent frames but a window "
                f"has {self.long.window_frames} and no long-video method is listed"
            )
        if self.long.overlap_frames >= self.long.window_frames > 1:
            raise ValueError("overlap_frames must be less than window_frames; lower it")
        return self

    @property
    def rule(self) -> FrameRule:
        """The frame rule, parsed."""
        return parse_rule(self.frame_rule)


def parse_preset(text: str, where: str) -> Preset:
    """The preset in a TOML text.

    Raises:
        PresetError: for TOML errors, unknown keys and defaults outside the limits; names `where`.
    """
    try:
        return Preset.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise PresetError(f"{where} is not TOML: {error}; correct the file") from error
    except ValidationError as error:
        raise PresetError(f"{where}: {sentence(error)}") from error


def load_presets(folders: Iterable[Path]) -> dict[str, Preset]:
    """All presets of `folders` by id; a later folder may not redefine an earlier id.

    Raises:
        PresetError: for a file that is not usable or an id that is there twice.
    """
    found: dict[str, Preset] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.toml")):
            preset = parse_preset(path.read_text(encoding="utf-8"), path.name)
            if preset.id in found:
                raise PresetError(f"{path.name}: the id {preset.id!r} is taken; choose another")
            found[preset.id] = preset
    return found


def find_preset(presets: dict[str, Preset], name: str) -> Preset:
    """The preset called `name`.

    Raises:
        PresetError: if there is none; the message names those that are written alike, else all.
    """
    if name not in presets:
        alike = get_close_matches(name, presets, 3)
        known = ", ".join(alike or sorted(presets))
        raise PresetError(f"there is no preset {name!r}; choose one of: {known}")
    return presets[name]
