"""What a family of models offers to the studio, and where families are found.

Shapes: latents [1, C, T, h, w], normalised; masks [1, 1, T, 1, 1], 1 = to make, 0 = given;
frames uint8 [n, H, W, 3].
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from studio.core.errors import PresetError, RequestError
from studio.core.plan import Plan
from studio.core.preset import Preset
from studio.core.request import FaceBox, Lora

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import torch

    from studio.models.component import ComponentSpec
    from studio.models.families.pipeline import Order, Watch
    from studio.models.manager import ModelManager
    from studio.sampling.loop import Denoise

    Frames = np.ndarray[Any, np.dtype[np.uint8]]

FAMILIES = (
    *("wan", "hunyuan_video", "cogvideox", "omniavatar", "hunyuan_avatar", "pocket_avatar"),
    "pipeline",
)


@dataclass(frozen=True)
class PromptEmbeds:
    """A prompt as the transformer reads it; `negative` is None without guidance."""

    positive: torch.Tensor
    negative: torch.Tensor | None = None
    extras: Mapping[str, torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Given:
    """What is known about a stretch of latent frames before it is made.

    The pictures are those that this stretch begins and ends with: None where it does neither.
    `prefix` and `suffix` are latents that are already there.
    """

    latent_frames: int
    image: Frames | None = None
    """[H, W, 3], fitted to the plan's size."""
    last_image: Frames | None = None
    references: tuple[Frames, ...] = ()
    """The request's pictures whatever the stretch, for models that look at them throughout."""
    prefix: torch.Tensor | None = None
    suffix: torch.Tensor | None = None
    audio: tuple[Path, ...] = ()
    faces: tuple[FaceBox, ...] = ()
    audio_guidance_scale: float | None = None
    seed: int | None = None
    """Of the stretch, for families whose encoding of a picture is a draw."""


@dataclass(frozen=True)
class Pins:
    """What was given, in the family's way.

    `clean` [1, C, T, h, w] holds the latents of given frames (anything elsewhere) and `mask`
    says which are given. `extras` is the family's own: condition channels, image embeddings.
    """

    clean: torch.Tensor
    mask: torch.Tensor
    extras: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Conditions:
    """All that a denoiser obeys while it makes the stretch that begins at `first_frame`."""

    plan: Plan
    prompts: Callable[[Sequence[int]], PromptEmbeds]
    """The prompt of a window, chosen by its absolute latent frames."""
    pins: Pins
    first_frame: int = 0
    """Absolute latent frame that index 0 of the pins' tensors stands for."""
    on_forward: Callable[[int], None] = lambda _count: None
    """Told how many window-sized transformer evaluations were just made."""

    def rows(self, frames: Sequence[int]) -> list[int]:
        """Indices into the pins' time axis for absolute latent frames."""
        return [frame - self.first_frame for frame in frames]


class StreamDecoder(Protocol):
    """Latents in, frames out, piece by piece, as if all had come at once."""

    def push(self, latents: torch.Tensor) -> Frames:
        """Frames [n, H, W, 3] of the next latents [1, C, t, h, w]."""
        ...

    def snapshot(self) -> dict[str, torch.Tensor]:
        """The decoder's memory of what came before, to go on from later."""
        ...

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from a snapshot."""
        ...


class Family(Protocol):
    """A kind of model, opened for one preset."""

    preset: Preset
    pin_renoise: bool
    """Whether pinned frames follow the noise level during sampling."""

    def components(self) -> dict[str, ComponentSpec]:
        """The parts by kind; nothing is loaded."""
        ...

    def encode_prompts(
        self, models: ModelManager, prompts: Sequence[str], negative: str, guidance: float
    ) -> list[PromptEmbeds]:
        """One a prompt; taken from the disk cache where it was encoded before."""
        ...

    def encode_frames(self, models: ModelManager, frames: Frames) -> torch.Tensor:
        """Normalised latents [1, C, T', h, w] of frames [T, H, W, 3]."""
        ...

    def pins(self, models: ModelManager, plan: Plan, given: Given) -> Pins:
        """What is given, encoded."""
        ...

    def latent_shape(self, plan: Plan, latent_frames: int) -> tuple[int, ...]:
        """(1, C, T, h, w) of that many latent frames.

        T may be more: the surplus is computed before the clip's first frame and dropped.
        """
        ...

    def scheduler(self, plan: Plan, latent_frames: int) -> tuple[Any, torch.Tensor]:
        """A fresh scheduler with its timesteps set, and those timesteps."""
        ...

    def open_denoiser(
        self, models: ModelManager, conditions: Conditions
    ) -> AbstractContextManager[Denoise]:
        """The denoiser, guidance inside; its transformer stays in memory until the block ends."""
        ...

    def decoder(self, models: ModelManager) -> AbstractContextManager[StreamDecoder]:
        """A decoder with an empty memory; the VAE stays until the block ends."""
        ...

    def preview(self, models: ModelManager, x0: torch.Tensor) -> Frames | None:
        """A few cheap pictures [n, h, w, 3] of predicted latents, or None."""
        ...


@runtime_checkable
class Drawer(Protocol):
    """A family that begins its runs otherwise than with a draw in the order of the axes."""

    def draws(self, plan: Plan, given: Given, pins: Pins) -> tuple[torch.Tensor, Any]:
        """(the latents that the run begins with, the generator of later draws or None)."""
        ...


@runtime_checkable
class ChecksPictures(Protocol):
    """A family whose checkpoints differ in the pictures that they take."""

    def check_pictures(self, count: int) -> None:
        """Raises RequestError if the checkpoint does not take so many; nothing is loaded."""
        ...


@runtime_checkable
class FrameMaker(Protocol):
    """A family that makes a window's frames at once, by a pipeline with a loop of its own.

    It has `preset` and `components` like every family and none of the rest.
    """

    def make_frames(self, models: ModelManager, order: Order, watch: Watch) -> Frames:
        """The window's frames [n, H, W, 3], n >= order.frames, the given picture first."""
        ...


def family_for(preset: Preset, loras: Sequence[Lora] = ()) -> Family:
    """The family of `preset` with `loras` in its transformer, imported on first use.

    Raises:
        PresetError: for a family that the studio does not have.
        RequestError: for LoRAs on a family that does not take them.
    """
    if preset.family not in FAMILIES:
        raise PresetError(
            f"preset {preset.id!r} names the family {preset.family!r}; "
            f"choose one of: {', '.join(FAMILIES)}"
        )
    module = importlib.import_module(f"studio.models.families.{preset.family}")
    opened: Family
    if not loras:
        opened = module.create(preset)
    elif "loras" in inspect.signature(module.create).parameters:
        opened = module.create(preset, loras=loras)
    else:
        raise RequestError(f"{preset.title} takes no LoRA; drop it or choose another preset")
    return opened
