"""OmniAvatar: a portrait that speaks, on Wan 2.1 T2V (arXiv 2506.18866).

One speaker. Long clips go on from the last 13 frames, encoded afresh (4 latent frames).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.core.errors import PresetError, RequestError
from studio.core.plan import Plan
from studio.core.preset import Preset
from studio.models.component import ComponentSpec
from studio.models.families.diffusers_parts import PartsFolder, torch_dtype
from studio.models.families.prompt_text import TextEncoder
from studio.models.family import Conditions, Given, Pins, PromptEmbeds
from studio.models.weights import find_folder, fingerprint, read_config, read_header, weight_files

if TYPE_CHECKING:
    import torch

    from studio.models.families.wan_vae import WanStreamDecoder
    from studio.models.family import Frames
    from studio.models.manager import ModelManager
    from studio.sampling.loop import Denoise

OPTIONS = {"dtype", "lora_alpha", "lora_rank", "rounded_timesteps", "flow_shift"}
MAX_TOKENS = 512
PUBLISHED = "pytorch_model.pt"


def create(preset: Preset) -> OmniAvatarFamily:
    """The family for `preset`; finds the weights, loads nothing."""
    return OmniAvatarFamily(preset)


class OmniAvatarFamily:
    """Wan 2.1 T2V with OmniAvatar's weights on top; `adapters` = (OmniAvatar, Wav2Vec2)."""

    pin_renoise = False

    def __init__(self, preset: Preset) -> None:
        from studio.models.families.avatar_parts import adapter_folder

        unknown = sorted(set(preset.options) - OPTIONS)
        if unknown:
            raise PresetError(
                f"preset {preset.id!r}: the omniavatar family does not know the option "
                f"{unknown[0]!r}; it knows {', '.join(sorted(OPTIONS))}"
            )
        self.preset = preset
        self.dtype = str(preset.options.get("dtype", ""))
        self.parts = PartsFolder(find_folder(preset), self.dtype)
        self.adapter = adapter_folder(preset, 0)
        self.hearing = adapter_folder(preset, 1)
        self._heard: tuple[tuple[Path, int], torch.Tensor] | None = None

    def components(self) -> dict[str, ComponentSpec]:
        """The parts by kind; nothing is loaded."""
        return self._components

    @cached_property
    def _components(self) -> dict[str, ComponentSpec]:
        from studio.models.families.avatar_loading import wav2vec_spec

        base = self.parts.spec("transformer")
        mark = fingerprint(sorted(self.adapter.glob("*.safetensors")))
        return {
            "transformer": ComponentSpec(
                key=f"{base.key}:omniavatar:{mark}",
                kind="transformer",
                load=self._load_transformer,
                bytes=base.bytes,
            ),
            "vae": self.parts.spec("vae", dtype="float32"),
            "text_encoder": self.parts.spec("text_encoder"),
            "tokenizer": self.parts.spec("tokenizer"),
            "audio_encoder": wav2vec_spec(self.hearing),
        }

    def _load_transformer(self, device: torch.device) -> Any:
        from studio.models.families import omniavatar_weights as weights
        from studio.models.families.avatar_parts import converted, read_tensors

        options = self.preset.options
        path = self.adapter / "config.json"
        config = read_config(self.adapter) if path.is_file() else {}
        dtype = torch_dtype(self.dtype, device)
        own = converted(self.adapter, PUBLISHED, self.preset.title)
        shapes = {name: entry for path in own for name, entry in read_header(path).items()}
        sizes = weights.audio_sizes(shapes)
        model: Any = weights.empty_transformer(self.parts.config("transformer"), **sizes)
        files = weight_files(self.parts.folder / "transformer")
        weights.load_base(model, read_tensors(files), dtype).require_complete("Wan 2.1 T2V")
        rank = options.get("lora_rank", config.get("lora_rank"))
        weights.load_adapter(
            model,
            read_tensors(own),
            alpha=float(options.get("lora_alpha", config.get("lora_alpha", weights.LORA_ALPHA))),
            rank=None if rank is None else int(rank),
            dtype=dtype,
        ).require_complete("OmniAvatar")
        return model.to(device)

    def encode_prompts(
        self,
        models: ModelManager,
        prompts: Sequence[str],
        negative: str,
        guidance: float,  # noqa: ARG002  # the protocol's
    ) -> list[PromptEmbeds]:
        """One a prompt; taken from the disk cache where it was encoded before.

        The negative prompt is always encoded: the sound may be guided where the text is not.
        """
        parts = self.components()
        text = TextEncoder(parts["tokenizer"], parts["text_encoder"], MAX_TOKENS)
        made = text.encode(models, [*prompts, negative])
        return [PromptEmbeds(made[prompt], made[negative]) for prompt in prompts]

    def encode_frames(self, models: ModelManager, frames: Frames) -> torch.Tensor:
        """Normalised latents [1, C, T', h, w] of frames [T, H, W, 3], encoded as a fresh clip."""
        from studio.models.families.wan_vae import encode_video, frames_to_video

        with models.use(self.components()["vae"]) as vae:
            return encode_video(vae, frames_to_video(frames)).cpu()

    def pins(self, models: ModelManager, plan: Plan, given: Given) -> Pins:
        """The portrait, the prefix (without one, the portrait again) and the sound.

        Raises:
            RequestError: without a portrait, or with more or fewer than one sound.
        """
        from studio.models.families.wan_pins import known_latents

        if not given.references:
            raise RequestError("OmniAvatar needs a portrait; add one with --image")
        if len(given.audio) != 1:
            raise RequestError(
                f"OmniAvatar animates one speaker with one sound (got {len(given.audio)}); "
                "give one, or mix the tracks before"
            )
        reference = self.encode_frames(models, given.references[0][None])
        shape = self.latent_shape(plan, given.latent_frames)
        clean, mask = known_latents(given, shape, reference if given.prefix is None else None)
        extras = {
            "reference": reference,
            "audio_rows": self._audio_rows(models, plan, given.audio[0]),
            "audio_scale": given.audio_guidance_scale,
        }
        return Pins(clean, mask, extras)

    def _audio_rows(self, models: ModelManager, plan: Plan, path: Path) -> torch.Tensor:
        """Wav2Vec2's rows of the whole clip, computed once a clip."""
        import torch

        from studio.models.families.avatar_parts import read_waveform
        from studio.models.families.omniavatar_audio import SAMPLE_RATE, wav2vec_rows

        frames = self.preset.rule.stride * (max(window.stop for window in plan.windows) - 1)
        key = (path, frames)
        if self._heard is None or self._heard[0] != key:
            with models.use(self.components()["audio_encoder"]) as encoder:
                # Frame f hears row f-1. Published clips delay the sound by one frame to match;
                # here the model hears it one frame early and the sound stays where it is.
                heard = read_waveform(path)[round(SAMPLE_RATE / plan.fps) :]
                waveform = torch.from_numpy(heard).to(encoder.device)
                rows = wav2vec_rows(encoder, waveform, max(frames, 1), plan.fps).cpu()
            self._heard = (key, rows)
        return self._heard[1]

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
        from studio.models.families.omniavatar_denoise import Guidance, OmniAvatarDenoiser

        audio_scale = conditions.pins.extras.get("audio_scale")
        guidance = Guidance(conditions.plan.guidance_scale, audio_scale)
        rounded = bool(self.preset.options.get("rounded_timesteps", False))
        with models.use(self.components()["transformer"]) as transformer:
            yield OmniAvatarDenoiser(transformer, conditions, guidance, rounded_timesteps=rounded)

    @contextmanager
    def decoder(self, models: ModelManager) -> Iterator[WanStreamDecoder]:
        """A decoder with an empty memory; the VAE stays until the block ends."""
        from studio.models.families.wan_vae import WanStreamDecoder

        with models.use(self.components()["vae"]) as vae:
            yield WanStreamDecoder(vae)

    def preview(self, models: ModelManager, x0: torch.Tensor) -> Frames | None:
        """The frames of one latent frame from the middle."""
        with self.decoder(models) as decoder:
            return decoder.push(x0[:, :, x0.shape[2] // 2 :][:, :, :1])
