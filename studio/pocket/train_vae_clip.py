"""The pocket autoencoder, and its passes over a whole clip at once.

diffusers codes and decodes a Wan clip latent by latent with a cache of features. Training
makes the same pass in one go, which is exact, since every layer is causal, and much faster.
"""

from __future__ import annotations

import types

import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import WanResample, patchify, unpatchify
from torch import Tensor, nn

from studio.pocket.latents import CHANNELS


def build_vae() -> AutoencoderKLWan:
    """The untrained autoencoder in the layout of Wan 2.2."""
    return AutoencoderKLWan(
        base_dim=16,
        decoder_base_dim=24,
        z_dim=CHANNELS,
        dim_mult=[1, 2, 4, 4],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.0] * CHANNELS,
        latents_std=[1.0] * CHANNELS,
        is_residual=True,
        in_channels=12,
        out_channels=12,
        patch_size=2,
        scale_factor_spatial=16,
    )


def enable_whole_clips(vae: AutoencoderKLWan) -> AutoencoderKLWan:
    """Let the resampling layers handle a whole clip when they get no cache."""
    for module in vae.modules():
        if isinstance(module, WanResample) and module.mode in ("upsample3d", "downsample3d"):
            module.forward = types.MethodType(_resample, module)
    return vae


def decode_clip(vae: AutoencoderKLWan, latents: Tensor) -> Tensor:
    """Latents [B,48,L,h,w] to unclamped pixels [B,3,4L-3,16h,16w] about -1..1."""
    hidden = vae.post_quant_conv(latents)
    return unpatchify(vae.decoder(hidden, first_chunk=True), 2)


def encode_clip(vae: AutoencoderKLWan, pixels: Tensor) -> Tensor:
    """Pixels [B,3,1+4n,H,W] in -1..1 to mean latents [B,48,1+n,H/16,W/16]."""
    moments = vae.quant_conv(vae.encoder(patchify(pixels, 2)))
    return moments[:, :CHANNELS]


def quiet_variance(vae: AutoencoderKLWan) -> None:
    """Fix the latents' variance at almost nothing, so that sampling returns the mean."""
    layer: nn.Conv3d = vae.quant_conv
    assert layer.bias is not None
    with torch.no_grad():
        layer.weight[CHANNELS:] = 0.0
        layer.bias[CHANNELS:] = -20.0


def _resample(
    self: WanResample, x: Tensor, feat_cache: list | None = None, feat_idx: list[int] | None = None
) -> Tensor:
    """As `WanResample.forward`; without a cache `x` [B,C,T,h,w] is a clip from its first frame."""
    if feat_cache is not None:
        return WanResample.forward(self, x, feat_cache, feat_idx)
    if self.mode == "upsample3d" and x.shape[2] > 1:
        first, rest = x[:, :, :1], self.time_conv(x[:, :, 1:])
        rest = rest.unflatten(1, (2, -1)).movedim(1, 3).flatten(2, 3)
        x = torch.cat([first, rest], 2)
    x = _each_frame(self.resample, x)
    if self.mode == "downsample3d" and x.shape[2] > 1:
        x = torch.cat([x[:, :, :1], self.time_conv(x)], 2)
    return x


def _each_frame(layer: nn.Module, x: Tensor) -> Tensor:
    batch, time = x.shape[0], x.shape[2]
    y = layer(x.movedim(2, 1).flatten(0, 1))
    return y.unflatten(0, (batch, time)).movedim(1, 2)
