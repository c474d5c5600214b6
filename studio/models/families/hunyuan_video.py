"""HunyuanVideo, text to video and image to video, on diffusers' components.

Guidance is an input of the distilled transformers (preset: guidance = "embedded"); a preset with
guidance = "cfg" gets true guidance, and `embedded_guidance` as that input. The image checkpoints
read the prompt with the picture in view, so a prompt is text until the picture is there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from studio.core.plan import Plan
from studio.core.preset import Preset
from studio.core.request import Lora
from studio.models.families.diffusers_parts import PartsFolder
from studio.models.families.hunyuan_video_layout import (
    NAMES,
    as_tokens,
    check_given,
    read_layout,
    set_timesteps,
    text_options,
)
from studio.models.family import Conditions, Given, Pins, PromptEmbeds
from studio.models.weights import find_folder

if TYPE_CHECKING:
    import torch

    from studio.models.component import ComponentSpec
    from studio.models.families.stock_text import StockText, Text
    from studio.models.families.window_decoder import WindowDecoder
    from studio.models.family import Frames
    from studio.models.manager import ModelManager
    from studio.sampling.loop import Denoise

NOISE_SHARE = 0.999
"""Of the noise that an image checkpoint begins with; the rest is the picture's latents."""


def create(preset: Preset, loras: Sequence[Lora] = ()) -> HunyuanVideoFamily:
    """The family for `preset`; finds the weights, loads nothing."""
    return HunyuanVideoFamily(preset, loras)


class HunyuanVideoFamily:
    """One HunyuanVideo checkpoint."""

    pin_renoise = True

    def __init__(self, preset: Preset, loras: Sequence[Lora] = ()) -> None:
        self.preset = preset
        self._loras = tuple(loras)
        self.parts = PartsFolder(find_folder(preset), str(preset.options.get("dtype", "")))
        self.layout = read_layout(preset, self.parts)
        self._asked: dict[str, None] = {}
        self._against: dict[str, None] = {}

    def components(self) -> dict[str, ComponentSpec]:
        """The parts by kind; nothing is loaded."""
        return self._components

    @cached_property
    def _components(self) -> dict[str, ComponentSpec]:
        tiled = bool(self.preset.options.get("vae_tiling", True))
        text = ["text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"]
        if self.layout.sees_image:
            text.append("image_processor")
        return {
            "transformer": self.parts.spec("transformer", loras=self._loras),
            "vae": self.parts.spec("vae", dtype="float32", finish=_tile if tiled else _leave),
            **{part: self.parts.spec(part) for part in text},
        }

    @cached_property
    def _text(self) -> StockText:
        from studio.models.families.stock_text import StockText

        specs = self.components()
        parts = {k: spec for k, spec in specs.items() if k not in ("transformer", "vae")}
        middle = "ImageToVideo" if self.layout.sees_image else ""
        return StockText(f"HunyuanVideo{middle}Pipeline", parts, NAMES, text_options(self.preset))

    def encode_prompts(
        self, models: ModelManager, prompts: Sequence[str], negative: str, guidance: float
    ) -> list[PromptEmbeds]:
        """One a prompt; with an image checkpoint only their letters, read later by `pins`."""
        guided = self.preset.guidance == "cfg" and guidance > 1.0
        if self.layout.sees_image:
            self._asked |= dict.fromkeys(prompts)
            against = as_tokens(negative) if guided else None
            if guided:
                self._against[negative] = None
            return [PromptEmbeds(as_tokens(prompt), against) for prompt in prompts]
        made = self._text.encode(models, [*prompts, *([negative] if guided else [])])
        embeds = []
        for prompt in prompts:
            extras = {name: made[prompt][name] for name in NAMES[1:]}
            if guided:
                extras |= {f"negative_{name}": made[negative][name] for name in NAMES[1:]}
            against = made[negative]["embeds"] if guided else None
            embeds.append(PromptEmbeds(made[prompt]["embeds"], against, extras))
        return embeds

    def encode_frames(self, models: ModelManager, frames: Frames) -> torch.Tensor:
        """Scaled latents [1, C, T', h, w] of frames [T, H, W, 3]: the mode, no draw."""
        from studio.models.families.hunyuan_avatar_vae import encode_clip

        with models.use(self.components()["vae"]) as vae:
            return encode_clip(vae, frames).cpu()

    def pins(self, models: ModelManager, plan: Plan, given: Given) -> Pins:
        """Frames carried over; of image checkpoints the picture and the prompts that saw it.

        Raises:
            RequestError: if the checkpoint does not take what is given.
        """
        import torch

        layout = self.layout
        check_given(layout, self.preset.title, given)
        shape = self.latent_shape(plan, given.latent_frames)
        lead = layout.lead_frames
        clean, mask = torch.zeros(shape), torch.ones(1, 1, shape[2], 1, 1)
        extras: dict[str, Any] = {}
        if given.prefix is not None:
            stop = lead + given.prefix.shape[2]
            clean[:, :, lead:stop] = given.prefix
            mask[:, :, lead:stop] = 0
        if given.suffix is not None:
            clean[:, :, shape[2] - given.suffix.shape[2] :] = given.suffix
            mask[:, :, shape[2] - given.suffix.shape[2] :] = 0
        if layout.sees_image:
            start = self._start(models, given)
            extras = {"start": start, "texts": self._texts(models, plan, given.references[0])}
            if layout.condition == "token_replace":
                clean[:, :, :1] = start
                mask[:, :, :1] = 0
            else:
                channels = torch.zeros(1, shape[1] + 1, *shape[2:])
                channels[:, :-1, :1] = start
                channels[:, -1, :1] = 1
                extras["condition"] = channels
        return Pins(clean, mask, extras)

    def _start(self, models: ModelManager, given: Given) -> torch.Tensor:
        """[1, C, 1, h, w]: what the window begins with."""
        if given.prefix is not None:
            return given.prefix[:, :, :1]
        assert given.image is not None
        return self.encode_frames(models, given.image[None])

    def _texts(self, models: ModelManager, plan: Plan, picture: Frames) -> dict[str, Text]:
        """Every prompt read with the picture in view, every negative one with a black picture."""
        from PIL import Image

        seen = hashlib.sha256(picture.tobytes()).hexdigest()
        interleave = int(self.preset.options.get("image_embed_interleave", self.layout.interleave))
        image = Image.fromarray(picture)
        made = self._text.encode(
            models,
            list(self._asked),
            f"{seen}:{picture.shape}:{interleave}",
            image=image,
            image_embed_interleave=interleave,
        )
        black = Image.new("RGB", (plan.width, plan.height), 0)
        # The pipelines leave the interleave of negative prompts at its default.
        against = self._text.encode(models, list(self._against), f"black:{black.size}", image=black)
        return {**made, **{f"negative:{text}": found for text, found in against.items()}}

    def draws(
        self, plan: Plan, given: Given, pins: Pins
    ) -> tuple[torch.Tensor, torch.Generator | None]:
        """(what the run begins with, the generator for the steps)."""
        import torch

        generator = torch.Generator("cpu").manual_seed(given.seed or 0)
        noise = torch.randn(self.latent_shape(plan, given.latent_frames), generator=generator)
        start = pins.extras.get("start")
        if start is not None:
            share = torch.tensor([NOISE_SHARE])
            noise = noise * share + start.repeat(1, 1, noise.shape[2], 1, 1) * (1 - share)
        return noise, generator

    def latent_shape(self, plan: Plan, latent_frames: int) -> tuple[int, ...]:
        """(1, C, T, h, w): so many latent frames, and the picture's own before them if it has."""
        stride = self.preset.spatial_stride
        frames = latent_frames + self.layout.lead_frames
        channels = self.preset.latent_channels
        return (1, channels, frames, plan.height // stride, plan.width // stride)

    def scheduler(self, plan: Plan, latent_frames: int) -> tuple[Any, torch.Tensor]:
        """A fresh scheduler and its timesteps, the same for any length."""
        del latent_frames
        shift = self.preset.defaults.flow_shift
        scheduler = self.parts.scheduler()
        if shift is not None:
            name = "flow_shift" if "flow_shift" in scheduler.config else "shift"
            scheduler = self.parts.scheduler(**{name: shift})
        return scheduler, set_timesteps(scheduler, plan.num_inference_steps)

    @contextmanager
    def open_denoiser(self, models: ModelManager, conditions: Conditions) -> Iterator[Denoise]:
        """The denoiser, guidance inside; its transformer stays in memory until the block ends."""
        from studio.models.families.hunyuan_video_denoise import HunyuanVideoDenoiser

        scale = conditions.plan.guidance_scale
        is_true = self.preset.guidance == "cfg"
        embedded = float(self.preset.options.get("embedded_guidance", self.layout.embedded))
        with models.use(self.components()["transformer"]) as transformer:
            yield HunyuanVideoDenoiser(
                transformer,
                conditions,
                self.layout,
                embedded if is_true else scale,
                scale if is_true else 1.0,
            )

    @contextmanager
    def decoder(self, models: ModelManager) -> Iterator[WindowDecoder]:
        """A decoder with an empty memory; the VAE stays until the block ends."""
        from studio.models.families.window_decoder import WindowDecoder

        with models.use(self.components()["vae"]) as vae:
            yield WindowDecoder(vae, self.preset.rule.stride)

    def preview(self, models: ModelManager, x0: torch.Tensor) -> Frames | None:
        """The frame of one latent frame from the middle."""
        with self.decoder(models) as decoder:
            return decoder.push(x0[:, :, x0.shape[2] // 2 :][:, :, :1])


def _tile(vae: Any) -> None:
    """Tiling as published: diffusers would cut every clip into 16 frames."""
    from studio.models.families.hunyuan_avatar_vae import prepare

    prepare(vae)


def _leave(_vae: Any) -> None:
    """Nothing is done."""
