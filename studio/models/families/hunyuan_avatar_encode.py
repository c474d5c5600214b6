"""What HunyuanVideo-Avatar obeys, computed from files and prompts and remembered for one run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from studio.core.errors import RequestError
from studio.core.plan import Plan
from studio.models.families import hunyuan_avatar_face as faces
from studio.models.families import hunyuan_avatar_text as texts
from studio.models.families.avatar_parts import STRIDE, read_waveform
from studio.models.families.hunyuan_avatar_audio import (
    SAMPLE_RATE,
    frame_rows,
    sound_frames,
    whisper_states,
)
from studio.models.families.hunyuan_avatar_denoise import AvatarText, token_key

if TYPE_CHECKING:
    from studio.models.component import ComponentSpec
    from studio.models.family import Frames, Given
    from studio.models.manager import ModelManager


class Encoder:
    """Tokens, texts and sounds of a family's components."""

    def __init__(
        self, parts: Mapping[str, ComponentSpec], image_token: int, layout: tuple[str, int]
    ) -> None:
        """`layout`: the prompt's template and how many of its tokens are cut off in front."""
        self._parts = parts
        self._layout = layout
        self._image_token = image_token
        self._asked: dict[bytes, str] = {}
        self._texts: dict[tuple[bytes, str], AvatarText] = {}
        self._rows: dict[tuple[tuple[Path, ...], float], Tensor] = {}

    def tokens(self, models: ModelManager, prompt: str) -> Tensor:
        """[1, L] ids by which the prompt is known until the portrait is there."""
        with models.use(self._parts["tokenizer"]) as tokenizer:
            ids, _ = texts.tokenise(tokenizer, prompt, self._image_token, self._layout)
        self._asked[token_key(ids)] = prompt
        return ids

    def texts(self, models: ModelManager, portrait: Frames) -> dict[bytes, AvatarText]:
        """Every prompt that was tokenised, read with the portrait in view."""
        seen = hashlib.sha256(portrait.tobytes()).hexdigest()
        absent = [key for key in self._asked if (key, seen) not in self._texts]
        states = self._read(models, absent, portrait) if absent else {}
        for key, (hidden, mask) in states.items():
            with (
                models.use(self._parts["tokenizer_2"]) as tokenizer,
                models.use(self._parts["text_encoder_2"]) as model,
            ):
                pooled = texts.summarise(tokenizer, model, self._asked[key])
            self._texts[key, seen] = texts.avatar_text(hidden, mask, pooled)
        return {key: self._texts[key, seen] for key in self._asked}

    def _read(
        self, models: ModelManager, keys: list[bytes], portrait: Frames
    ) -> dict[bytes, tuple[Tensor, Tensor]]:
        pixels = texts.portrait_pixels(portrait)
        made = {}
        with (
            models.use(self._parts["tokenizer"]) as tokenizer,
            models.use(self._parts["text_encoder"]) as model,
        ):
            for key in keys:
                ids, mask = texts.tokenise(
                    tokenizer, self._asked[key], self._image_token, self._layout
                )
                made[key] = texts.see_and_read(model, ids, mask, pixels, self._layout[1])
        return made

    def sound(self, models: ModelManager, plan: Plan, paths: tuple[Path, ...]) -> Tensor:
        """[frames, 10, layers, width] of all tracks together, as long as they sound."""
        key = (paths, plan.fps)
        if key not in self._rows:
            from studio.media.audio import load_sound
            from studio.media.sound import mix

            mixed = mix([load_sound(path) for path in paths]).mono
            with (
                models.use(self._parts["audio_processor"]) as extractor,
                models.use(self._parts["audio_encoder"]) as encoder,
            ):
                states = whisper_states(encoder, extractor, mixed)
            count = max(1, sound_frames(len(mixed), plan.fps))
            self._rows = {key: frame_rows(states, count, plan.fps)}
        return self._rows[key]


def face_masks(plan: Plan, given: Given, latent: tuple[int, int]) -> Tensor:
    """[1, 1, 1 or N, h, w]: one face, or each speaker's while that one's track is the loudest.

    Raises:
        RequestError: if there are several tracks but not one face for each.
    """
    size = (plan.width, plan.height)
    if len(given.audio) > 1 and len(given.faces) != len(given.audio):
        raise RequestError(
            f"each sound needs the face that speaks it (got {len(given.audio)} sounds and "
            f"{len(given.faces)} faces); give --face once for each --audio"
        )
    boxes: list[Any] = list(given.faces) or [None]
    masks = [faces.face_mask(box, size, latent) for box in boxes]
    if len(given.audio) < 2:
        return masks[0]
    tracks = [torch.from_numpy(read_waveform(path)) for path in given.audio]
    samples = round(SAMPLE_RATE / plan.fps * STRIDE)
    loudness = faces.loudness_by_frame(tracks, given.latent_frames, samples)
    return faces.mask_in_turn(masks, loudness)
