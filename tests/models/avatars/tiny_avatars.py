"""Tiny avatars with random weights in the published folder layouts, built offline."""

from __future__ import annotations

import wave
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from studio.core.preset import Preset
from studio.models.families.hunyuan_avatar_network import HunyuanAvatarTransformer
from studio.models.families.omniavatar_network import OmniAvatarTransformer
from tests.parity import tiny

WAN = {
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "num_layers": 4,
    "ffn_dim": 40,
    "freq_dim": 32,
    "text_dim": 32,
    "rope_max_seq_len": 64,
}
HUNYUAN = {
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "num_layers": 2,
    "num_single_layers": 2,
    "num_refiner_layers": 1,
    "text_embed_dim": 16,
    "pooled_projection_dim": 8,
    "rope_axes_dim": [4, 4, 4],
    "adapters": 1,
}
PATCH, IMAGE_SIDE = 56, 336


def adapter_of(model: OmniAvatarTransformer, rank: int = 3) -> dict[str, torch.Tensor]:
    """Adapter tensors as they are published, for `model`."""
    dim = model.config.num_attention_heads * model.config.attention_head_dim
    wide = model.config.ffn_dim
    own = {
        name: value.clone() + 0.1
        for name, value in model.state_dict().items()
        if name.startswith(("patch_embedding.", "audio_"))
    }
    places = [(f"{a}.{letter}", dim, dim) for a in ("self_attn", "cross_attn") for letter in "qkvo"]
    places += [("ffn.0", dim, wide), ("ffn.2", wide, dim)]
    for i in range(len(model.blocks)):
        for place, into, out in places:
            own[f"blocks.{i}.{place}.lora_A.default.weight"] = torch.randn(rank, into)
            own[f"blocks.{i}.{place}.lora_B.default.weight"] = torch.randn(out, rank) * 0.1
    return own


def omniavatar(root: Path) -> Preset:
    """OmniAvatar over Wan, Wav2Vec2 beside; windows of 5 latent frames, 2 of them given."""
    from diffusers import WanTransformer3DModel
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    torch.manual_seed(0)
    base, own, ears = (root / name for name in ("wan", "omniavatar", "wav2vec2"))
    WanTransformer3DModel(**WAN).save_pretrained(base / "transformer")
    tiny.wan_vae().save_pretrained(base / "vae")
    tiny.umt5().save_pretrained(base / "text_encoder")
    tiny.t5_tokenizer().save_pretrained(base / "tokenizer")
    config = Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8, 8),
        conv_stride=(16, 20),
        conv_kernel=(16, 20),
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
    )
    Wav2Vec2Model(config).save_pretrained(ears)
    model = OmniAvatarTransformer(**WAN, audio_features=4 * 16, audio_width=8)
    own.mkdir()
    save_file(adapter_of(model), own / "pytorch_model.safetensors")
    return tiny.preset_for(
        base,
        ("avatar",),
        family="omniavatar",
        pin="overwrite",
        weights={"adapters": [str(own), str(ears)]},
        defaults={"fps": 25.0, "num_inference_steps": 2, "guidance_scale": 4.5},
        limits={"size_multiple": 16},
        long={
            "methods": ["overlap-prefix"],
            "window_frames": 5,
            "overlap_frames": 2,
            "carry": "reencode",
            "full_windows": True,
        },
        options={"lora_rank": 3, "lora_alpha": 1.5},
    )


def hunyuan_vae() -> Any:
    """HunyuanVideo's VAE, 8x and 16 channels."""
    from diffusers import AutoencoderKLHunyuanVideo

    return AutoencoderKLHunyuanVideo(
        latent_channels=16,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        scaling_factor=0.476986,
    ).eval()


def llama_tokenizer() -> Any:
    """Characters, with <image> as a token of its own."""
    from transformers import LlamaTokenizerFast

    vocab = {"<unk>": 0, "<s>": 1, "</s>": 2, "<pad>": 3, "<image>": 4}
    for byte in range(256):
        vocab[f"<0x{byte:02X}>"] = len(vocab)
    vocab["▁"] = len(vocab)
    for char in tiny.CHARS:
        vocab.setdefault(char, len(vocab))
    return LlamaTokenizerFast(
        vocab=vocab,
        merges=[],
        pad_token="<pad>",
        padding_side="right",
        additional_special_tokens=["<image>"],
    )


def clip_tokenizer() -> Any:
    from transformers import CLIPTokenizer

    names = [c + end for c in tiny.CHARS for end in ("", "</w>")]
    names += ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={n: i for i, n in enumerate(names)}, merges=[], model_max_length=77)


def llava(vocab: int) -> Any:
    """A LLaVA of width 16 that makes 36 tokens of a picture."""
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
    )

    vision = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=IMAGE_SIDE,
        patch_size=PATCH,
        projection_dim=8,
    )
    text = LlamaConfig(
        vocab_size=vocab,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        num_key_value_heads=2,
        pad_token_id=3,
    )
    count = (IMAGE_SIDE // PATCH) ** 2
    config = LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=4, image_seq_length=count
    )
    return LlavaForConditionalGeneration(config).eval()


def hunyuan(root: Path) -> Preset:
    """HunyuanVideo-Avatar as published after conversion; windows of 4 latent frames."""
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    own, base = root / "avatar", root / "hunyuanvideo"
    hunyuan_vae().save_pretrained(base / "vae")
    tokenizer = llama_tokenizer()
    tokenizer.save_pretrained(own / "llava_llama_image")
    llava(len(tokenizer)).save_pretrained(own / "llava_llama_image")
    clip = clip_tokenizer()
    clip.save_pretrained(own / "text_encoder_2")
    config = CLIPTextConfig(
        bos_token_id=clip.bos_token_id,
        eos_token_id=clip.eos_token_id,
        hidden_size=8,
        intermediate_size=16,
        num_attention_heads=2,
        num_hidden_layers=2,
        vocab_size=len(clip),
    )
    CLIPTextModel(config).save_pretrained(own / "text_encoder_2")
    whisper(own / "whisper-tiny")
    folder = own / "hunyuan-video-t2v-720p" / "transformers"
    folder.mkdir(parents=True)
    model = HunyuanAvatarTransformer(**HUNYUAN)
    save_file(published(model.state_dict()), folder / "mp_rank_00_model_states.safetensors")
    return tiny.preset_for(
        own,
        ("avatar",),
        family="hunyuan_avatar",
        weights={"adapters": [str(base)]},
        defaults={"fps": 25.0, "num_inference_steps": 2, "guidance_scale": 7.5},
        limits={"size_multiple": 16},
        long={
            "methods": ["position-shift"],
            "window_frames": 4,
            "overlap_frames": 1,
            "shift_frames": 1,
        },
        options={
            "network": HUNYUAN,
            "reference_frames": 9,
            "template": {"text": "{}", "crop": 0},
        },
    )


def whisper(folder: Path) -> None:
    """Five states of width 384 (the network's own sizes), as shallow as they can be."""
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

    config = WhisperConfig(
        d_model=384,
        encoder_layers=4,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=8,
        decoder_ffn_dim=8,
        vocab_size=8,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    WhisperModel(config).save_pretrained(folder)
    WhisperFeatureExtractor().save_pretrained(folder)


def published(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Our tensors under the published names, fused where they are fused there."""
    from studio.models.families import hunyuan_avatar_weights as weights

    stems = {ours: theirs for theirs, ours in weights._STEMS.items()}
    found = {n: t.contiguous() for n, t in state.items() if n.startswith(weights._OWN)}
    rest = {n: t for n, t in state.items() if n not in found}
    for name in [n for n in rest if n.rpartition(".")[0] in stems]:
        stem, _, leaf = name.rpartition(".")
        value = rest.pop(name)
        if stem == "norm_out.linear":
            value = torch.cat(value.chunk(2)[::-1])
        found[f"{stems[stem]}.{leaf}"] = value.contiguous()
    for pattern, (prefix, parts) in weights._BLOCKS.items():
        head = pattern.replace("\\", "").replace("(d+).", "")
        count = len({n[len(prefix) :].split(".")[0] for n in rest if n.startswith(prefix)})
        for i in range(count):
            for (theirs, targets), leaf in product(parts.items(), ("weight", "bias")):
                pieces = [rest.pop(f"{prefix}{i}.{t}.{leaf}", None) for t in targets]
                if pieces[0] is not None:
                    found[f"{head}{i}.{theirs}.{leaf}"] = torch.cat(pieces)
    assert not rest, list(rest)[:5]
    return found


def sound(path: Path, seconds: float, pitch: float = 220.0) -> str:
    """A tone of 16 kHz that swells."""
    t = np.arange(round(seconds * 16_000)) / 16_000
    samples = (np.sin(2 * np.pi * pitch * t) * np.sin(np.pi * t / seconds) * 20_000).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(samples.tobytes())
    return str(path)


def portrait(path: Path) -> str:
    pixels = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return str(path)
