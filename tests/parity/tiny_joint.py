"""Tiny HunyuanVideo and CogVideoX pipelines of random weights, in the published layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from studio.core.preset import Preset
from tests.parity.tiny import CHARS, preset_for, t5_tokenizer

IMAGE = "<image>"
HEADER = "<|end_header_id|>"
TEMPLATE = {
    "template": f"s{HEADER}{IMAGE}d s{HEADER}{{}}e a{HEADER} x",
    "crop_start": 6,
    "image_emb_start": 3,
    "image_emb_end": 7,
    "image_emb_len": 4,
}
PLAIN = {"template": "about: {}", "crop_start": 6}


def clip_text() -> tuple[Any, Any]:
    """(CLIP text model, its tokenizer), characters for tokens."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    ends = {c + end: 0 for c in CHARS for end in ("", "</w>")}
    names = [*ends, "<|startoftext|>", "<|endoftext|>"]
    vocab = {name: i for i, name in enumerate(names)}
    tokenizer = CLIPTokenizer(vocab=vocab, merges=[], model_max_length=77)
    torch.manual_seed(5)
    config = CLIPTextConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        hidden_size=8,
        intermediate_size=24,
        num_attention_heads=2,
        num_hidden_layers=2,
        projection_dim=16,
        vocab_size=len(tokenizer),
    )
    return CLIPTextModel(config).eval(), tokenizer


def llama_tokenizer() -> Any:
    """A character-level Llama tokenizer with the template's own tokens."""
    from transformers import LlamaTokenizerFast

    names = ["<unk>", "<s>", "</s>", "<pad>", *(f"<0x{b:02X}>" for b in range(256)), "▁", *CHARS]
    tokenizer = LlamaTokenizerFast(
        vocab={name: i for i, name in enumerate(names)},
        merges=[],
        pad_token="<pad>",
        padding_side="right",
        model_max_length=1024,
    )
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE, HEADER]})
    return tokenizer


def llama_config(size: int) -> dict[str, Any]:
    return {
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 3,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "num_hidden_layers": 4,
        "vocab_size": size,
        "max_position_embeddings": 1024,
    }


def llava(tokenizer: Any) -> tuple[Any, Any]:
    """(LLaVA model that sees four image tokens, its image processor)."""
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
    )

    torch.manual_seed(6)
    vision = CLIPVisionConfig(
        hidden_size=8,
        intermediate_size=16,
        projection_dim=8,
        num_attention_heads=2,
        num_hidden_layers=3,
        image_size=8,
        patch_size=4,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=LlamaConfig(**llama_config(len(tokenizer))),
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        pad_token_id=3,
    )
    processor = CLIPImageProcessor(crop_size=8, size={"shortest_edge": 8})
    return LlavaForConditionalGeneration(config).eval(), processor


def hunyuan_pipeline(kind: str) -> Any:
    """t2v, t2v-plain (no guidance input), token_replace or latent_concat."""
    from diffusers import (
        AutoencoderKLHunyuanVideo,
        FlowMatchEulerDiscreteScheduler,
        HunyuanVideoImageToVideoPipeline,
        HunyuanVideoPipeline,
        HunyuanVideoTransformer3DModel,
    )
    from transformers import LlamaConfig, LlamaModel

    condition = kind if kind in ("token_replace", "latent_concat") else None
    torch.manual_seed(7)
    transformer = HunyuanVideoTransformer3DModel(
        in_channels=9 if kind == "latent_concat" else 4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=10,
        num_layers=1,
        num_single_layers=1,
        num_refiner_layers=1,
        patch_size=1,
        patch_size_t=1,
        guidance_embeds=kind != "t2v-plain" and condition is None,
        text_embed_dim=16,
        pooled_projection_dim=8,
        rope_axes_dim=(2, 4, 4),
        image_condition_type=condition,
    ).eval()
    vae = AutoencoderKLHunyuanVideo(
        latent_channels=4,
        down_block_types=("HunyuanVideoDownBlock3D",) * 4,
        up_block_types=("HunyuanVideoUpBlock3D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        scaling_factor=0.476986,
    ).eval()
    tokenizer = llama_tokenizer()
    clip, clip_tokenizer = clip_text()
    parts: dict[str, Any] = {
        "transformer": transformer,
        "vae": vae,
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=7.0),
        "text_encoder_2": clip,
        "tokenizer": tokenizer,
        "tokenizer_2": clip_tokenizer,
    }
    if condition is None:
        model = LlamaModel(LlamaConfig(**llama_config(len(tokenizer)))).eval()
        return HunyuanVideoPipeline(**parts, text_encoder=model)
    model, processor = llava(tokenizer)
    return HunyuanVideoImageToVideoPipeline(**parts, text_encoder=model, image_processor=processor)


COG: dict[str, dict[str, Any]] = {
    "2b": {"use_rotary_positional_embeddings": False},
    "5b": {},
    "5b-dpm": {},
    "1.5": {"patch_size_t": 2, "sample_width": 8, "sample_height": 8},
    "5b-i2v": {
        "in_channels": 8,
        "use_learned_positional_embeddings": True,
        "sample_width": 4,
        "sample_height": 4,
        "sample_frames": 9,
    },
    "1.5-i2v": {
        "in_channels": 8,
        "patch_size_t": 2,
        "ofs_embed_dim": 8,
        "sample_width": 8,
        "sample_height": 8,
    },
}


def cog_pipeline(kind: str) -> Any:
    """One of `COG`."""
    from diffusers import (
        AutoencoderKLCogVideoX,
        CogVideoXDDIMScheduler,
        CogVideoXDPMScheduler,
        CogVideoXImageToVideoPipeline,
        CogVideoXPipeline,
        CogVideoXTransformer3DModel,
    )
    from transformers import T5Config, T5EncoderModel

    torch.manual_seed(8)
    options = {"use_rotary_positional_embeddings": True, "in_channels": 4, **COG[kind]}
    transformer = CogVideoXTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        out_channels=4,
        time_embed_dim=8,
        text_embed_dim=32,
        num_layers=2,
        max_text_seq_length=32,
        **{"sample_width": 4, "sample_height": 4, "sample_frames": 9, **options},
    ).eval()
    vae = AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * 4,
        up_block_types=("CogVideoXUpBlock3D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
        invert_scale_latents=kind.startswith("1.5"),
    ).eval()
    sampler = CogVideoXDDIMScheduler if kind in ("2b", "1.5-i2v") else CogVideoXDPMScheduler
    encoder = T5EncoderModel(
        T5Config(vocab_size=150, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4)
    ).eval()
    pipeline = CogVideoXImageToVideoPipeline if kind.endswith("i2v") else CogVideoXPipeline
    return pipeline(
        transformer=transformer,
        vae=vae,
        scheduler=sampler(
            prediction_type="v_prediction",
            rescale_betas_zero_snr=True,
            snr_shift_scale=1.0,
            timestep_spacing="trailing",
        ),
        text_encoder=encoder,
        tokenizer=t5_tokenizer(),
    )


def joint_preset(folder: Path, family: str, mode: str, **changes: Any) -> Preset:
    """A preset of one of the two families for the tiny weights in `folder`."""
    tokens = 32 if family == "cogvideox" else 48
    base: dict[str, Any] = {
        "family": family,
        "latent_channels": 4,
        "limits": {"max_prompt_tokens": tokens},
        "long": {"window_frames": 22},
    }
    for name, value in changes.items():
        base[name] = {**base.get(name, {}), **value} if isinstance(value, dict) else value
    return preset_for(folder, (mode,), **base)
