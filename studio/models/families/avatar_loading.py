"""The smaller parts of the avatars as the manager takes them: VAE, ears, tokenizers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.core.errors import WeightsError
from studio.models.component import ComponentSpec
from studio.models.families.diffusers_parts import PartsFolder
from studio.models.weights import (
    LoadReport,
    count_elements,
    fingerprint,
    read_config,
    weight_files,
)

if TYPE_CHECKING:
    import torch


def vae_spec(parts: PartsFolder) -> ComponentSpec:
    """HunyuanVideo's VAE, tiled as the avatar was."""
    plain = parts.spec("vae", dtype="float32")

    def load(device: torch.device) -> Any:
        from studio.models.families.hunyuan_avatar_vae import prepare

        return prepare(plain.load(device))

    return ComponentSpec(key=f"{plain.key}:tiled", kind="vae", load=load, bytes=plain.bytes)


def tokenizer_spec(folder: Path, kind: str) -> ComponentSpec:
    """The tokenizer that lies beside a text encoder's weights."""

    def load(_device: torch.device) -> Any:
        from transformers import AutoTokenizer

        try:
            return AutoTokenizer.from_pretrained(
                str(folder), local_files_only=True, padding_side="right"
            )
        except (OSError, ValueError) as error:
            raise WeightsError(
                f"{folder} holds no tokenizer ({str(error).splitlines()[0][:160]}); "
                "download the weights again"
            ) from error

    mark = fingerprint(sorted(folder.glob("tokenizer*")))
    return ComponentSpec(key=f"{kind}:{folder.name}:{mark}", kind=kind, load=load)


def extractor_spec(folder: Path) -> ComponentSpec:
    """Whisper's spectrum; without a description of its own the one that the model asks for."""

    def load(_device: torch.device) -> Any:
        from transformers import WhisperFeatureExtractor

        if not (folder / "preprocessor_config.json").is_file():
            return WhisperFeatureExtractor(feature_size=read_config(folder)["num_mel_bins"])
        return WhisperFeatureExtractor.from_pretrained(str(folder), local_files_only=True)

    return ComponentSpec(key=f"audio_processor:{folder.name}", kind="audio_processor", load=load)


def whisper_spec(folder: Path) -> ComponentSpec:
    """The encoder half of a Whisper checkpoint."""

    def load(device: torch.device) -> Any:
        from transformers import WhisperModel

        return load_base(WhisperModel, folder, "proj_out.").get_encoder().to(device)

    return _hearing(folder, load)


def wav2vec_spec(folder: Path) -> ComponentSpec:
    """Wav2Vec2 without the head that spells."""

    def load(device: torch.device) -> Any:
        from transformers import Wav2Vec2Model

        # masked_spec_embed is for training and lacks in the published file
        return load_base(Wav2Vec2Model, folder, "lm_head.", "masked_spec_embed").to(device)

    return _hearing(folder, load)


def clip_text_spec(folder: Path) -> ComponentSpec:
    """CLIP's text half, alone in its folder or with the other half beside it."""
    other = ("vision_model.", "visual_projection.", "text_projection.", "logit_scale")

    def load(device: torch.device) -> Any:
        from transformers import CLIPTextModel

        return load_base(CLIPTextModel, folder, other).to(device)

    spec = _hearing(folder, load)
    return replace(spec, key=f"text_encoder_2:{spec.key}", kind="text_encoder_2")


def _hearing(folder: Path, load: Any) -> ComponentSpec:
    mark = fingerprint([*sorted(folder.glob("*.json")), *weight_files(folder)])
    size = count_elements(folder) * 4
    return ComponentSpec(key=f"audio_encoder:{mark}", kind="audio_encoder", load=load, bytes=size)


def load_base(kind: Any, folder: Path, head: str | tuple[str, ...], spare: str = "") -> Any:
    """A transformers base model out of a checkpoint with a head, float32, on the CPU.

    Raises:
        WeightsError: if anything but the `head` is left over or anything but `spare` is missing.
    """
    import torch

    try:
        model, info = kind.from_pretrained(
            str(folder),
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            dtype=torch.float32,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise WeightsError(
            f"{folder} cannot be loaded ({str(error).splitlines()[0][:200]}); "
            "download the weights again"
        ) from error
    missing = tuple(sorted(set(info["missing_keys"]) - {spare}))
    unexpected = tuple(sorted(k for k in info["unexpected_keys"] if not k.startswith(head)))
    consumed = len(model.state_dict()) - len(info["missing_keys"])
    LoadReport(consumed, missing, unexpected).require_complete(str(folder))
    return model.eval().requires_grad_(False)
