"""Tiny random-weight models of the real classes, in the real folder layout, built offline."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import torch

from studio.core.plan import Plan, Window
from studio.core.preset import Preset

CHARS = sorted(set(string.ascii_letters + string.digits + string.punctuation))


def t5_tokenizer() -> Any:
    """A character-level T5 tokenizer; pad, eos and unk are the first three by T5's rule."""
    from transformers import T5Tokenizer

    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    vocab = special + [(c, -3.0) for c in CHARS]
    return T5Tokenizer(vocab=vocab, extra_ids=0, model_max_length=512)


def umt5() -> Any:
    """A UMT5 encoder of width 32."""
    from transformers import UMT5Config, UMT5EncoderModel

    torch.manual_seed(1)
    config = UMT5Config(
        vocab_size=150,
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=2,
        num_heads=4,
        relative_attention_num_buckets=8,
        relative_attention_max_distance=16,
        feed_forward_proj="gated-gelu",
    )
    return UMT5EncoderModel(config).eval()


def wan_vae(z: int = 16, **more: Any) -> Any:
    """An 8x VAE with 16 channels, or what `more` makes of it."""
    from diffusers import AutoencoderKLWan

    torch.manual_seed(2)
    return AutoencoderKLWan(
        base_dim=4,
        z_dim=z,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        **more,
    ).eval()


def wan_vae_16x() -> Any:
    """The 16x residual VAE of TI2V-5B and the pocket model."""
    return wan_vae(
        48,
        decoder_base_dim=4,
        is_residual=True,
        in_channels=12,
        out_channels=12,
        patch_size=2,
        scale_factor_spatial=16,
        latents_mean=[0.1 * (i % 5) for i in range(48)],
        latents_std=[1.0 + 0.1 * (i % 7) for i in range(48)],
    )


def wan_transformer(in_channels: int = 16, out: int = 16, seed: int = 3, **more: Any) -> Any:
    """Two layers of width 24."""
    from diffusers import WanTransformer3DModel

    torch.manual_seed(seed)
    return WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=in_channels,
        out_channels=out,
        text_dim=32,
        freq_dim=32,
        ffn_dim=40,
        num_layers=2,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        rope_max_seq_len=64,
        **more,
    ).eval()


def clip_vision() -> tuple[Any, Any]:
    """(image encoder, its processor): 17 tokens of width 4."""
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel

    torch.manual_seed(4)
    config = CLIPVisionConfig(
        hidden_size=4,
        projection_dim=4,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=4,
        intermediate_size=16,
        patch_size=1,
    )
    return CLIPVisionModel(config).eval(), CLIPImageProcessor(crop_size=4, size=4)


def unipc(shift: float = 3.0) -> Any:
    """Wan's default scheduler."""
    from diffusers import UniPCMultistepScheduler

    return UniPCMultistepScheduler(
        prediction_type="flow_prediction",
        use_flow_sigmas=True,
        num_train_timesteps=1000,
        flow_shift=shift,
    )


def euler(shift: float = 3.0) -> Any:
    """The flow-matching Euler scheduler."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(shift=shift)


def wan_pipeline(kind: str) -> Any:
    """A stock pipeline of one of the published layouts."""
    from diffusers import WanImageToVideoPipeline, WanPipeline

    common: dict[str, Any] = {"tokenizer": t5_tokenizer(), "text_encoder": umt5()}
    eight: dict[str, Any] = {**common, "vae": wan_vae(), "scheduler": unipc()}
    sixteen: dict[str, Any] = {**common, "vae": wan_vae_16x(), "scheduler": unipc(5.0)}
    if kind == "t2v":
        return WanPipeline(**eight, transformer=wan_transformer())
    if kind == "t2v-euler":
        return WanPipeline(**{**eight, "scheduler": euler()}, transformer=wan_transformer())
    if kind == "t2v-a14b":
        return WanPipeline(
            **eight,
            transformer=wan_transformer(),
            transformer_2=wan_transformer(seed=9),
            boundary_ratio=0.875,
        )
    if kind == "t2v-5b":
        return WanPipeline(**sixteen, transformer=wan_transformer(48, 48), expand_timesteps=True)
    if kind == "i2v-5b":
        return WanImageToVideoPipeline(
            **sixteen, transformer=wan_transformer(48, 48), expand_timesteps=True
        )
    if kind == "i2v-a14b":
        return WanImageToVideoPipeline(
            **eight,
            transformer=wan_transformer(36),
            transformer_2=wan_transformer(36, seed=9),
            boundary_ratio=0.9,
        )
    if kind == "pocket":
        # 48 noisy latents, 4 mask channels, 48 given latents
        return WanPipeline(**sixteen, transformer=wan_transformer(100, 48))
    encoder, processor = clip_vision()
    more: dict[str, Any] = {"image_dim": 4, "added_kv_proj_dim": 24}
    if kind == "flf2v":
        more["pos_embed_seq_len"] = 34
    return WanImageToVideoPipeline(
        **eight,
        transformer=wan_transformer(36, **more),
        image_encoder=encoder,
        image_processor=processor,
    )


def preset_for(folder: Path, modes: tuple[str, ...], **changes: Any) -> Preset:
    """A preset that finds tiny weights in `folder`; `changes` go to its tables by name."""
    data: dict[str, Any] = {
        "id": "tiny",
        "title": "Tiny",
        "family": "wan",
        "modes": modes,
        "frame_rule": "4k+1",
        "spatial_stride": 8,
        "latent_channels": 16,
        "weights": {"source": "local", "path": str(folder), "licence": "none"},
        "defaults": {"seconds": 1, "fps": 16, "num_inference_steps": 4, "guidance_scale": 5.0},
        "limits": {"sizes": [[32, 32]], "any_size": True},
        "long": {"window_frames": 21},
        "memory": {"transformer_bytes": 1, "text_encoder_bytes": 1, "vae_bytes": 1},
    }
    for name, value in changes.items():
        data[name] = {**data[name], **value} if isinstance(data.get(name), dict) else value
    return Preset.model_validate(data)


def single_plan(
    mode: str, size: tuple[int, int], frames: int, *, steps: int = 4, guidance: float = 5.0
) -> Plan:
    """A plan of one window."""
    latent_frames = 1 + (frames - 1) // 4
    branches = 2 if guidance > 1 else 1
    window = Window(0, 0, latent_frames, 0, 0, frames, "", 0, cut=True)
    return Plan(
        preset="tiny",
        mode=mode,  # type: ignore[arg-type]
        width=size[0],
        height=size[1],
        fps=16,
        frames=frames,
        latent_frames=latent_frames,
        method="single",
        windows=(window,),
        window_frames=latent_frames,
        overlap_frames=0,
        shift_frames=0,
        carry="latent",
        ends="clamped",
        num_inference_steps=steps,
        guidance_scale=guidance,
        branches=branches,
        forwards=steps * branches,
    )
