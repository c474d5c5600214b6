"""Ears: Whisper's encoder and Wav2Vec2, from any local folder or hub repository, for any family.

A sound is float32 [samples] at 16 kHz. Whisper's states stand 50 times a second.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from studio.core.errors import WeightsError
from studio.models.weights import read_config, weight_files

if TYPE_CHECKING:
    from torch import Tensor

    from studio.models.component import ComponentSpec
    from studio.models.manager import ModelManager

WANTED = ("config.json", "preprocessor_config.json", "*.safetensors", "*.safetensors.index.json")


def find_ear(source: str, kind: str) -> Path:
    """The folder of `source`: a local one, or a hub repository's copy, fetched where possible.

    `kind` is the model type that its config.json must name, whisper or wav2vec2.

    Raises:
        WeightsError: if it is not here and cannot be fetched (says what to download and where to
            put it), holds no weights, or is another kind of model.
    """
    folder = Path(source).expanduser()
    if not folder.is_dir():
        folder = _from_hub(source, kind)
    found = str(read_config(folder).get("model_type", ""))
    if found != kind:
        raise WeightsError(
            f"{source} holds a model of type {found or 'unknown'!r}, not {kind}; choose another"
        )
    weight_files(folder)
    return folder


def _from_hub(source: str, kind: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return Path(snapshot_download(source, allow_patterns=list(WANTED)))
    except HFValidationError as error:
        raise WeightsError(
            f"there is no folder {source}, and it is no repository's name either; give a folder "
            f"with a {kind} model (config.json, model.safetensors), or owner/name"
        ) from error
    except (HfHubHTTPError, OSError) as error:
        # huggingface_hub's offline and not-found errors are among them.
        home = os.environ.get("HF_HOME", "~/.cache/huggingface")
        raise WeightsError(
            f"{source} is not on this machine and cannot be fetched; download "
            f"https://huggingface.co/{source} (config.json, preprocessor_config.json, "
            f"model.safetensors) into a folder and give its path, or go online once: then it is "
            f"kept in {home}"
        ) from error


@dataclass(frozen=True)
class Whisper:
    """Whisper's encoder in a folder; its parts are loaded through the manager."""

    folder: Path

    @classmethod
    def at(cls, source: str) -> Whisper:
        """From a folder or a hub repository; see `find_ear`."""
        return cls(find_ear(source, "whisper"))

    def components(self) -> Mapping[str, ComponentSpec]:
        """The spectrum and the encoder; nothing is loaded."""
        from studio.models.families.avatar_loading import extractor_spec, whisper_spec

        return {
            "audio_processor": extractor_spec(self.folder),
            "audio_encoder": whisper_spec(self.folder),
        }

    def states(self, models: ModelManager, waveform: np.ndarray[Any, Any]) -> Tensor:
        """[tokens, layers + 1, width]: the embedding and every layer's output."""
        from studio.models.families.hunyuan_avatar_audio import whisper_states

        parts = self.components()
        with (
            models.use(parts["audio_processor"]) as extractor,
            models.use(parts["audio_encoder"]) as encoder,
        ):
            return whisper_states(encoder, extractor, checked(waveform))

    def rows(
        self, models: ModelManager, waveform: np.ndarray[Any, Any], frames: int, fps: float
    ) -> Tensor:
        """[frames, 10, layers + 1, width]: ten tokens, 0.2 s, around each video frame."""
        from studio.models.families.hunyuan_avatar_audio import frame_rows

        return frame_rows(self.states(models, waveform), frames, fps)


@dataclass(frozen=True)
class Wav2Vec2:
    """Wav2Vec2 in a folder."""

    folder: Path

    @classmethod
    def at(cls, source: str) -> Wav2Vec2:
        """From a folder or a hub repository; see `find_ear`."""
        return cls(find_ear(source, "wav2vec2"))

    def components(self) -> Mapping[str, ComponentSpec]:
        """The model; nothing is loaded."""
        from studio.models.families.avatar_loading import wav2vec_spec

        return {"audio_encoder": wav2vec_spec(self.folder)}

    def rows(
        self, models: ModelManager, waveform: np.ndarray[Any, Any], frames: int, fps: float
    ) -> Tensor:
        """[frames, (layers + 2) x width]: all states of each video frame side by side."""
        import torch

        from studio.models.families.omniavatar_audio import wav2vec_rows

        with models.use(self.components()["audio_encoder"]) as model:
            samples = torch.from_numpy(checked(waveform)).to(model.device)
            return wav2vec_rows(model, samples, frames, fps).cpu()


def checked(waveform: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """`waveform` as float32 [samples].

    Raises:
        MediaError: if it is empty, has more than one axis, or holds values that are no numbers.
    """
    from studio.core.errors import MediaError

    samples: np.ndarray[Any, np.dtype[np.float32]] = np.asarray(waveform, np.float32)
    if samples.ndim != 1 or not samples.size or not np.isfinite(samples).all():
        raise MediaError(
            "an ear takes a mono sound of finite samples "
            f"(got {'x'.join(map(str, samples.shape)) or 'nothing'}); mix and clean it first"
        )
    return samples
