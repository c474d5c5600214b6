"""From HunyuanVideo-Avatar's published tensors to ours, one tensor at a time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from studio.models.families.avatar_parts import load_checked
from studio.models.families.hunyuan_avatar_network import HunyuanAvatarTransformer
from studio.models.weights import LoadReport

_OWN = (
    "ref_in.",
    "before_proj.",
    "audio_proj.",
    "audio_adapter_blocks.",
    "motion_exp.",
    "motion_pose.",
    "fps_proj.",
)
_STEMS = {
    "img_in.proj": "x_embedder.proj",
    "txt_in.input_embedder": "context_embedder.proj_in",
    "txt_in.t_embedder.mlp.0": "context_embedder.time_text_embed.timestep_embedder.linear_1",
    "txt_in.t_embedder.mlp.2": "context_embedder.time_text_embed.timestep_embedder.linear_2",
    "txt_in.c_embedder.linear_1": "context_embedder.time_text_embed.text_embedder.linear_1",
    "txt_in.c_embedder.linear_2": "context_embedder.time_text_embed.text_embedder.linear_2",
    "time_in.mlp.0": "time_text_embed.timestep_embedder.linear_1",
    "time_in.mlp.2": "time_text_embed.timestep_embedder.linear_2",
    "vector_in.in_layer": "time_text_embed.text_embedder.linear_1",
    "vector_in.out_layer": "time_text_embed.text_embedder.linear_2",
    "final_layer.linear": "proj_out",
    "final_layer.adaLN_modulation.1": "norm_out.linear",
}
_BLOCKS = {
    r"txt_in\.individual_token_refiner\.blocks\.(\d+)\.": (
        "context_embedder.token_refiner.refiner_blocks.",
        {
            "norm1": ("norm1",),
            "norm2": ("norm2",),
            "mlp.fc1": ("ff.net.0.proj",),
            "mlp.fc2": ("ff.net.2",),
            "self_attn_proj": ("attn.to_out.0",),
            "adaLN_modulation.1": ("norm_out.linear",),
            "self_attn_qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
        },
    ),
    r"double_blocks\.(\d+)\.": (
        "transformer_blocks.",
        {
            "img_mod.linear": ("norm1.linear",),
            "txt_mod.linear": ("norm1_context.linear",),
            "img_attn_qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
            "txt_attn_qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
            "img_attn_q_norm": ("attn.norm_q",),
            "img_attn_k_norm": ("attn.norm_k",),
            "txt_attn_q_norm": ("attn.norm_added_q",),
            "txt_attn_k_norm": ("attn.norm_added_k",),
            "img_attn_proj": ("attn.to_out.0",),
            "txt_attn_proj": ("attn.to_add_out",),
            "img_mlp.fc1": ("ff.net.0.proj",),
            "img_mlp.fc2": ("ff.net.2",),
            "txt_mlp.fc1": ("ff_context.net.0.proj",),
            "txt_mlp.fc2": ("ff_context.net.2",),
        },
    ),
    r"single_blocks\.(\d+)\.": (
        "single_transformer_blocks.",
        {
            "linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
            "linear2": ("proj_out",),
            "q_norm": ("attn.norm_q",),
            "k_norm": ("attn.norm_k",),
            "modulation.linear": ("norm.linear",),
        },
    ),
}


def convert(name: str, tensor: Tensor, hidden: int) -> dict[str, Tensor]:
    """Our tensors that the published tensor `name` holds; empty if it belongs to another model.

    `hidden` is the transformer's width: fused projections are cut at its multiples, what is left
    is the MLP's.
    """
    if name.startswith(_OWN):
        return {name: tensor}
    stem, _, leaf = name.rpartition(".")
    if stem in _STEMS:
        if stem == "final_layer.adaLN_modulation.1":
            # published as (shift, scale), diffusers wants (scale, shift)
            tensor = torch.cat(tensor.chunk(2, dim=0)[::-1], dim=0)
        return {f"{_STEMS[stem]}.{leaf}": tensor}
    for pattern, (prefix, parts) in _BLOCKS.items():
        match = re.match(pattern, stem)
        targets = parts.get(stem[match.end() :]) if match else None
        if match and targets:
            names = [f"{prefix}{match[1]}.{target}.{leaf}" for target in targets]
            return dict(zip(names, _cut(tensor, len(names), hidden), strict=True))
    return {}


def _cut(tensor: Tensor, parts: int, hidden: int) -> list[Tensor]:
    """`tensor` in `parts` along its rows: all but the last have `hidden` of them."""
    if parts == 1:
        return [tensor]
    rest = tensor.shape[0] - hidden * (parts - 1)
    return list(torch.split(tensor, [hidden] * (parts - 1) + [rest], dim=0))


def empty_transformer(config: Mapping[str, Any]) -> HunyuanAvatarTransformer:
    """The network without weights (meta device), as large as published unless `config` differs."""
    with torch.device("meta"):
        model = HunyuanAvatarTransformer(**config)
    model.eval().requires_grad_(False)
    return model


def load_transformer(
    model: HunyuanAvatarTransformer, tensors: Iterable[tuple[str, Tensor]]
) -> LoadReport:
    """The published tensors into the network, every one counted."""
    config: Any = model.config
    hidden = config.num_attention_heads * config.attention_head_dim
    return load_checked(model, tensors, lambda name, tensor: convert(name, tensor, hidden))
