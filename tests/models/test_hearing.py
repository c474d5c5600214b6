"""Ears from any folder: their states are the model's own, and what is missing is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    Wav2Vec2Config,
    Wav2Vec2Model,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperModel,
)

from studio.core.errors import MediaError, WeightsError
from studio.models.hearing import Wav2Vec2, Whisper, find_ear
from studio.models.manager import ModelManager


def whisper_folder(folder: Path, *, described: bool, positions: int = 1500) -> Path:
    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=8,
        num_mel_bins=16,
        d_model=12,
        encoder_layers=2,
        encoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_layers=1,
        decoder_attention_heads=1,
        decoder_ffn_dim=8,
        max_source_positions=positions,
        max_target_positions=4,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        suppress_tokens=[],
        begin_suppress_tokens=[],
    )
    WhisperModel(config).save_pretrained(folder)
    if described:
        WhisperFeatureExtractor(feature_size=16).save_pretrained(folder)
    return folder


def sound(seconds: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (0.1 * rng.standard_normal(int(16_000 * seconds))).astype(np.float32)


@pytest.mark.parametrize("described", [True, False])
@pytest.mark.parametrize("positions", [1500, 120])
def test_states_are_the_models_own(tmp_path: Path, described: bool, positions: int) -> None:
    folder = whisper_folder(tmp_path / "ear", described=described, positions=positions)
    waveform = sound(2.0)
    states = Whisper.at(str(folder)).states(ModelManager(2**30, "cpu"), waveform)
    extractor = WhisperFeatureExtractor(feature_size=16)
    mel = extractor(waveform, sampling_rate=16_000, return_tensors="pt").input_features
    encoder = WhisperModel.from_pretrained(folder).encoder.eval()
    with torch.no_grad():
        own = encoder(mel[..., : 2 * positions], output_hidden_states=True).hidden_states
    assert states.shape == (positions, 3, 12)
    assert all(torch.equal(states[:, k], own[k][0]) for k in range(3))


def test_a_frame_hears_ten_tokens_around_it(tmp_path: Path) -> None:
    ear = Whisper.at(str(whisper_folder(tmp_path / "ear", described=True)))
    models = ModelManager(2**30, "cpu")
    waveform = sound(2.0)
    states = ear.states(models, waveform)
    rows = ear.rows(models, waveform, 50, 25.0)
    assert rows.shape == (50, 10, 3, 12)
    assert rows[0, :4].eq(0).all()
    assert torch.equal(rows[20], states[36:46])
    slow = ear.rows(models, waveform, 25, 12.5)
    assert torch.equal(slow[10], states[36:46])


def test_wav2vec_gives_a_row_a_frame(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8, 8),
        conv_stride=(160, 2),
        conv_kernel=(160, 2),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
    )
    Wav2Vec2Model(config).save_pretrained(tmp_path / "ear")
    ear = Wav2Vec2.at(str(tmp_path / "ear"))
    rows = ear.rows(ModelManager(2**30, "cpu"), sound(1.0), 25, 25.0)
    assert rows.shape == (25, 4 * 12)
    assert torch.equal(rows[:, :12], rows[:, 36:])  # the last state stands first, too


def test_without_folder_and_network_it_is_said_what_to_get(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsError, match=r"download https://huggingface.co/openai/whisper-tiny"):
        find_ear("openai/whisper-tiny", "whisper")
    with pytest.raises(WeightsError, match="give a folder"):
        find_ear("no/such/folder/here", "whisper")


def test_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    folder = whisper_folder(tmp_path / "ear", described=True)
    with pytest.raises(WeightsError, match="whisper"):
        Wav2Vec2.at(str(folder))


@pytest.mark.parametrize(
    "waveform", [np.zeros(0), np.zeros((2, 8)), np.array([0.0, np.nan]), np.array([np.inf])]
)
def test_what_is_no_sound_is_refused(tmp_path: Path, waveform: np.ndarray) -> None:
    ear = Whisper.at(str(whisper_folder(tmp_path / "ear", described=True)))
    with pytest.raises(MediaError, match="finite samples"):
        ear.states(ModelManager(2**30, "cpu"), waveform)
