"""Train the pocket avatar's adapter on a frozen base, against people who say what is heard.

A sample is the portrait (its code as a still image, given) and up to six latent frames of a clip,
some of them perhaps given as a prefix; the noise levels and the loss are those of the base, with
more weight inside the faces.
"""

from __future__ import annotations

import json
import logging
import random
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import WhisperFeatureExtractor, WhisperModel

from studio.core.request import FaceBox
from studio.models.families.hunyuan_avatar_audio import frame_rows, whisper_states
from studio.models.families.hunyuan_avatar_face import face_mask
from studio.models.families.pocket_avatar_network import (
    AvatarAdapter,
    AvatarTransformer,
    latent_frames_audio,
    token_masks,
)
from studio.models.prior import TokenPrior, to_tokens
from studio.pocket.avatar_rows import PIECE_FRAMES, Spoken, SpokenRows
from studio.pocket.batches import TextEncoder
from studio.pocket.captions import describe
from studio.pocket.train_hearing import WIDTH, load_piece
from studio.pocket.train_transformer import draw_sigma
from studio.pocket.vocabulary import FPS, SIZE_PX

_log = logging.getLogger(__name__)

WINDOW = 6
FACE_GROWTH = 1.2
FACE_WEIGHT = 6.0
SHAPE = {"width": 256, "inner": 96, "rank": 8}
NO_SOUND, NO_TEXT, NO_FACE = 0.1, 0.5, 0.15
PREFIX_SHARE = 0.4
SHORT_SHARE = 0.25
CELLS = SIZE_PX // 16


@dataclass(frozen=True)
class AvatarTraining:
    """A sitting. `base` holds transformer/ and, beside it or in `text`, the text encoder.

    `out` is the adapter's folder; an adapter there that fits the base goes on.
    """

    home: Path
    base: Path
    text: Path
    ear: Path
    out: Path
    until: float
    batch: int = 16
    rate: float = 2e-3
    save_every: float = 120.0


@dataclass
class AvatarBatch:
    """clean, condition [B,48,1+n,8,8]; mask [B,4,1+n,8,8]; audio [B,S,1+n,4,10,D];
    masks [B,S,8,8]; text [B,64,d]."""

    clean: Tensor
    condition: Tensor
    mask: Tensor
    audio: Tensor
    masks: Tensor
    text: Tensor


def hear_pieces(home: Path, ear: Path) -> Tensor:
    """The ear's rows [pieces + 1, frames, 10, D] of all recorded pieces; the last is silence."""
    extractor = WhisperFeatureExtractor.from_pretrained(ear)
    encoder = WhisperModel.from_pretrained(ear, dtype=torch.float32).get_encoder().eval()
    rows = []
    sounds = [load_piece(path).mono for path in sorted((home / "pieces").glob("piece-*.npy"))]
    for sound in [*sounds, np.zeros_like(sounds[0])]:
        states = whisper_states(encoder, extractor, sound)[:, -1:]
        rows.append(frame_rows(states, PIECE_FRAMES, FPS)[:, :, 0].to(torch.bfloat16))
    return torch.stack(rows)


class AvatarBatches:
    """Draws batches of rows with the same number of people and of latent frames."""

    def __init__(self, rows: SpokenRows, heard: Tensor, text: TextEncoder, seed: int) -> None:
        self._rows, self._heard, self._text = rows, heard, text
        self._rng = np.random.default_rng(seed)
        self._words = random.Random(seed)
        self._by_people = {n: rows.by_people(n) for n in (1, 2)}

    def draw(self, size: int) -> AvatarBatch:
        """The next batch."""
        rng = self._rng
        count = 1 + int(rng.random() < 0.4)
        length = WINDOW if rng.random() > SHORT_SHARE else int(rng.integers(2, WINDOW))
        numbers = self._by_people[count]
        parts = [self._one(numbers[int(rng.integers(len(numbers)))], length) for _ in range(size)]
        clean, condition, mask, audio, masks = (
            torch.stack([part[i] for part in parts]).float() for i in range(5)
        )
        texts = [
            "" if rng.random() < NO_TEXT else describe(part[5], self._words)[0] for part in parts
        ]
        return AvatarBatch(clean, condition, mask, audio, masks, self._text(texts))

    def _one(self, number: int, length: int) -> tuple:
        rng = self._rng
        latents, still, row = self._rows.row(number)
        start = int(rng.integers(0, latents.shape[1] - length + 1))
        start = 0 if rng.random() < 0.15 else start
        picture = torch.from_numpy(np.asarray(still))[:, None]
        frames = torch.from_numpy(np.asarray(latents[:, start : start + length]))
        clean = torch.cat([picture, frames], dim=1)
        given = 1
        if rng.random() < PREFIX_SHARE:
            given += int(rng.integers(1, min(4, length)))
        mask = torch.zeros(4, *clean.shape[1:])
        mask[:, :given] = 1
        audio = torch.stack([self._audio(track, start, length) for track in row.tracks])
        if rng.random() < NO_SOUND:
            audio = torch.zeros_like(audio)
        return clean, clean * mask[:1], mask, audio, self._masks(row), row.people

    def _audio(self, track: tuple[int, int], start: int, length: int) -> Tensor:
        piece, first = track
        rows = self._heard[piece, first : first + 4 * (start + length)]
        heard = latent_frames_audio(rows, list(range(start, start + length)))
        return torch.cat([torch.zeros_like(heard[:1]), heard])

    def _masks(self, row: Spoken) -> Tensor:
        rng = self._rng
        if len(row.faces) == 1 and rng.random() < NO_FACE:
            return face_mask(None, (SIZE_PX, SIZE_PX), (CELLS, CELLS))[0, :, 0]
        masks = []
        for x, y, w, h in row.faces:
            shift, grow = rng.uniform(-3, 3, 2), rng.uniform(0.85, 1.15)
            box = FaceBox(
                x=max(0, round(x + w * (1 - grow) / 2 + shift[0])),
                y=max(0, round(y + h * (1 - grow) / 2 + shift[1])),
                width=round(w * grow),
                height=round(h * grow),
            )
            masks.append(face_mask(box, (SIZE_PX, SIZE_PX), (CELLS, CELLS), FACE_GROWTH)[0, 0, 0])
        return torch.stack(masks)


def avatar_loss(
    model: AvatarTransformer, prior: TokenPrior, batch: AvatarBatch, sigma: Tensor, noise: Tensor
) -> Tensor:
    """Weighted squared error by row [B] over what is not given; faces count FACE_WEIGHT times."""
    level = sigma.reshape(-1, 1, 1, 1, 1)
    noisy = (1.0 - level) * batch.clean + level * noise
    inputs = prior.prepare(noisy, batch.mask, batch.condition, sigma)
    with torch.autocast("cpu", torch.bfloat16):
        named = model(inputs, 1000.0 * sigma, batch.text, batch.audio, batch.masks)
    target, weight = prior.target(batch.clean, sigma)
    error = (weight * (to_tokens(named.float()) - target).square()).mean(-1)
    patch = batch.mask.shape[-1] // error.shape[-1]
    wanted = 1.0 - batch.mask.amin(1)[:, :, ::patch, ::patch]
    faces = token_masks(batch.masks, patch).amax(dim=1)[:, None]
    wanted = wanted * (1.0 + (FACE_WEIGHT - 1.0) * faces)
    return (error * wanted).sum((1, 2, 3)) / wanted.sum((1, 2, 3)).clamp(min=1.0)


def open_model(base: Path, adapter: Path | None) -> AvatarTransformer:
    """The base with a fresh adapter, or the one in `adapter` where it fits."""
    transformer = WanTransformer3DModel.from_pretrained(base, torch_dtype=torch.float32)
    config = transformer.config
    dim = config.num_attention_heads * config.attention_head_dim
    fresh = AvatarAdapter(dim, config.num_layers, ear_width=WIDTH, **SHAPE)
    model = AvatarTransformer(transformer, fresh)
    if adapter is not None and (adapter / "adapter.safetensors").is_file():
        kept = load_file(adapter / "adapter.safetensors")
        if {k: v.shape for k, v in kept.items()} == {
            k: v.shape for k, v in fresh.state_dict().items()
        }:
            fresh.load_state_dict({k: v.float() for k, v in kept.items()})
            _log.info("goes on with the adapter in %s", adapter)
    return model


def train_avatar(plan: AvatarTraining) -> None:
    """Train until `plan.until`; the averaged adapter lies in `plan.out`."""
    torch.set_num_threads(1)
    torch.backends.cuda.enable_flash_sdp(False)
    torch.manual_seed(1)
    prior = TokenPrior.load(plan.base)
    heard = hear_pieces(plan.home, plan.ear)
    rows = SpokenRows(plan.home / "rows")
    batches = AvatarBatches(rows, heard, TextEncoder(plan.text), int(time.time()))
    model = open_model(plan.base, plan.out)
    weights = list(model.adapter.parameters())
    average = [w.detach().clone() for w in weights]
    optimiser = torch.optim.AdamW(weights, lr=plan.rate, betas=(0.9, 0.98), weight_decay=0.01)
    began = saved = time.time()
    step, losses = 0, list[float]()
    while (left := (plan.until - time.time()) / (plan.until - began)) > 0.0:
        batch = batches.draw(plan.batch)
        sigma = draw_sigma(plan.batch, torch.default_generator)
        loss = avatar_loss(model, prior, batch, sigma, torch.randn(batch.clean.shape)).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        for group in optimiser.param_groups:
            group["lr"] = plan.rate * min(1.0, (step + 1) / 60, 2.5 * left)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        step += 1
        decay = min(0.99, (1 + step) / (10 + step))
        torch._foreach_lerp_(average, [w.detach() for w in weights], 1.0 - decay)
        losses.append(float(loss.detach()))
        if step % 50 == 0:
            pace = (time.time() - began) / step
            _log.info("avatar step %d loss %.4f %.2fs", step, np.mean(losses[-50:]), pace)
        if time.time() - saved > plan.save_every:
            save_adapter(model.adapter, average, plan.out)
            saved = time.time()
    save_adapter(model.adapter, average, plan.out)


def save_adapter(adapter: AvatarAdapter, average: list[Tensor], folder: Path) -> None:
    """Write `folder` (adapter.safetensors in float16 and its sizes) whole or not at all."""
    names = [name for name, _ in adapter.named_parameters()]
    draft = folder.with_name(f".{folder.name}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    tensors = {n: w.to(torch.float16).contiguous() for n, w in zip(names, average, strict=True)}
    save_file(tensors, draft / "adapter.safetensors")
    (draft / "config.json").write_text(json.dumps(adapter.settings, indent=1), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)
