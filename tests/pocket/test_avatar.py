"""The pocket avatar's training: mouths follow sound, masks, windows, and a step that learns."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import WanTransformer3DModel

from studio.core.errors import MediaError, RequestError, WeightsError
from studio.media.loudness import SPEECH_LEVEL, envelope, levelled
from studio.media.sound import Sound
from studio.models.component import ComponentSpec
from studio.models.families.pocket_avatar import check_speakers, load_avatar
from studio.models.families.pocket_avatar_denoise import PocketAvatarDenoiser
from studio.models.families.pocket_avatar_network import (
    AvatarAdapter,
    AvatarTransformer,
    latent_frames_audio,
    token_masks,
)
from studio.models.family import Conditions, Pins, PromptEmbeds
from studio.models.prior import TokenPrior
from studio.pocket import speech
from studio.pocket.avatar_rows import portrait
from studio.pocket.people import draw_figures
from studio.pocket.train_avatar import AvatarBatch, avatar_loss, save_adapter
from studio.pocket.train_hearing import build_ear
from studio.pocket.vocabulary import Person
from studio.quality.sync import mouth_opening, smooth, sync
from studio.sampling.stepper import Step

ANNE = Person("tan", "long", "brown", "blue", "green", "green")
BEN = Person("dark", "short", "black", "grey", "brown", "green")


def voice(seconds: float = 4.0, loud: float = 0.3) -> Sound:
    """Something with syllables: a band of noise, four times a second, a pause in the middle."""
    rng = np.random.default_rng(3)
    count = int(seconds * 16_000)
    time = np.arange(count) / 16_000
    beats = np.clip(np.sin(2 * np.pi * 1.7 * time), 0, None) ** 2 * (np.abs(time - 2) > 0.4)
    tone = sum(
        np.sin(2 * np.pi * f * time + p)
        for f, p in zip((500, 900, 1700), rng.random(3), strict=True)
    )
    return Sound((loud * beats * tone / 3)[None].astype(np.float32), 16_000)


def test_a_level_is_the_same_however_loud_the_recording() -> None:
    loud, quiet = levelled(voice(loud=0.5)), levelled(voice(loud=0.05))
    assert np.allclose(loud.mono, quiet.mono, atol=1e-4)
    level = envelope(loud, 12.5, 50)
    assert np.percentile(level[level > 0.01], 90) == pytest.approx(SPEECH_LEVEL, rel=0.1)
    silence = Sound(np.zeros((1, 16_000), np.float32), 16_000)
    assert not levelled(silence).mono.any()


def test_mouths_follow_the_sound_and_close_in_silence() -> None:
    sound = levelled(voice())
    opened = speech.openings(sound, 50)
    level = smooth(envelope(sound, 12.5, 50).astype(np.float64))
    corr, lag = sync(opened.astype(np.float64), level)
    assert corr > 0.95
    assert lag == 0
    assert opened[22:28].max() < 0.02


@pytest.mark.parametrize("person", [ANNE, BEN])
def test_the_opening_is_seen_in_every_skin(person: Person) -> None:
    track = speech.openings(levelled(voice()), 50)
    figures = draw_figures((person,), track[None], np.random.default_rng(0), 50)
    x0, y0, x1, y1 = figures.faces[0].mean(axis=0)
    box = (x0, y0, x1 - x0, y1 - y0)
    seen = np.array([mouth_opening(frame, box) for frame in figures.frames])
    corr, lag = sync(seen, track.astype(np.float64))
    assert corr > 0.93
    assert lag == 0


def test_a_portrait_has_closed_mouths_and_says_where_its_faces_are() -> None:
    picture, faces = portrait((ANNE, BEN), np.random.default_rng(1))
    assert picture.shape == (128, 128, 3)
    assert faces.shape == (2, 4)
    assert faces[0, 2] < faces[1, 0]
    open_mouths = draw_figures((ANNE, BEN), np.ones((2, 2)), np.random.default_rng(1), 2).frames[0]
    box = (faces[0, 0], faces[0, 1], faces[0, 2] - faces[0, 0], faces[0, 3] - faces[0, 1])
    assert mouth_opening(picture, box) < mouth_opening(open_mouths, box) - 0.1


def test_training_speech_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech.shutil, "which", lambda _name: None)
    with pytest.raises(MediaError, match="install it"):
        speech.say_phrase("hello", "en-us")


def test_the_ear_is_a_whisper_with_fifty_states_a_second() -> None:
    ear = build_ear()
    states = ear.get_encoder()(torch.zeros(1, 80, 3000)).last_hidden_state
    assert states.shape == (1, 1500, 64)
    assert sum(p.numel() for p in ear.parameters()) < 400_000


def test_latent_frames_hear_their_four_frames() -> None:
    rows = torch.arange(12.0).view(12, 1, 1).expand(12, 10, 2)
    heard = latent_frames_audio(rows, [0, 1, 2, 3, 7])[:, :, 0, 0].tolist()
    assert heard == [[0] * 4, [1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 11], [11] * 4]


def test_two_faces_share_no_token() -> None:
    masks = torch.zeros(1, 2, 8, 8)
    masks[0, 0, 2:6, 1:5] = 1
    masks[0, 1, 2:6, 4:8] = 1
    tokens = token_masks(masks, 2)
    assert tokens.sum(dim=1).max() <= 2
    assert tokens[0, 0, 1].tolist() == [1, 1, 0, 0]
    assert tokens[0, 1, 1].tolist() == [0, 0, 1, 1]


def base_of(patch: int = 2) -> WanTransformer3DModel:
    torch.manual_seed(0)
    return WanTransformer3DModel(
        patch_size=(1, patch, patch),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=100,
        out_channels=48,
        text_dim=8,
        freq_dim=8,
        ffn_dim=16,
        num_layers=2,
        rope_max_seq_len=32,
    )


def small(patch: int = 2) -> AvatarTransformer:
    base = base_of(patch)
    adapter = AvatarAdapter(24, 2, ear_width=6, width=16, inner=8, rank=2)
    return AvatarTransformer(base, adapter)


def batch_of(speakers: int = 2) -> AvatarBatch:
    generator = torch.Generator().manual_seed(1)
    clean = torch.randn(2, 48, 3, 8, 8, generator=generator)
    mask = torch.zeros(2, 4, 3, 8, 8)
    mask[:, :, 0] = 1
    masks = torch.zeros(2, speakers, 8, 8)
    masks[:, 0, :, :4] = 1
    masks[:, -1, :, 4:] = 1
    audio = torch.randn(2, speakers, 3, 4, 10, 6, generator=generator)
    return AvatarBatch(clean, clean * mask[:, :1], mask, audio, masks, torch.zeros(2, 4, 8))


@pytest.mark.parametrize("patch", [1, 2])
def test_a_fresh_adapter_changes_nothing_and_learns_inside_the_faces(patch: int) -> None:
    model, batch = small(patch), batch_of()
    inputs = torch.randn(2, 100, 3, 8, 8)
    time = torch.tensor([500.0, 300.0])
    before = model.base(inputs, time, batch.text, return_dict=False)[0]
    with torch.no_grad():
        out = model(inputs, time, batch.text, batch.audio, batch.masks)
    assert torch.equal(out, before)
    prior = TokenPrior.fit(torch.randn(40, 48, 3, 8, 8))
    optimiser = torch.optim.Adam(model.adapter.parameters(), lr=1e-2)
    sigma, noise = torch.tensor([0.5, 0.8]), torch.randn(batch.clean.shape)
    losses = []
    for _ in range(12):
        loss = avatar_loss(model, prior, batch, sigma, noise).mean()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert all(p.grad is None for p in model.base.patch_embedding.parameters())


def test_a_track_moves_its_own_face_directly() -> None:
    model, batch = small(1), batch_of()
    torch.nn.init.normal_(model.adapter.layers[-1].up.weight)
    other = batch.audio.clone()
    other[:, 1] += 1.0
    inputs, time = torch.randn(2, 100, 3, 8, 8), torch.tensor([500.0, 300.0])
    with torch.no_grad():
        one, two = (
            model(inputs, time, batch.text, audio, batch.masks) for audio in (batch.audio, other)
        )
    moved = (one - two).abs().amax(dim=(0, 1, 2, 3))
    assert moved[:4].max() == 0  # after the last block nothing carries it to the other side
    assert moved[4:].min() > 0


def test_a_saved_adapter_comes_back(tmp_path: Path) -> None:
    model = small()
    for parameter in model.adapter.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    save_adapter(model.adapter, [p.detach() for p in model.adapter.parameters()], tmp_path / "own")
    spec = ComponentSpec("base", "transformer", load=lambda _device: base_of())
    again = load_avatar(spec, tmp_path / "own", torch.device("cpu"))
    batch, inputs = batch_of(), torch.randn(2, 100, 3, 8, 8)
    time = torch.tensor([500.0, 300.0])
    with torch.no_grad():
        a, b = (m(inputs, time, batch.text, batch.audio, batch.masks) for m in (model, again))
    assert (a - b).abs().max() < 2e-2 * a.abs().max()  # float16 on disk
    config = (tmp_path / "own" / "config.json").read_text()
    (tmp_path / "own" / "config.json").write_text(config.replace('"blocks": 2', '"blocks": 3'))
    with pytest.raises(WeightsError, match="does not fit"):
        load_avatar(spec, tmp_path / "own", torch.device("cpu"))


def test_the_denoiser_keeps_the_portrait_in_front_and_out_of_the_clip() -> None:
    model = small()
    seen: list[torch.Tensor] = []
    model.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    prior = TokenPrior.fit(torch.randn(40, 48, 3, 8, 8))
    rows = torch.randn(20, 10, 6)
    extras = {
        "reference": torch.randn(1, 48, 1, 8, 8),
        "condition": torch.zeros(1, 52, 5, 8, 8),
        "audio_rows": [rows],
        "masks": torch.ones(1, 1, 8, 8),
        "audio_scale": None,
    }
    counted: list[int] = []
    conditions = Conditions(
        plan=SimpleNamespace(guidance_scale=3.0),  # type: ignore[arg-type]
        prompts=lambda _frames: PromptEmbeds(torch.zeros(1, 4, 8), torch.ones(1, 4, 8)),
        pins=Pins(torch.zeros(1), torch.ones(1), extras),
        on_forward=counted.append,
    )
    denoise = PocketAvatarDenoiser(model, prior, conditions)
    x = torch.randn(1, 48, 4, 8, 8)
    out = denoise(x, Step(0, 10, torch.tensor(500.0), 0.5), [1, 2, 3, 4])
    assert out.shape == x.shape
    assert seen[0].shape == (2, 100, 5, 8, 8)
    assert seen[0][:, 48:52, 0].eq(1).all()
    assert seen[0][:, 48:52, 1:].eq(0).all()
    assert counted == [2]


@pytest.mark.parametrize(("sounds", "faces"), [(3, 3), (2, 0), (2, 1), (1, 2)])
def test_speakers_that_cannot_be(sounds: int, faces: int) -> None:
    with pytest.raises(RequestError):
        check_speakers("Pocket avatar", sounds, faces)
