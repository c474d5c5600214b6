"""CogVideoX 2B and 5B, 1.5, and their image-to-video checkpoints, on diffusers' components.

Which one a folder holds is read from the transformer's configuration (`cogvideox_layout`). The
published order of axes is [B, T, C, h, w]; noise is drawn in it and turned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from studio.core.plan import Plan
from studio.core.preset import Preset
from studio.core.request import Lora
from studio.models.families.cogvideox_layout import check_given, lead_frames, read_layout
from studio.models.families.diffusers_parts import PartsFolder
from studio.models.family import Conditions, Given, Pins, PromptEmbeds
from studio.models.weights import find_folder

if TYPE_CHECKING:
    import torch

    from studio.models.component import ComponentSpec
    from studio.models.families.stock_text import StockText
    from studio.models.families.window_decoder import WindowDecoder
    from studio.models.family import Frames
    from studio.models.manager import ModelManager
    from studio.sampling.loop import Denoise


def create(preset: Preset, loras: Sequence[Lora] = ()) -> CogVideoXFamily:
    """The family for `preset`; finds the weights, loads nothing."""
    return CogVideoXFamily(preset, loras)


class CogVideoXFamily:
    """One CogVideoX checkpoint."""

    pin_renoise = True

    def __init__(self, preset: Preset, loras: Sequence[Lora] = ()) -> None:
        self.preset = preset
        self._loras = tuple(loras)
        self.parts = PartsFolder(find_folder(preset), str(preset.options.get("dtype", "")))
        self.layout = read_layout(preset, self.parts)

    def components(self) -> dict[str, ComponentSpec]:
        """The parts by kind; nothing is loaded."""
        return self._components

    @cached_property
    def _components(self) -> dict[str, ComponentSpec]:
        finish = _tile if self.preset.options.get("vae_tiling") else _leave
        return {
            "transformer": self.parts.spec("transformer", loras=self._loras),
            "vae": self.parts.spec("vae", dtype="float32", finish=finish),
            "text_encoder": self.parts.spec("text_encoder"),
            "tokenizer": self.parts.spec("tokenizer"),
        }

    @cached_property
    def _text(self) -> StockText:
        from studio.models.families.stock_text import StockText

        parts = self.components()
        return StockText(
            "CogVideoXPipeline",
            {name: parts[name] for name in ("tokenizer", "text_encoder")},
            ("embeds", "negative"),
            {
                "do_classifier_free_guidance": False,
                "max_sequence_length": self.preset.limits.max_prompt_tokens,
            },
        )

    def encode_prompts(
        self, models: ModelManager, prompts: Sequence[str], negative: str, guidance: float
    ) -> list[PromptEmbeds]:
        """One a prompt; taken from the disk cache where it was encoded before."""
        guided = guidance > 1.0
        made = self._text.encode(models, [*prompts, *([negative] if guided else [])])
        against = made[negative]["embeds"] if guided else None
        return [PromptEmbeds(made[prompt]["embeds"], against) for prompt in prompts]

    def encode_frames(self, models: ModelManager, frames: Frames) -> torch.Tensor:
        """Scaled latents [1, C, T', h, w] of frames [T, H, W, 3]: the mode, no draw."""
        return self._encode(models, frames, None).float().cpu() * self._scale(models)

    def _encode(
        self, models: ModelManager, frames: Frames, generator: torch.Generator | None
    ) -> torch.Tensor:
        """Latents as the VAE gives them; drawn where there is a generator."""
        import torch

        from studio.models.families.wan_vae import frames_to_video

        with models.use(self.components()["vae"]) as vae, torch.no_grad():
            video = frames_to_video(frames).to(vae.device, vae.dtype)
            found = vae.encode(video).latent_dist
            made: torch.Tensor = found.mode() if generator is None else found.sample(generator)
            return made

    def _scale(self, models: ModelManager) -> float:
        with models.use(self.components()["vae"]) as vae:
            return float(vae.config.scaling_factor)

    def pins(self, models: ModelManager, plan: Plan, given: Given) -> Pins:
        """Frames carried over, and the picture as channels of the image-to-video checkpoints.

        Raises:
            RequestError: if the checkpoint does not take what is given.
        """
        import torch

        check_given(self.layout, self.preset.title, plan, given)
        shape = self.latent_shape(plan, given.latent_frames)
        lead = shape[2] - given.latent_frames
        clean, mask = torch.zeros(shape), torch.ones(1, 1, shape[2], 1, 1)
        if given.prefix is not None:
            stop = lead + given.prefix.shape[2]
            clean[:, :, lead:stop] = given.prefix
            clean[:, :, :lead] = given.prefix[:, :, :1]
            mask[:, :, :stop] = 0
        if given.suffix is not None:
            clean[:, :, shape[2] - given.suffix.shape[2] :] = given.suffix
            mask[:, :, shape[2] - given.suffix.shape[2] :] = 0
        extras: dict[str, Any] = {}
        if self.layout.sees_image:
            extras["condition"] = torch.zeros(shape)
            extras["condition"][:, :, :1] = self._picture(models, given)
        return Pins(clean, mask, extras)

    def _picture(self, models: ModelManager, given: Given) -> torch.Tensor:
        """[1, C, 1, h, w]: what the window begins with, in the condition's own scale."""
        scale = self._scale(models)
        if given.prefix is not None:
            start = given.prefix[:, :, :1]
            return start / scale / scale if self.layout.inverse_condition else start
        assert given.image is not None
        drawn = self._encode(models, given.image[None], _seeded(given.seed)).cpu()
        return 1 / scale * drawn if self.layout.inverse_condition else scale * drawn

    def draws(
        self, plan: Plan, given: Given, pins: Pins
    ) -> tuple[torch.Tensor, torch.Generator | None]:
        """(noise as `latent_shape`, the generator for the steps), drawn as the pipelines draw.

        They take a picture's latents from the same generator first.
        """
        import torch

        del pins
        shape = self.latent_shape(plan, given.latent_frames)
        generator = _seeded(given.seed)
        if self.layout.sees_image and given.prefix is None:
            torch.randn((1, shape[1], 1, *shape[3:]), generator=generator)
        turned = (shape[0], shape[2], shape[1], *shape[3:])
        noise = torch.randn(turned, generator=generator).transpose(1, 2).contiguous()
        return noise, generator

    def latent_shape(self, plan: Plan, latent_frames: int) -> tuple[int, ...]:
        """(1, C, T, h, w): so many latent frames, and before them what 1.5 pads with."""
        stride = self.preset.spatial_stride
        # Moving windows are even already, and a frame in front would move with them.
        is_whole = plan.method == "position-shift"
        lead = 0 if is_whole else lead_frames(self.layout, latent_frames)
        frames = latent_frames + lead
        channels = self.preset.latent_channels
        return (1, channels, frames, plan.height // stride, plan.width // stride)

    def scheduler(self, plan: Plan, latent_frames: int) -> tuple[Any, torch.Tensor]:
        """A fresh scheduler and its timesteps, the same for any length."""
        del latent_frames
        scheduler = self.parts.scheduler()
        scheduler.set_timesteps(plan.num_inference_steps)
        return scheduler, scheduler.timesteps

    @contextmanager
    def open_denoiser(self, models: ModelManager, conditions: Conditions) -> Iterator[Denoise]:
        """The denoiser, guidance inside; its transformer stays in memory until the block ends."""
        from studio.models.families.cogvideox_denoise import CogVideoXDenoiser

        dynamic = bool(self.preset.options.get("use_dynamic_cfg", False))
        with models.use(self.components()["transformer"]) as transformer:
            yield CogVideoXDenoiser(transformer, conditions, self.preset.spatial_stride, dynamic)

    @contextmanager
    def decoder(self, models: ModelManager) -> Iterator[WindowDecoder]:
        """A decoder with an empty memory; the VAE stays until the block ends."""
        from studio.models.families.window_decoder import WindowDecoder

        with models.use(self.components()["vae"]) as vae:
            yield WindowDecoder(vae, self.preset.rule.stride, odd=True)

    def preview(self, models: ModelManager, x0: torch.Tensor) -> Frames | None:
        """The frame of one latent frame from the middle."""
        with self.decoder(models) as decoder:
            return decoder.push(x0[:, :, x0.shape[2] // 2 :][:, :, :1])


def _seeded(seed: int | None) -> torch.Generator | None:
    import torch

    return None if seed is None else torch.Generator("cpu").manual_seed(seed)


def _tile(vae: Any) -> None:
    vae.enable_tiling()


def _leave(_vae: Any) -> None:
    """Nothing is done."""
