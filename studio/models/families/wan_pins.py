"""What is given, in the ways that Wan transformers take it.

Latents [1, C, T, h, w]; condition [1, 4 + C, T, h, w]: four mask channels (one a video frame of
the latent frame, 1 = given), then latents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from studio.models.families.wan_vae import encode_video, frames_to_video
from studio.models.family import Given

if TYPE_CHECKING:
    from studio.models.family import Frames


def known_latents(
    given: Given, shape: tuple[int, ...], first: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """(clean, mask): `first`, prefix and suffix at their places; mask 0 where they lie."""
    clean = torch.zeros(shape)
    mask = torch.ones(1, 1, shape[2], 1, 1)
    for latents, at in ((first, 0), (given.prefix, 0), (given.suffix, shape[2])):
        if latents is None:
            continue
        start = at - latents.shape[2] if at else 0
        clean[:, :, start : start + latents.shape[2]] = latents
        mask[:, :, start : start + latents.shape[2]] = 0
    return clean, mask


def latents_condition(
    clean: torch.Tensor, mask: torch.Tensor, last: torch.Tensor | None
) -> torch.Tensor:
    """Channels that hold the given latents themselves, and the last picture's own encoding.

    The last latent frame stands for four video frames of which only the fourth is given, so its
    mask is 0, 0, 0, 1.
    """
    _, _, frames, height, width = clean.shape
    given = (1 - mask).expand(1, 4, frames, height, width).clone()
    latents = clean.clone()
    if last is not None:
        given[:, 3, -1] = 1
        latents[:, :, -1:] = last
    return torch.cat([given, latents], dim=1)


def video_condition(
    vae: Any, given: Given, clean: torch.Tensor, mask: torch.Tensor, size: tuple[int, int]
) -> torch.Tensor:
    """Channels as Wan 2.1 and 2.2 I2V have them: a video, grey where nothing is given, encoded."""
    _, _, latent_frames, height, width = clean.shape
    frames = 1 + 4 * (latent_frames - 1)
    video = torch.zeros(1, 3, frames, size[1], size[0])
    channels = torch.zeros(1, 4, latent_frames, height, width)
    if given.image is not None:
        video[:, :, :1] = frames_to_video(given.image[None])
        channels[:, :, 0] = 1
    if given.last_image is not None:
        video[:, :, -1:] = frames_to_video(given.last_image[None])
        channels[:, 3, -1] = 1
    latents = encode_video(vae, video).cpu()
    known = mask == 0
    latents = torch.where(known, clean, latents)
    channels = torch.where(known, torch.ones(()), channels)
    return torch.cat([channels, latents], dim=1)


@torch.no_grad()
def image_features(processor: Any, encoder: Any, pictures: tuple[Frames, ...]) -> torch.Tensor:
    """CLIP features [n, tokens, D] of one or two pictures: the last hidden layer but one."""
    from PIL import Image

    images = [Image.fromarray(picture) for picture in pictures]
    device = next(encoder.parameters()).device
    inputs = processor(images=images, return_tensors="pt").to(device)
    features: torch.Tensor = encoder(**inputs, output_hidden_states=True).hidden_states[-2]
    return features
