"""Tiny random-weight pipelines of diffusers' own classes, for the family `pipeline`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tests.parity import tiny


def t5() -> Any:
    """A T5 encoder of width 32."""
    from transformers import T5Config, T5EncoderModel

    torch.manual_seed(1)
    config = T5Config(vocab_size=150, d_model=32, d_kv=8, d_ff=37, num_layers=2, num_heads=4)
    return T5EncoderModel(config).eval()


def clip_tokenizer() -> Any:
    """A character-level CLIP tokenizer."""
    from transformers import CLIPTokenizer

    names = [c + end for c in tiny.CHARS for end in ("", "</w>")]
    vocab = {name: index for index, name in enumerate(names)}
    for special in ("<|startoftext|>", "<|endoftext|>"):
        vocab[special] = len(vocab)
    return CLIPTokenizer(vocab=vocab, merges=[], model_max_length=77)


def clip_text(width: int = 8) -> Any:
    """CLIP's text encoder for that tokenizer."""
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(5)
    tokens = clip_tokenizer()
    config = CLIPTextConfig(
        bos_token_id=tokens.bos_token_id,
        eos_token_id=tokens.eos_token_id,
        hidden_size=width,
        intermediate_size=37,
        num_attention_heads=4,
        num_hidden_layers=2,
        projection_dim=32,
        vocab_size=len(tokens),
    )
    return CLIPTextModel(config).eval()


def clip_vision(width: int, projection: int, image: int = 32) -> tuple[Any, Any]:
    """(image encoder with projection, its processor)."""
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        CLIPVisionModelWithProjection,
    )

    torch.manual_seed(6)
    config = CLIPVisionConfig(
        hidden_size=width,
        projection_dim=projection,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=image,
        intermediate_size=37,
        patch_size=image // 2,
    )
    processor = CLIPImageProcessor(crop_size=image, size=image)
    return CLIPVisionModelWithProjection(config).eval(), processor


def svd() -> Any:
    """Stable Video Diffusion."""
    from diffusers import (
        AutoencoderKLTemporalDecoder,
        EulerDiscreteScheduler,
        StableVideoDiffusionPipeline,
        UNetSpatioTemporalConditionModel,
    )

    torch.manual_seed(0)
    unet = UNetSpatioTemporalConditionModel(
        block_out_channels=(32, 64),
        layers_per_block=2,
        sample_size=32,
        in_channels=8,
        out_channels=4,
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        cross_attention_dim=32,
        num_attention_heads=8,
        projection_class_embeddings_input_dim=96,
        addition_time_embed_dim=32,
    )
    vae = AutoencoderKLTemporalDecoder(
        block_out_channels=[32, 64],
        in_channels=3,
        out_channels=3,
        down_block_types=["DownEncoderBlock2D", "DownEncoderBlock2D"],
        latent_channels=4,
    )
    encoder, processor = clip_vision(32, 32, 224)
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        interpolation_type="linear",
        prediction_type="v_prediction",
        use_karras_sigmas=True,
        timestep_spacing="leading",
        steps_offset=1,
        timestep_type="continuous",
        sigma_min=0.002,
        sigma_max=700.0,
    )
    return StableVideoDiffusionPipeline(
        vae=vae,
        image_encoder=encoder,
        unet=unet,
        scheduler=scheduler,
        feature_extractor=processor,
    )


def image_vae() -> Any:
    """An image VAE of 2x with 4 channels."""
    from diffusers import AutoencoderKL

    torch.manual_seed(2)
    return AutoencoderKL(
        block_out_channels=[32, 64],
        in_channels=3,
        out_channels=3,
        down_block_types=["DownEncoderBlock2D", "DownEncoderBlock2D"],
        up_block_types=["UpDecoderBlock2D", "UpDecoderBlock2D"],
        latent_channels=4,
    ).eval()


def animatediff_base() -> Any:
    """An image model of Stable Diffusion's layout."""
    from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel

    torch.manual_seed(3)
    unet = UNet2DConditionModel(
        block_out_channels=(32, 64),
        layers_per_block=2,
        sample_size=8,
        in_channels=4,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=8,
        norm_num_groups=2,
    )
    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    return StableDiffusionPipeline(
        vae=image_vae(),
        text_encoder=clip_text(32),
        tokenizer=clip_tokenizer(),
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def motion_adapter() -> Any:
    """AnimateDiff's motion modules for that model."""
    from diffusers import MotionAdapter

    torch.manual_seed(4)
    return MotionAdapter(
        block_out_channels=(32, 64),
        motion_layers_per_block=2,
        motion_norm_num_groups=2,
        motion_num_attention_heads=4,
    )


def ltx() -> Any:
    """LTX-Video."""
    from diffusers import (
        AutoencoderKLLTXVideo,
        FlowMatchEulerDiscreteScheduler,
        LTXPipeline,
        LTXVideoTransformer3DModel,
    )

    torch.manual_seed(0)
    transformer = LTXVideoTransformer3DModel(
        in_channels=8,
        out_channels=8,
        patch_size=1,
        patch_size_t=1,
        num_attention_heads=4,
        attention_head_dim=8,
        cross_attention_dim=32,
        num_layers=1,
        caption_channels=32,
    )
    vae = AutoencoderKLLTXVideo(
        in_channels=3,
        out_channels=3,
        latent_channels=8,
        block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1, 1),
        spatio_temporal_scaling=(True, True, False, False),
        decoder_spatio_temporal_scaling=(True, True, False, False),
        decoder_inject_noise=(False, False, False, False, False),
        upsample_residual=(False, False, False, False),
        upsample_factor=(1, 1, 1, 1),
        timestep_conditioning=False,
        patch_size=1,
        patch_size_t=1,
        encoder_causal=True,
        decoder_causal=False,
    )
    vae.use_framewise_encoding = False
    vae.use_framewise_decoding = False
    return LTXPipeline(
        transformer=transformer,
        vae=vae,
        scheduler=FlowMatchEulerDiscreteScheduler(),
        text_encoder=t5(),
        tokenizer=tiny.t5_tokenizer(),
    )


def skyreels(kind: str) -> Any:
    """SkyReels-V2: "t2v", "i2v" or "df"."""
    import diffusers
    from diffusers import SkyReelsV2Transformer3DModel, UniPCMultistepScheduler

    sees = kind == "i2v"
    torch.manual_seed(3)
    more: dict[str, Any] = {"image_dim": 4, "added_kv_proj_dim": 24} if sees else {}
    transformer = SkyReelsV2Transformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=36 if sees else 16,
        out_channels=16,
        text_dim=32,
        freq_dim=256,
        ffn_dim=32,
        num_layers=2,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        rope_max_seq_len=64,
        **more,
    )
    parts: dict[str, Any] = {
        "transformer": transformer.eval(),
        "vae": tiny.wan_vae(),
        "scheduler": UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=8.0
        ),
        "text_encoder": tiny.umt5(),
        "tokenizer": tiny.t5_tokenizer(),
    }
    if sees:
        parts["image_encoder"], parts["image_processor"] = tiny.clip_vision()
    names = {"i2v": "ImageToVideo", "df": "DiffusionForcing", "t2v": ""}
    return getattr(diffusers, f"SkyReelsV2{names[kind]}Pipeline")(**parts)


def mochi() -> Any:
    """Mochi 1."""
    from diffusers import (
        AutoencoderKLMochi,
        FlowMatchEulerDiscreteScheduler,
        MochiPipeline,
        MochiTransformer3DModel,
    )

    torch.manual_seed(0)
    transformer = MochiTransformer3DModel(
        patch_size=2,
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=2,
        pooled_projection_dim=16,
        in_channels=12,
        out_channels=None,
        qk_norm="rms_norm",
        text_embed_dim=32,
        time_embed_dim=4,
        activation_fn="swiglu",
        max_sequence_length=16,
    )
    vae = AutoencoderKLMochi(
        latent_channels=12,
        out_channels=3,
        encoder_block_out_channels=(32, 32, 32, 32),
        decoder_block_out_channels=(32, 32, 32, 32),
        layers_per_block=(1, 1, 1, 1, 1),
    )
    vae.use_framewise_decoding = False
    return MochiPipeline(
        transformer=transformer,
        vae=vae,
        scheduler=FlowMatchEulerDiscreteScheduler(),
        text_encoder=t5(),
        tokenizer=tiny.t5_tokenizer(),
    )


def allegro() -> Any:
    """Allegro."""
    from diffusers import (
        AllegroPipeline,
        AllegroTransformer3DModel,
        AutoencoderKLAllegro,
        EulerAncestralDiscreteScheduler,
    )

    torch.manual_seed(0)
    transformer = AllegroTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        cross_attention_dim=24,
        sample_width=8,
        sample_height=8,
        sample_frames=8,
        caption_channels=32,
    )
    vae = AutoencoderKLAllegro(
        in_channels=3,
        out_channels=3,
        down_block_types=("AllegroDownBlock3D",) * 4,
        up_block_types=("AllegroUpBlock3D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
        temporal_compression_ratio=4,
    )
    return AllegroPipeline(
        transformer=transformer,
        vae=vae,
        scheduler=EulerAncestralDiscreteScheduler(),
        text_encoder=t5(),
        tokenizer=tiny.t5_tokenizer(),
    )


def latte() -> Any:
    """Latte 1."""
    from diffusers import DDIMScheduler, LattePipeline, LatteTransformer3DModel

    torch.manual_seed(0)
    transformer = LatteTransformer3DModel(
        sample_size=8,
        video_length=3,
        num_layers=1,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=3,
        caption_channels=32,
        in_channels=4,
        cross_attention_dim=24,
        out_channels=8,
        attention_bias=True,
        activation_fn="gelu-approximate",
        num_embeds_ada_norm=1000,
        norm_type="ada_norm_single",
        norm_elementwise_affine=False,
        norm_eps=1e-6,
    )
    return LattePipeline(
        transformer=transformer.eval(),
        vae=image_vae(),
        scheduler=DDIMScheduler(),
        text_encoder=t5(),
        tokenizer=tiny.t5_tokenizer(),
    )


def save(kind: str, folder: Path) -> dict[str, str]:
    """Write tiny weights of `kind` below `folder`; published repository -> folder for its parts."""
    from tests.parity import tiny_large

    makers = {
        "svd": svd,
        "ltx": ltx,
        "skyreels-t2v": lambda: skyreels("t2v"),
        "skyreels-i2v": lambda: skyreels("i2v"),
        "skyreels-df": lambda: skyreels("df"),
        "mochi": mochi,
        "allegro": allegro,
        "latte": latte,
        "animatediff": animatediff_base,
        **tiny_large.MAKERS,
    }
    makers[kind]().save_pretrained(folder)
    if kind == "animatediff":
        motion_adapter().save_pretrained(folder / "motion")
        return {"motion_adapter": str(folder / "motion")}
    return tiny_large.save_more(kind, folder)
