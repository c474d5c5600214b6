"""OmniAvatar's published files on top of a Wan 2.1 T2V checkpoint: every key counted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from diffusers.models.transformers.transformer_wan import WanRotaryPosEmbed
from torch import Tensor

from studio.core.errors import WeightsError
from studio.models.families.avatar_parts import load_checked, set_tensor
from studio.models.families.omniavatar_network import GROUP, OmniAvatarTransformer
from studio.models.weights import LoadReport

LORA_ALPHA = 64.0
_STEMS = {
    "patch_embedding": "patch_embedding",
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "text_embedding.2": "condition_embedder.text_embedder.linear_2",
    "time_embedding.0": "condition_embedder.time_embedder.linear_1",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
    "time_projection.1": "condition_embedder.time_proj",
    "head.head": "proj_out",
}
_PARTS = {
    **{
        f"{theirs}.{letter}": f"{ours}.{target}"
        for theirs, ours in (("self_attn", "attn1"), ("cross_attn", "attn2"))
        for letter, target in (("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("o", "to_out.0"))
    },
    "ffn.0": "ffn.net.0.proj",
    "ffn.2": "ffn.net.2",
}
_NORMS = {
    "self_attn.norm_q": "attn1.norm_q",
    "self_attn.norm_k": "attn1.norm_k",
    "cross_attn.norm_q": "attn2.norm_q",
    "cross_attn.norm_k": "attn2.norm_k",
    "norm3": "norm2",
}
_OWN = ("patch_embedding.", "audio_proj.", "audio_cond_projs.")
_LORA = re.compile(r"blocks\.(\d+)\.(.+)\.lora_([AB])(?:\.default)?\.weight")


def base_name(name: str) -> str | None:
    """diffusers' name of a tensor of Wan's checkpoints, original or already diffusers'."""
    if name == "head.modulation":
        return "scale_shift_table"
    block = re.match(r"blocks\.(\d+)\.(.+)", name)
    if block is None:
        stem, _, leaf = name.rpartition(".")
        if stem in _STEMS:
            return f"{_STEMS[stem]}.{leaf}"
        ours = stem in _STEMS.values() or name == "scale_shift_table"
        return name if ours else None
    if block[2] == "modulation":
        return f"blocks.{block[1]}.scale_shift_table"
    stem, _, leaf = block[2].rpartition(".")
    places = _PARTS | _NORMS
    if stem in places:
        return f"blocks.{block[1]}.{places[stem]}.{leaf}"
    ours = stem in places.values() or block[2] == "scale_shift_table"
    return name if ours else None


def audio_sizes(shapes: Mapping[str, Any]) -> dict[str, int]:
    """Features of an audio frame and width of the Audio Pack in tensors of these shapes.

    Raises:
        WeightsError: if there is no Audio Pack: the file belongs to another model.
    """
    name = "audio_proj.proj.weight"
    if name not in shapes:
        raise WeightsError(
            f"the adapter has no {name}; download OmniAvatar's own weights and convert them with "
            "`python -m studio models convert`"
        )
    width, features = shapes[name]["shape"]
    return {"audio_features": features // GROUP, "audio_width": width}


def empty_transformer(config: Mapping[str, Any], **audio: int) -> OmniAvatarTransformer:
    """The network without weights (meta device), its position table excepted.

    `audio` are the sizes that `audio_sizes` gives, as published unless given.
    """
    keys = (
        "num_attention_heads",
        "attention_head_dim",
        "num_layers",
        "ffn_dim",
        "freq_dim",
        "text_dim",
        "eps",
        "cross_attn_norm",
        "qk_norm",
        "rope_max_seq_len",
    )
    known = {key: config[key] for key in keys if key in config}
    with torch.device("meta"):
        model = OmniAvatarTransformer(**known, **audio)
    sizes: Any = model.config
    model.rope = WanRotaryPosEmbed(
        sizes.attention_head_dim, sizes.patch_size, sizes.rope_max_seq_len
    )
    model.eval().requires_grad_(False)
    return model


def load_base(
    model: OmniAvatarTransformer,
    tensors: Iterable[tuple[str, Tensor]],
    dtype: torch.dtype | None = None,
) -> LoadReport:
    """Wan's tensors into the network; its 16-channel patch embedding is left to the adapter.

    They become `dtype` if given, those excepted that diffusers keeps in float32 (time, norms).
    """
    kept = set(model._keep_in_fp32_modules)
    expected = {n for n, _ in model.named_parameters() if not n.startswith(_OWN)}

    def convert(name: str, tensor: Tensor) -> dict[str, Tensor]:
        ours = base_name(name)
        if ours is None:
            return {}
        precise = not kept.isdisjoint(ours.split("."))
        return {ours: tensor.to(torch.float32 if dtype and precise else dtype)}

    wanted = ((n, t) for n, t in tensors if not n.startswith("patch_embedding."))
    return load_checked(model, wanted, convert, expected)


def load_adapter(
    model: OmniAvatarTransformer,
    tensors: Iterable[tuple[str, Tensor]],
    *,
    alpha: float = LORA_ALPHA,
    rank: int | None = None,
    dtype: torch.dtype | None = None,
) -> LoadReport:
    """OmniAvatar's own tensors: the LoRA is merged, W += alpha/rank * B A, the rest is put in.

    diffusers' converter takes these keys too, but without alpha: twice too strong.

    Raises:
        WeightsError: if a tensor has another shape than its place or another rank than `rank`.
    """
    targets = {
        f"blocks.{i}.{part}.weight" for i in range(len(model.blocks)) for part in _PARTS.values()
    }
    halves: dict[str, dict[str, Tensor]] = {target: {} for target in targets}
    left = {n for n, _ in model.named_parameters() if n.startswith(_OWN)}
    plain: list[tuple[str, Tensor]] = []
    consumed, unexpected = 0, []
    for name, tensor in tensors:
        match = _LORA.fullmatch(name)
        if match is None:
            plain.append((name, tensor))
            continue
        pair = halves.get(f"blocks.{match[1]}.{_PARTS.get(match[2])}.weight")
        if pair is None or match[3] in pair:
            unexpected.append(name)
            continue
        pair[match[3]] = tensor
        consumed += 1
    missing = [f"{t} (LoRA)" for t in sorted(targets) if len(halves[t]) != 2]
    own = load_checked(model, plain, lambda name, tensor: {name: tensor.to(dtype)}, left)
    for target, pair in halves.items():
        if len(pair) == 2:
            _merge(model, target, pair, alpha, rank)
    return LoadReport(
        consumed + own.consumed,
        (*missing, *own.missing),
        (*unexpected, *own.unexpected),
    )


def _merge(
    model: OmniAvatarTransformer,
    target: str,
    pair: Mapping[str, Tensor],
    alpha: float,
    rank: int | None,
) -> None:
    weight = model.get_parameter(target)
    up, down = pair["B"], pair["A"]
    fits = (up.shape[0], down.shape[1]) == tuple(weight.shape) and up.shape[1] == down.shape[0]
    if not fits or rank not in (None, down.shape[0]):
        raise WeightsError(
            f"the LoRA of {target} is {tuple(up.shape)} times {tuple(down.shape)}, which does not "
            f"fit {tuple(weight.shape)} at rank {rank or down.shape[0]}; pick the preset that "
            "these weights belong to"
        )
    delta = (up.float() @ down.float()) * (alpha / down.shape[0])
    set_tensor(model, target, (weight.float() + delta.to(weight.device)).to(weight.dtype))
