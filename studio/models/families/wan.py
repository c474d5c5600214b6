"""Wan 2.1, Wan 2.2 and the pocket model, on diffusers' transformer and VAE.

T2V, I2V with CLIP features, FLF2V, the two-expert A14B models, TI2V-5B with its per-token
timesteps: which one a folder holds is read from its configuration (`wan_layout`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from studio.core.plan import Plan
from studio.core.preset import Preset
from studio.core.request import Lora
from studio.models.families.diffusers_parts import PartsFolder
from studio.models.families.prompt_text import TextEncoder
from studio.models.families.wan_layout import WanLayout, check_pictures, read_layout
from studio.models.family import Conditions, Given, Pins, PromptEmbeds
from studio.models.lora import for_expert
from studio.models.weights import find_folder

if TYPE_CHECKING:
    import torch

    from studio.models.component import ComponentSpec
    from studio.models.family import Frames, StreamDecoder
    from studio.models.manager import ModelManager
    from studio.sampling.loop import Denoise


def create(preset: Preset, loras: Sequence[Lora] = ()) -> WanFamily:
    """The family for `preset`; finds the weights, loads nothing."""
    return WanFamily(preset, loras)


def _prepare_vae(vae: Any) -> None:
    from studio.models.families.wan_vae import speed_up_decoder

    speed_up_decoder(vae)


class WanFamily:
    """One Wan checkpoint."""

    def __init__(self, preset: Preset, loras: Sequence[Lora] = ()) -> None:
        self.preset = preset
        self._loras = tuple(loras)
        files = {
            name.removesuffix("_file"): Path(str(path)).expanduser()
            for name, path in preset.options.items()
            if name.endswith("_file")
        }
        dtype = str(preset.options.get("dtype", ""))
        self.parts = PartsFolder(find_folder(preset), dtype, files)
        self.layout: WanLayout = read_layout(preset, self.parts)
        self.pin_renoise = self.layout.condition != "tokens"

    def components(self) -> dict[str, ComponentSpec]:
        """The parts by kind; nothing is loaded."""
        return self._components

    @cached_property
    def _components(self) -> dict[str, ComponentSpec]:
        count = len(self.layout.experts)
        found = {
            part: self.parts.spec(
                part, loras=[x for x in self._loras if for_expert(x, index, count)]
            )
            for index, part in enumerate(self.layout.experts)
        }
        found["vae"] = self.parts.spec("vae", dtype="float32", finish=_prepare_vae)
        found["text_encoder"] = self.parts.spec("text_encoder")
        found["tokenizer"] = self.parts.spec("tokenizer")
        if self.layout.has_prior:
            found["prior"] = self.parts.prior_spec()
        if self.layout.sees_images:
            found["image_encoder"] = self.parts.spec("image_encoder", dtype="float32")
            found["image_processor"] = self.parts.spec("image_processor")
        return found

    @cached_property
    def _code(self) -> dict[str, Any] | None:
        from studio.models.families.wan_preview import load_code

        return load_code(self.parts.folder / "vae")

    def encode_prompts(
        self, models: ModelManager, prompts: Sequence[str], negative: str, guidance: float
    ) -> list[PromptEmbeds]:
        """One a prompt; taken from the disk cache where it was encoded before."""
        parts = self.components()
        text = TextEncoder(parts["tokenizer"], parts["text_encoder"], self.layout.max_tokens)
        guided = guidance > 1.0
        made = text.encode(models, [*prompts, *([negative] if guided else [])])
        return [PromptEmbeds(made[p], made[negative] if guided else None) for p in prompts]

    def check_pictures(self, count: int) -> None:
        """Raises RequestError if the checkpoint does not take so many pictures."""
        check_pictures(self.layout, self.preset.title, count > 0, count > 1)

    def encode_frames(self, models: ModelManager, frames: Frames) -> torch.Tensor:
        """Normalised latents [1, C, T', h, w] of frames [T, H, W, 3]."""
        from studio.models.families.wan_vae import encode_video, frames_to_video

        with models.use(self.components()["vae"]) as vae:
            return encode_video(vae, frames_to_video(frames)).cpu()

    def pins(self, models: ModelManager, plan: Plan, given: Given) -> Pins:
        """What is given, encoded in this checkpoint's way.

        Raises:
            RequestError: if the checkpoint does not take the pictures.
        """
        from studio.models.families import wan_pins

        layout = self.layout
        has_first, has_last = bool(given.references), len(given.references) > 1
        check_pictures(layout, self.preset.title, has_first, has_last)
        own = layout.condition in ("latents", "tokens")
        first = last = None
        if own and given.image is not None and given.prefix is None:
            first = self.encode_frames(models, given.image[None])
        if own and given.last_image is not None:
            last = self.encode_frames(models, given.last_image[None])
        shape = self.latent_shape(plan, given.latent_frames)
        clean, mask = wan_pins.known_latents(given, shape, first)
        extras: dict[str, Any] = {}
        if layout.condition == "latents":
            extras["condition"] = wan_pins.latents_condition(clean, mask, last)
        elif layout.condition == "video":
            with models.use(self.components()["vae"]) as vae:
                size = (plan.width, plan.height)
                extras["condition"] = wan_pins.video_condition(vae, given, clean, mask, size)
        if layout.sees_images and given.references:
            extras["image_embeds"] = self._image_embeds(models, given)
        return Pins(clean, mask, extras)

    def _image_embeds(self, models: ModelManager, given: Given) -> torch.Tensor:
        from studio.models.families.wan_pins import image_features

        parts = self.components()
        with (
            models.use(parts["image_processor"]) as processor,
            models.use(parts["image_encoder"]) as encoder,
        ):
            return image_features(processor, encoder, given.references)

    def latent_shape(self, plan: Plan, latent_frames: int) -> tuple[int, ...]:
        """(1, C, T, h, w) of that many latent frames."""
        stride = self.preset.spatial_stride
        channels = self.layout.latent_channels
        return (1, channels, latent_frames, plan.height // stride, plan.width // stride)

    def scheduler(self, plan: Plan, latent_frames: int) -> tuple[Any, torch.Tensor]:
        """A fresh scheduler and its timesteps, the same for any length."""
        del latent_frames
        shift = self.preset.defaults.flow_shift
        scheduler = self.parts.scheduler()
        if shift is not None:
            name = "flow_shift" if "flow_shift" in scheduler.config else "shift"
            scheduler = self.parts.scheduler(**{name: shift})
        scheduler.set_timesteps(plan.num_inference_steps)
        return scheduler, scheduler.timesteps

    @contextmanager
    def open_denoiser(self, models: ModelManager, conditions: Conditions) -> Iterator[Denoise]:
        """The denoiser, guidance inside; its transformer stays in memory until the block ends."""
        import torch

        from studio.models.families.wan_denoise import Experts, WanDenoiser

        parts = self.components()
        specs = [parts[name] for name in self.layout.experts]
        experts = Experts(models, specs, self.layout.boundary)
        scale = conditions.plan.guidance_scale
        second = self.preset.defaults.guidance_scale_2
        scales = (scale, scale if second is None else second)
        with ExitStack() as held:
            held.callback(experts.close)
            experts.at(torch.tensor(float("inf")))
            prior = held.enter_context(models.use(parts["prior"])) if "prior" in parts else None
            yield WanDenoiser(self.layout, experts, conditions, scales, prior)

    @contextmanager
    def decoder(self, models: ModelManager) -> Iterator[StreamDecoder]:
        """A decoder with an empty memory; the VAE stays until the block ends."""
        from studio.models.families.wan_tiles import TiledWanDecoder
        from studio.models.families.wan_vae import WanStreamDecoder

        with models.use(self.components()["vae"]) as vae:
            yield TiledWanDecoder(vae) if models.tile_vae else WanStreamDecoder(vae)

    def preview(self, models: ModelManager, x0: torch.Tensor) -> Frames | None:
        """Some frames, quickly: by the linear code, or the first and the middle one decoded."""
        if self._code is not None:
            from studio.models.families.wan_preview import linear_preview

            return linear_preview(self._code, x0)
        with self.decoder(models) as decoder:
            start = decoder.push(x0[:, :, :1])
            later = decoder.push(x0[:, :, x0.shape[2] // 2 :][:, :, :1])
        return np.concatenate([start, later])
