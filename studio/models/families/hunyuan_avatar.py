"""HunyuanVideo-Avatar: a portrait that speaks (arXiv 2505.20156).

The sound moves one face at a time. Long clips are made by position shift, without a limit of 16 s.
No emotion picture: the released weights have no such input.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from studio.core.errors import PresetError, RequestError
from studio.core.plan import Plan
from studio.core.preset import Preset
from studio.models.component import ComponentSpec
from studio.models.families.diffusers_parts import PartsFolder, torch_dtype
from studio.models.family import Conditions, Given, Pins, PromptEmbeds
from studio.models.weights import find_folder, fingerprint

if TYPE_CHECKING:
    import torch

    from studio.models.families.hunyuan_avatar_encode import Encoder
    from studio.models.families.hunyuan_avatar_vae import ContextDecoder
    from studio.models.family import Frames
    from studio.models.manager import ModelManager
    from studio.sampling.loop import Denoise

OPTIONS = {"cache", "dtype", "network", "reference_frames", "template", "transformer_file"}
CACHES = ("none", "published", "scaled")
TRANSFORMER_FILE = "hunyuan-video-t2v-720p/transformers/mp_rank_00_model_states.safetensors"
REFERENCE_FRAMES = 129


def create(preset: Preset) -> HunyuanAvatarFamily:
    """The family for `preset`; finds the weights, loads nothing."""
    return HunyuanAvatarFamily(preset)


class HunyuanAvatarFamily:
    """Tencent's folder as published (converted to safetensors) and a VAE in diffusers' layout."""

    pin_renoise = False

    def __init__(self, preset: Preset) -> None:
        from studio.models.families.avatar_parts import adapter_folder

        check_options(preset)
        self.preset = preset
        self.dtype = str(preset.options.get("dtype", ""))
        root = find_folder(preset)
        self.folder = root / "ckpts" if (root / "ckpts").is_dir() else root
        self.vae_parts = PartsFolder(adapter_folder(preset, 0))

    def components(self) -> dict[str, ComponentSpec]:
        """The parts by kind; nothing is loaded."""
        return self._components

    @cached_property
    def _components(self) -> dict[str, ComponentSpec]:
        from studio.models.families import avatar_loading as loading

        path = self.transformer_path
        parts = PartsFolder(self.folder, self.dtype)
        language = parts.spec("llava_llama_image")
        hearing = self.folder / "whisper-tiny"
        return {
            "transformer": ComponentSpec(
                key=f"transformer:hunyuan-avatar:{fingerprint([path])}:{self.dtype}",
                kind="transformer",
                load=self._load_transformer,
                bytes=path.stat().st_size,
            ),
            "vae": loading.vae_spec(self.vae_parts),
            "text_encoder": language,
            "text_encoder_2": loading.clip_text_spec(self.folder / "text_encoder_2"),
            "tokenizer": loading.tokenizer_spec(self.folder / "llava_llama_image", "tokenizer"),
            "tokenizer_2": loading.tokenizer_spec(self.folder / "text_encoder_2", "tokenizer_2"),
            "audio_encoder": loading.whisper_spec(hearing),
            "audio_processor": loading.extractor_spec(hearing),
        }

    @property
    def transformer_path(self) -> Path:
        """The transformer's one file.

        Raises:
            WeightsError: if it is not there or still a pickle.
        """
        from studio.models.families.avatar_parts import converted

        path = self.folder / str(self.preset.options.get("transformer_file", TRANSFORMER_FILE))
        if not path.is_file():
            name = str(path.with_suffix(".pt").relative_to(self.folder))
            return converted(path.parent, name, self.preset.title)[0]
        return path

    def _load_transformer(self, device: torch.device) -> Any:
        from studio.models.families import hunyuan_avatar_weights as weights
        from studio.models.families.avatar_parts import read_tensors

        model: Any = weights.empty_transformer(self.preset.options.get("network", {}))
        tensors = read_tensors([self.transformer_path], torch_dtype(self.dtype, device))
        weights.load_transformer(model, tensors).require_complete("HunyuanVideo-Avatar")
        return model.to(device)

    @cached_property
    def encoder(self) -> Encoder:
        """Prompts and sounds that this run has encoded."""
        from studio.models.families.hunyuan_avatar_encode import Encoder
        from studio.models.families.hunyuan_avatar_text import template
        from studio.models.weights import read_config

        config = read_config(self.folder / "llava_llama_image")
        token = config["image_token_id" if "image_token_id" in config else "image_token_index"]
        own = self.preset.options.get("template")
        layout = (str(own["text"]), int(own["crop"])) if own else template()
        return Encoder(self.components(), int(token), layout)

    def encode_prompts(
        self, models: ModelManager, prompts: Sequence[str], negative: str, guidance: float
    ) -> list[PromptEmbeds]:
        """Token ids: the language model reads a prompt with the portrait, which comes later."""
        from studio.models.families.hunyuan_avatar_text import PREFIX

        against = self.encoder.tokens(models, negative) if guidance > 1.0 else None
        return [
            PromptEmbeds(self.encoder.tokens(models, PREFIX + prompt), against)
            for prompt in prompts
        ]

    def encode_frames(self, models: ModelManager, frames: Frames) -> torch.Tensor:
        """Scaled latents [1, C, T', h, w] of frames [T, H, W, 3]."""
        from studio.models.families.hunyuan_avatar_vae import encode_clip

        with models.use(self.components()["vae"]) as vae:
            return encode_clip(vae, frames).cpu()

    def pins(self, models: ModelManager, plan: Plan, given: Given) -> Pins:
        """The portrait as a still clip, the prompts that have seen it, the sound and the face.

        Nothing is pinned: the portrait is in view throughout, no frame is a copy of it.

        Raises:
            RequestError: without a portrait or a sound, or without a face for each of many sounds.
        """
        import torch

        from studio.models.families.hunyuan_avatar_encode import face_masks

        if not given.references or not given.audio:
            raise RequestError(
                "HunyuanVideo-Avatar needs a portrait and a sound; add them with --image and "
                "--audio"
            )
        portrait = given.references[0]
        shape = self.latent_shape(plan, given.latent_frames)
        length = int(self.preset.options.get("reference_frames", REFERENCE_FRAMES))
        extras = {
            "texts": self.encoder.texts(models, portrait),
            "ref_latents": self.encode_frames(models, np.stack([portrait] * length)),
            "audio": self.encoder.sound(models, plan, given.audio),
            "face_mask": face_masks(plan, given, (shape[3], shape[4])),
            "fps": plan.fps,
        }
        return Pins(torch.zeros(shape), torch.ones(1, 1, shape[2], 1, 1), extras)

    def latent_shape(self, plan: Plan, latent_frames: int) -> tuple[int, ...]:
        """(1, C, T, h, w) of that many latent frames."""
        stride = self.preset.spatial_stride
        channels = self.preset.latent_channels
        return (1, channels, latent_frames, plan.height // stride, plan.width // stride)

    def scheduler(
        self,
        plan: Plan,
        latent_frames: int,  # noqa: ARG002  # the protocol's
    ) -> tuple[Any, torch.Tensor]:
        """A fresh scheduler with its timesteps set, and those timesteps."""
        from studio.models.families.avatar_parts import flow_schedule

        return flow_schedule(plan.num_inference_steps, self.preset.defaults.flow_shift or 5.0)

    @contextmanager
    def open_denoiser(self, models: ModelManager, conditions: Conditions) -> Iterator[Denoise]:
        """The denoiser, guidance inside; its transformer stays in memory until the block ends."""
        from studio.models.families.hunyuan_avatar_denoise import HunyuanAvatarDenoiser

        with models.use(self.components()["transformer"]) as transformer:
            yield HunyuanAvatarDenoiser(
                transformer,
                conditions,
                conditions.plan.latent_frames,
                guidance=conditions.plan.guidance_scale,
                cache=str(self.preset.options.get("cache", "none")),
            )

    @contextmanager
    def decoder(self, models: ModelManager) -> Iterator[ContextDecoder]:
        """A decoder with an empty memory; the VAE stays until the block ends."""
        from studio.models.families.hunyuan_avatar_vae import ContextDecoder

        with models.use(self.components()["vae"]) as vae:
            yield ContextDecoder(vae)

    def preview(self, models: ModelManager, x0: torch.Tensor) -> Frames | None:
        """The frame of one latent frame from the middle."""
        with self.decoder(models) as decoder:
            return decoder.push(x0[:, :, x0.shape[2] // 2 :][:, :, :1])


def check_options(preset: Preset) -> None:
    """Raises PresetError for options that the family does not have."""
    unknown = sorted(set(preset.options) - OPTIONS)
    if unknown:
        raise PresetError(
            f"preset {preset.id!r}: the hunyuan_avatar family does not know the option "
            f"{unknown[0]!r}; it knows {', '.join(sorted(OPTIONS))}"
        )
    cache = preset.options.get("cache", "none")
    if cache not in CACHES:
        raise PresetError(
            f"preset {preset.id!r}: cache is one of {', '.join(CACHES)} (got {cache!r}); correct it"
        )
