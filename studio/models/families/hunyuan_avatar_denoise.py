"""HunyuanVideo-Avatar's denoiser: a guidance that changes with the step, features kept in between.

x is [1, 16, T, h, w]; frames are latent frames of a ring of N, or of a clip of N without wrapping.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from studio.models.families.avatar_parts import STRIDE, video_frames
from studio.models.families.hunyuan_avatar_network import AvatarInputs, Features
from studio.sampling.guidance import cfg

if TYPE_CHECKING:
    from studio.models.family import Conditions
    from studio.sampling.stepper import Step

TEXT_STEPS = 10
"""So many steps are guided by text and sound, the later ones by the sound alone."""
EARLY_FACE = 0.6
PUBLISHED_FULL_STEPS = frozenset({*range(15), *range(15, 42, 5), *range(41, 50)})
EXPRESSION, POSE = 30, 25


def guidance_at(step: int, steps: int, text_scale: float) -> float:
    """The scale at a step: `text_scale` falling towards 2, then 6.5 towards 3.5 for all."""
    left = 1 - step / steps
    if step < TEXT_STEPS:
        return left * (text_scale - 2) + 2
    return left * 3.0 + 3.5


def full_steps(steps: int, cache: str) -> frozenset[int]:
    """The steps that run whole; the others go on from features kept at the last whole one.

    "none": all. "published": the published list, made for 50 steps: with more, all from step 50 on
    reuse features. "scaled": the same shares of any number of steps, every fifth in the middle.
    """
    if cache == "none":
        return frozenset(range(steps))
    if cache == "published":
        return PUBLISHED_FULL_STEPS & frozenset(range(steps))
    first, last = round(0.3 * steps), round(0.82 * steps)
    return frozenset({*range(first), *range(first, last, 5), *range(last, steps)})


@dataclass(frozen=True)
class AvatarText:
    """A prompt that has seen the portrait: [1, L, D], [1, L], [1, pooled width]."""

    states: Tensor
    mask: Tensor
    pooled: Tensor


class RingFeatures:
    """Kept features: of the video one a latent frame, of reference and text one a window.

    A window that is read may lie across several that were written: its reference and text are
    those of the window that its first frame was in.
    """

    def __init__(self) -> None:
        self._video: dict[int, Tensor] = {}
        self._around: dict[int, tuple[Tensor, Tensor]] = {}

    def put(self, frames: Sequence[int], features: Features) -> None:
        """Keep the features of a window; a frame that was there is replaced."""
        shared = (features.ref, features.text)
        for position, frame in enumerate(frames):
            self._video[frame] = features.video[:, position]
            self._around[frame] = shared

    def get(self, frames: Sequence[int]) -> Features:
        """The features of these frames as those of one window."""
        ref, text = self._around[frames[0]]
        video = torch.stack([self._video[frame] for frame in frames], dim=1)
        return Features(ref=ref, video=video, text=text)

    def has(self, frames: Sequence[int]) -> bool:
        """Whether every frame was written."""
        return all(frame in self._video for frame in frames)


class HunyuanAvatarDenoiser:
    """A `Denoise` over the transformer, under `conditions`.

    `pins.extras`: `ref_latents` [1, 16, T, h, w] of any T (cut or its last frame repeated),
    `audio` [n, 10, 5, 384], `face_mask` [1, 1, 1 or N, h, w], `texts` by prompt (see `text_of`).
    """

    def __init__(
        self,
        transformer: Any,
        conditions: Conditions,
        total_frames: int,
        *,
        guidance: float = 7.5,
        cache: str = "none",
    ) -> None:
        self._transformer = transformer
        self._conditions = conditions
        self._total = total_frames
        self._guidance = guidance
        self._cache = cache
        self._kept = RingFeatures()

    @torch.no_grad()
    def __call__(self, x: Tensor, step: Step, frames: Sequence[int]) -> Tensor:
        """The guided velocity of the window `frames`."""
        guided = self._guidance > 1.0
        inputs = self._inputs(x, step, frames, guided)
        like = next(self._transformer.parameters())
        timestep = step.timestep.float().reshape(1).expand(2 if guided else 1).to(like.device)
        latents = x.expand(len(timestep), *x.shape[1:]).to(like)
        velocity = self._velocity(latents, timestep, inputs, (step, frames)).float().to(x.device)
        self._conditions.on_forward(len(timestep))
        if not guided:
            return velocity
        uncond, cond = velocity.chunk(2)
        return cfg(cond, uncond, guidance_at(step.index, step.count, self._guidance))

    def _velocity(
        self,
        latents: Tensor,
        timestep: Tensor,
        inputs: AvatarInputs,
        where: tuple[Step, Sequence[int]],
    ) -> Tensor:
        """The last block on fresh features, or on kept ones where the step may."""
        step, frames = where
        whole = step.index in full_steps(step.count, self._cache) or not self._kept.has(frames)
        if whole:
            features = self._transformer.features(latents, timestep, inputs)
            if self._cache != "none":
                self._kept.put(frames, features)
        else:
            features = self._kept.get(frames)
        velocity: Tensor = self._transformer.finish(features, timestep, inputs)
        return velocity

    def _inputs(self, x: Tensor, step: Step, frames: Sequence[int], guided: bool) -> AvatarInputs:
        """What the transformer sees beside the latents: without sound first, if guided."""
        extras = self._conditions.pins.extras
        like = next(self._transformer.parameters())
        audio = window_audio(extras["audio"], frames, self._total)
        face = extras["face_mask"]
        if face.shape[2] > 1:
            face = face[:, :, self._conditions.rows(frames)]
        early = step.index < TEXT_STEPS
        positive, negative = text_of(extras["texts"], self._conditions.prompts(frames))
        other = negative if early else positive
        texts = [other, positive] if guided else [positive]
        count = len(texts)
        inputs = AvatarInputs(
            ref_latents=fit_reference(extras["ref_latents"], x.shape[2]).expand(
                count, -1, -1, -1, -1
            ),
            text=torch.cat([t.states for t in texts]),
            text_mask=torch.cat([t.mask for t in texts]),
            pooled=torch.cat([t.pooled for t in texts]),
            audio=torch.cat([torch.zeros_like(audio), audio]) if guided else audio,
            face_mask=(face * EARLY_FACE if early else face).expand(count, -1, -1, -1, -1),
            motion_exp=torch.full((count, 4), EXPRESSION),
            motion_pose=torch.full((count, 4), POSE),
            fps=torch.full((count,), float(extras.get("fps", 25.0))),
        )
        return _moved(inputs, like)


def text_of(texts: Mapping[Any, AvatarText], prompt: Any) -> tuple[AvatarText, AvatarText]:
    """(positive, negative) of a `PromptEmbeds` that holds token ids, the keys of `texts`."""
    positive = texts[token_key(prompt.positive)]
    negative = prompt.negative
    return positive, positive if negative is None else texts[token_key(negative)]


def token_key(ids: Tensor) -> bytes:
    """A prompt's token ids as a key."""
    return bytes(ids.to(torch.int32).cpu().numpy().tobytes())


def window_audio(rows: Tensor, frames: Sequence[int], total: int) -> Tensor:
    """[1, 4T-3, ...] of a window of the ring of `total` latent frames; nothing past the sound.

    Latent frame p hears video frames 4p-3 to 4p wherever the window lies, its own first only 4p.
    """
    wanted = torch.tensor(video_frames(list(frames))) % (STRIDE * total)
    heard = wanted < rows.shape[0]
    picked = rows[wanted.clamp(max=rows.shape[0] - 1).to(rows.device)]
    shape = (-1, *[1] * (rows.ndim - 1))
    return (picked * heard.view(shape).to(picked))[None]


def fit_reference(latents: Tensor, frames: int) -> Tensor:
    """The portrait's clip, `frames` latent frames long: cut, or its last frame held."""
    held = latents[:, :, -1:].expand(-1, -1, max(0, frames - latents.shape[2]), -1, -1)
    return torch.cat([latents[:, :, :frames], held], dim=2)


def _moved(inputs: AvatarInputs, like: Tensor) -> AvatarInputs:
    """On the device of `like`; what is fractional in its dtype, the frame rate excepted."""
    moved = {}
    for field in fields(inputs):
        value: Tensor = getattr(inputs, field.name)
        dtype = like.dtype if value.is_floating_point() and field.name != "fps" else value.dtype
        moved[field.name] = value.to(like.device, dtype)
    return AvatarInputs(**moved)
