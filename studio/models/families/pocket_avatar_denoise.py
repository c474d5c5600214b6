"""The pocket avatar's denoiser: the portrait in front of every window, a track a speaker.

x is [1, 48, T, h, w]. The portrait is the transformer's first latent frame and stays outside x.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from studio.models.families.pocket_avatar_network import AvatarTransformer, latent_frames_audio
from studio.sampling.guidance import cfg, cfg_text_audio

if TYPE_CHECKING:
    from studio.models.family import Conditions
    from studio.models.prior import TokenPrior
    from studio.sampling.stepper import Step


class PocketAvatarDenoiser:
    """A `Denoise` over the transformer, under `conditions`.

    `pins.extras` has `reference` [1,48,1,h,w], `condition` [1,52,T,h,w], `audio_rows` (one
    [F,10,D] a speaker), `masks` [1,S,h,w] and `audio_scale`.
    """

    def __init__(
        self, transformer: AvatarTransformer, prior: TokenPrior, conditions: Conditions
    ) -> None:
        self._transformer, self._prior, self._conditions = transformer, prior, conditions
        reference = conditions.pins.extras["reference"]
        # The portrait's noise is the same in every window, so that windows see the same portrait.
        generator = torch.Generator("cpu").manual_seed(0)
        self._noise = torch.randn(reference.shape, generator=generator)

    @torch.no_grad()
    def __call__(self, x: Tensor, step: Step, frames: Sequence[int]) -> Tensor:
        """The guided velocity of the window `frames`, on the device of x."""
        prior, extras = self._prior, self._conditions.pins.extras
        here = x.to(prior.mean.device)
        sigma = torch.full((1,), step.sigma, device=here.device)
        reference = extras["reference"].to(here)
        seen = (1.0 - step.sigma) * reference + step.sigma * self._noise.to(here)
        whole = torch.cat([seen, here], dim=2)
        known = extras["condition"][:, :, self._conditions.rows(frames)].to(here)
        portrait = torch.cat([torch.ones_like(known[:, :4, :1]), reference], dim=1)
        known = torch.cat([portrait, known], dim=2)
        inputs = prior.prepare(whole, known[:, :4], known[:, 4:], sigma)
        named = self._guided(inputs, 1000.0 * sigma, frames)
        velocity = prior.finish(named, whole, sigma)[:, :, 1:]
        keeper = extras.get("colours")
        if keeper is not None:
            clean = keeper(here - step.sigma * velocity, reference)
            velocity = (here - clean) / max(step.sigma, 1e-6)
        return velocity.to(x.device)

    def _guided(self, inputs: Tensor, timestep: Tensor, frames: Sequence[int]) -> Tensor:
        """All branches in one call: both hear nothing without, the text may be the negative one."""
        plan, embeds = self._conditions.plan, self._conditions.prompts(frames)
        audio = self._audio(frames)
        scale, audio_scale = plan.guidance_scale, self._conditions.pins.extras.get("audio_scale")
        if scale <= 1.0 or embeds.negative is None:
            return self._forward(inputs, timestep, [embeds.positive], [audio])
        silent = torch.zeros_like(audio)
        if audio_scale is None or audio_scale == scale:
            texts, sounds = [embeds.positive, embeds.negative], [audio, silent]
            full, none = self._forward(inputs, timestep, texts, sounds).chunk(2)
            return cfg(full, none, scale)
        texts = [embeds.positive, embeds.positive, embeds.negative]
        made = self._forward(inputs, timestep, texts, [audio, silent, silent])
        full, text_only, none = made.chunk(3)
        return cfg_text_audio(full, text_only, none, scale, audio_scale)

    def _forward(
        self, inputs: Tensor, timestep: Tensor, texts: list[Tensor], sounds: list[Tensor]
    ) -> Tensor:
        network, count = self._transformer, len(texts)
        self._conditions.on_forward(count)
        like = inputs.to(network.device, network.dtype)
        masks = self._conditions.pins.extras["masks"].to(like)
        return network(
            like.expand(count, -1, -1, -1, -1),
            timestep.to(network.device).expand(count),
            torch.cat(texts).to(like),
            torch.cat(sounds).to(like),
            masks.expand(count, -1, -1, -1),
        )

    def _audio(self, frames: Sequence[int]) -> Tensor:
        """[1,S,1+T,4,10,D]: nothing for the portrait, then what each latent frame hears."""
        tracks = []
        for rows in self._conditions.pins.extras["audio_rows"]:
            heard = latent_frames_audio(rows, list(frames))
            tracks.append(torch.cat([torch.zeros_like(heard[:1]), heard]))
        return torch.stack(tracks)[None]
