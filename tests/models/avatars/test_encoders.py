"""What the avatars hear, read and look at, before any sampling."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import WhisperConfig

from studio.core.errors import RequestError
from studio.core.request import FaceBox
from studio.models.families.hunyuan_avatar_audio import frame_rows, sound_frames, whisper_states
from studio.models.families.hunyuan_avatar_face import face_mask, loudness_by_frame, mask_in_turn
from studio.models.families.hunyuan_avatar_text import (
    PREFIX,
    expand_image,
    portrait_pixels,
    published_mask,
    see_and_read,
    template,
    tokenise,
)
from studio.models.families.omniavatar_audio import normalise, wav2vec_rows
from tests.models.avatars import tiny_avatars

IMAGE = 4


def wav2vec() -> Any:
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    torch.manual_seed(0)
    config = Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8, 8),
        conv_stride=(16, 20),
        conv_kernel=(16, 20),
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
    )
    return Wav2Vec2Model(config).eval()


def test_rows_are_stretched_between_convolutions_and_transformer() -> None:
    model = wav2vec()
    waveform = torch.randn(16_000, generator=torch.Generator().manual_seed(1))
    rows = wav2vec_rows(model, waveform, 25, 25.0)
    with torch.no_grad():
        heard = model.feature_extractor(normalise(waveform)[None])
        heard = F.interpolate(heard, size=25, mode="linear", align_corners=True)
        hidden, _ = model.feature_projection(heard.transpose(1, 2))
        encoder = model.encoder
        hidden = encoder.layer_norm(hidden + encoder.pos_conv_embed(hidden))
        states = [hidden]
        for layer in encoder.layers:
            hidden = layer(hidden)
            hidden = hidden[0] if isinstance(hidden, tuple) else hidden
            states.append(hidden)
    assert rows.shape == (25, 5 * 16)
    assert torch.equal(rows, torch.cat([states[-1], *states], dim=-1)[0])


def test_a_short_sound_is_filled_with_zeros_after_it_is_normalised() -> None:
    model = wav2vec()
    waveform = torch.randn(8_000, generator=torch.Generator().manual_seed(1))
    longer = wav2vec_rows(model, waveform, 25, 25.0)
    assert longer.shape[0] == 25
    filled = F.pad(normalise(waveform), (0, 8_000))
    with torch.no_grad():
        hook = model.feature_extractor.register_forward_hook(
            lambda _m, _i, out: F.interpolate(out, size=25, mode="linear", align_corners=True)
        )
        expected = model(filled[None]).last_hidden_state[0]
        hook.remove()
    assert torch.equal(longer[:, :16], expected)
    assert not model.feature_extractor._forward_hooks


def test_a_frame_hears_a_fifth_of_a_second_around_it() -> None:
    states = torch.arange(1.0, 61.0).view(60, 1, 1)
    rows = frame_rows(states, 40, 25.0)[..., 0, 0]
    # four zero tokens in front: frame 0 hears tokens -4 to 5, frame 10 tokens 16 to 25
    assert rows[0].tolist() == [0, 0, 0, 0, 1, 2, 3, 4, 5, 6]
    assert rows[10].tolist() == [float(t + 1) for t in range(16, 26)]
    assert rows[39].tolist() == [0.0] * 10
    half = frame_rows(states, 10, 12.5)[..., 0, 0]
    assert torch.equal(half, rows[0:20:2])
    assert sound_frames(16_000, 25.0) == 25


def test_all_of_a_long_sound_is_read() -> None:
    class Ear(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))
            self.config = WhisperConfig(max_source_positions=1500)

        def forward(self, features: Any, output_hidden_states: bool) -> Any:
            states = features.view(1, -1, 1).expand(1, 1500, 2)
            return type("Out", (), {"hidden_states": (states, states)})

    def extractor(piece: Any, sampling_rate: int, return_tensors: str) -> Any:
        return type("In", (), {"input_features": torch.tensor([float(len(piece))])})

    states = whisper_states(Ear(), extractor, np.zeros(70 * 16_000, np.float32))
    assert states.shape == (4500, 2, 2)
    assert states[::1500, 0, 0].tolist() == [480_000, 480_000, 160_000]


def test_the_image_is_one_token_that_becomes_many() -> None:
    tokenizer = tiny_avatars.llama_tokenizer()
    ids, mask = tokenise(tokenizer, "hello", IMAGE, ("{}", 0))
    assert ids.shape == mask.shape == (1, 256)
    length = int(mask.sum())
    assert ids[0, length - 1] == IMAGE
    wide, true_mask = expand_image(ids, mask, IMAGE, 576)
    assert wide.shape == (1, 256 + 575)
    assert int((wide == IMAGE).sum()) == 576
    assert true_mask[0, : length + 575].all()
    assert not true_mask[0, length + 575 :].any()
    quirk = published_mask(mask, 576, 0)
    assert quirk.sum() == true_mask.sum()
    assert quirk[0, length:256].sum() == 0
    assert quirk[0, 256:].all()


def test_published_lengths_are_831_tokens() -> None:
    text, crop = template()
    assert crop == 95
    assert text.count("{}") == 1
    assert crop + 256 - 1 + 576 - crop == 831
    assert PREFIX.endswith(", ")


def test_a_prompt_that_cuts_the_image_off_is_refused() -> None:
    with pytest.raises(RequestError, match="shorten it"):
        tokenise(tiny_avatars.llama_tokenizer(), "word " * 100, IMAGE, ("{}", 0))


def test_states_see_the_portrait() -> None:
    tokenizer = tiny_avatars.llama_tokenizer()
    torch.manual_seed(0)
    model = tiny_avatars.llava(len(tokenizer))
    ids, mask = tokenise(tokenizer, "hello", IMAGE, ("{}", 0))
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (2, 40, 30, 3), dtype=np.uint8)
    first, second = (see_and_read(model, ids, mask, portrait_pixels(p), 10) for p in pictures)
    count = 36
    assert first[0].shape == (1, 256 - 1 + count - 10, 16)
    assert first[1].shape == (1, 256 - 1 + count - 10)
    at = int((ids[0] == IMAGE).nonzero()[0]) - 10
    assert torch.allclose(first[0][:, :at], second[0][:, :at], atol=1e-5)
    assert (first[0][:, at : at + count] - second[0][:, at : at + count]).abs().max() > 1e-3


def test_the_face_is_three_times_its_box() -> None:
    box = FaceBox(x=24, y=16, width=8, height=8)
    mask = face_mask(box, (64, 48), (48, 64))[0, 0, 0]
    # centre (28, 20), half of 3 x 8 is 12: columns 16 to 39, rows 8 to 31
    assert mask.sum() == 24 * 24
    assert mask[8:32, 16:40].all()
    corner = face_mask(FaceBox(x=0, y=0, width=8, height=8), (64, 48), (6, 8))[0, 0, 0]
    assert corner[0, 0] == 1
    assert corner[-1, -1] == 0
    assert face_mask(None, (64, 48), (6, 8)).min() == 1


def test_the_loudest_speaker_has_the_turn() -> None:
    left, right = torch.zeros(1, 1, 1, 2, 2), torch.ones(1, 1, 1, 2, 2)
    tracks = [
        torch.cat([torch.ones(20), torch.zeros(40)]),
        torch.cat([torch.zeros(40), torch.ones(10)]),
    ]
    loudness = loudness_by_frame(tracks, 7, 10)
    mask = mask_in_turn([left, right], loudness)
    # left speaks in frames 0 and 1, keeps the turn in the silence, right speaks in 4 and keeps it
    assert mask[0, 0, :, 0, 0].tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert mask_in_turn([left], loudness[:, :1]) is left
