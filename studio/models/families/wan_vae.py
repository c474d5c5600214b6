"""Frames to latents and back with AutoencoderKLWan, streamed with a memory of our own.

Latents are normalised: (z - mean) / std per channel.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from studio.core.errors import NumericError

if TYPE_CHECKING:
    from studio.models.family import Frames


def frames_to_video(frames: Frames) -> torch.Tensor:
    """uint8 [T, H, W, 3] as float32 [1, 3, T, H, W] from -1 to 1, as diffusers' processor does."""
    pixels = torch.from_numpy(frames.astype(np.float32) / 255.0)
    return 2.0 * pixels.permute(3, 0, 1, 2).unsqueeze(0) - 1.0


def video_to_frames(video: torch.Tensor) -> Frames:
    """float [1, 3, T, H, W] from -1 to 1 as uint8 [T, H, W, 3].

    Raises:
        NumericError: if they are not numbers, which uint8 could not show.
    """
    if not bool(torch.isfinite(video).all()):
        raise NumericError(
            "the VAE gave pictures that are not numbers; choose float32 for it in the preset's "
            "options or download the weights again"
        )
    pixels = (video[0] * 0.5 + 0.5).clamp(0, 1).permute(1, 2, 3, 0).cpu().float().numpy()
    rounded: Frames = (pixels * 255).round().astype(np.uint8)
    return rounded


def statistics(vae: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and 1/std of the latents [1, C, 1, 1, 1]."""
    shape = (1, vae.config.z_dim, 1, 1, 1)
    mean = torch.tensor(vae.config.latents_mean).view(shape)
    inverse = 1.0 / torch.tensor(vae.config.latents_std).view(shape)
    return mean.to(vae.device, vae.dtype), inverse.to(vae.device, vae.dtype)


@torch.no_grad()
def encode_video(vae: Any, video: torch.Tensor) -> torch.Tensor:
    """Normalised latents [1, C, T', h, w] (float32) of video [1, 3, T, H, W]: the mode, no draw."""
    mean, inverse = statistics(vae)
    latents = vae.encode(video.to(vae.device, vae.dtype)).latent_dist.mode()
    normal: torch.Tensor = (latents.float() - mean.float()) * inverse.float()
    return normal


def speed_up_decoder(vae: Any) -> None:
    """Have the decoder's convolutions computed by oneDNN on a CPU, whatever their size.

    For small float32 pictures one at a time torch picks a plain loop that takes 2.4 times as long
    (pocket model, one thread); the results differ by rounding. The encoder is left alone: what it
    gives goes into latents, which are to be equal to the stock pipelines'.
    """
    backend: Any = torch.backends.mkldnn
    if vae.device.type != "cpu" or not backend.is_available():
        return
    for module in vae.decoder.modules():
        if isinstance(module, torch.nn.Conv3d):
            # An instance attribute in front of the class's method.
            module.__dict__["_conv_forward"] = partial(_convolve, module)


def _convolve(
    module: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """Conv3d._conv_forward; padding was applied by diffusers' causal convolution before."""
    settings = (module.padding, module.stride, module.dilation, module.groups)
    made: torch.Tensor = torch.mkldnn_convolution(x, weight, bias, *settings)
    return made


class WanStreamDecoder:
    """Decodes latents as they come; any partition gives the same frames as one whole decode.

    diffusers keeps the causal cache inside the VAE and clears it at each call; here each stream
    has its own, so streams may interleave and be saved.
    """

    def __init__(self, vae: Any) -> None:
        from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d

        self._vae = vae
        convolutions = (m for m in vae.decoder.modules() if isinstance(m, WanCausalConv3d))
        self._memory: list[Any] = [None] * sum(1 for _ in convolutions)
        self._first = True

    @torch.no_grad()
    def push(self, latents: torch.Tensor) -> Frames:
        """Frames [n, H, W, 3] of the next latents [1, C, t, h, w]."""
        from diffusers.models.autoencoders import autoencoder_kl_wan

        vae, unpatchify = self._vae, cast(Any, autoencoder_kl_wan.unpatchify)
        mean, inverse = statistics(vae)
        z = vae.post_quant_conv(latents.to(vae.device, vae.dtype) / inverse + mean)
        pieces = []
        for index in range(z.shape[2]):
            piece = vae.decoder(
                z[:, :, index : index + 1],
                feat_cache=self._memory,
                feat_idx=[0],
                first_chunk=self._first,
            )
            self._first = False
            if vae.config.patch_size is not None:
                piece = unpatchify(piece, patch_size=vae.config.patch_size)
            pieces.append(video_to_frames(piece.clamp(-1.0, 1.0)))
        return np.concatenate(pieces)

    def snapshot(self) -> dict[str, torch.Tensor]:
        """The cache by position; "Rep" is the mark that diffusers leaves at the first frame."""
        state = {}
        for index, value in enumerate(self._memory):
            if isinstance(value, torch.Tensor):
                state[f"cache.{index}"] = value.detach().cpu().contiguous().clone()
            elif value is not None:
                state[f"mark.{index}"] = torch.zeros(1)
        state["first"] = torch.tensor([float(self._first)])
        return state

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on where `snapshot` was taken."""
        self._memory = [None] * len(self._memory)
        for key, value in state.items():
            kind, _, index = key.partition(".")
            if kind == "cache":
                self._memory[int(index)] = value.to(self._vae.device)
            elif kind == "mark":
                self._memory[int(index)] = "Rep"
        self._first = bool(state["first"].item())
