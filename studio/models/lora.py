"""LoRA files merged into a transformer: W += weight * alpha / rank * B @ A.

Reads the names of diffusers, of the original Wan code (with or without `diffusion_model.`) and of
kohya's tools. A file whose keys do not all find their place is refused with the list.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.core.errors import WeightsError
from studio.core.request import Lora
from studio.models.weights import LoadReport, fingerprint, read_header

if TYPE_CHECKING:
    import torch

PREFIXES = ("transformer.", "diffusion_model.", "model.", "lora_unet_", "base_model.model.")
SUFFIXES = {
    "lora_A": "down",
    "lora_down": "down",
    "lora_B": "up",
    "lora_up": "up",
    "alpha": "alpha",
    "diff": "diff",
    "diff_b": "diff_b",
}
ATTENTION = {"q": "to_q", "k": "to_k", "v": "to_v", "o": "to_out.0"}
WAN_NAMES = {
    **{f"self_attn.{k}": f"attn1.{v}" for k, v in ATTENTION.items()},
    **{f"cross_attn.{k}": f"attn2.{v}" for k, v in ATTENTION.items()},
    "cross_attn.k_img": "attn2.add_k_proj",
    "cross_attn.v_img": "attn2.add_v_proj",
    "ffn.0": "ffn.net.0.proj",
    "ffn.2": "ffn.net.2",
    "norm3": "norm2",
    "self_attn.norm_q": "attn1.norm_q",
    "self_attn.norm_k": "attn1.norm_k",
    "cross_attn.norm_q": "attn2.norm_q",
    "cross_attn.norm_k": "attn2.norm_k",
    "cross_attn.norm_k_img": "attn2.norm_added_k",
    "time_embedding.0": "condition_embedder.time_embedder.linear_1",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
    "time_projection.1": "condition_embedder.time_proj",
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "text_embedding.2": "condition_embedder.text_embedder.linear_2",
    "img_emb.proj.0": "condition_embedder.image_embedder.norm1",
    "img_emb.proj.1": "condition_embedder.image_embedder.ff.net.0.proj",
    "img_emb.proj.3": "condition_embedder.image_embedder.ff.net.2",
    "img_emb.proj.4": "condition_embedder.image_embedder.norm2",
    "head.head": "proj_out",
}


@dataclass
class Piece:
    """What a file says about one module."""

    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)


def check_lora(lora: Lora) -> Path:
    """The LoRA's file.

    Raises:
        WeightsError: unless it is a whole safetensors file.
    """
    path = Path(lora.path).expanduser()
    if not path.is_file():
        raise WeightsError(f"there is no LoRA file {path}; check the path")
    if path.suffix != ".safetensors":
        raise WeightsError(
            f"a LoRA is a .safetensors file (got {path.name}), since pickles can run code; "
            "convert it with `python -m studio models convert`"
        )
    read_header(path)
    return path


def lora_key(loras: Iterable[Lora]) -> str:
    """A name for these files at these weights; empty without any."""
    return "+".join(f"{fingerprint([check_lora(x)])}@{x.weight:g}" for x in loras)


def for_expert(lora: Lora, expert: int, experts: int) -> bool:
    """Whether a file is meant for expert 0 (high noise) or 1 (low noise), by its name."""
    name = Path(lora.path).name.lower()
    if experts < 2 or ("high" in name) == ("low" in name):
        return True
    return ("low" in name) == bool(expert)


def merge_lora(module: Any, lora: Lora) -> int:
    """Add the LoRA to the weights of `module`; how many modules changed.

    Raises:
        WeightsError: if it belongs to another architecture; nothing is changed then.
    """
    from safetensors.torch import load_file

    path = check_lora(lora)
    changes, count = _changes(module, load_file(path), path.name)
    parameters = dict(module.named_parameters())
    for name, change in changes.items():
        weight = parameters[name]
        merged = weight.data.float() + lora.weight * change.to(weight.device)
        weight.data = merged.to(weight.dtype)
    return count


def check_fit(module: Any, lora: Lora) -> None:
    """Raises WeightsError unless the LoRA is made for `module`, whose weights need not be there.

    Reads the file's header alone: a wrong file is refused before anything is loaded.
    """
    import torch

    path = check_lora(lora)
    shapes = {name: tuple(entry["shape"]) for name, entry in read_header(path).items()}
    tensors = {
        name: torch.ones(shape, device="cpu" if name.endswith("alpha") else "meta")
        for name, shape in shapes.items()
    }
    _changes(module, tensors, path.name)


def _changes(
    module: Any, tensors: Mapping[str, torch.Tensor], file: str
) -> tuple[dict[str, torch.Tensor], int]:
    """(changes to parameters by name, how many modules they are in); all keys find a place."""
    pieces, foreign = sort_keys(tensors, set(dict(module.named_modules())))
    changes: dict[str, torch.Tensor] = {}
    used = 0
    for name, piece in pieces.items():
        delta = _deltas(module.get_submodule(name), name, piece)
        if delta is None:
            foreign += piece.keys
            continue
        used += len(piece.keys)
        changes.update(delta)
    LoadReport(used, (), tuple(sorted(foreign))).require_complete(f"the LoRA {file}")
    if not changes:
        raise WeightsError(f"the LoRA {file} is empty; choose another file")
    return changes, len(pieces)


def lora_patch(module: Any, loras: Iterable[Lora]) -> Callable[[str, Any], Any]:
    """patch(name, weight): the parameter with these LoRAs in it, as `merge_lora` would leave it.

    For weights that come and go: `module` is only asked for names and shapes.

    Raises:
        WeightsError: if a file belongs to another architecture.
    """
    from safetensors.torch import load_file

    merged: list[tuple[Lora, dict[str, Piece]]] = []
    for lora in loras:
        path = check_lora(lora)
        pieces, foreign = sort_keys(load_file(path), set(dict(module.named_modules())))
        for name, piece in pieces.items():
            if _deltas(module.get_submodule(name), name, piece) is None:
                foreign += piece.keys
        used = sum(len(piece.keys) for piece in pieces.values()) - len(foreign)
        LoadReport(used, (), tuple(sorted(foreign))).require_complete(f"the LoRA {path.name}")
        merged.append((lora, pieces))

    def patch(full: str, weight: Any) -> Any:
        name = full.rpartition(".")[0]
        for lora, pieces in merged:
            if name not in pieces:
                continue
            change = (_deltas(module.get_submodule(name), name, pieces[name]) or {}).get(full)
            if change is not None:
                added = weight.float() + lora.weight * change.to(weight.device)
                weight = added.to(weight.dtype)
        return weight

    return patch


def sort_keys(
    tensors: Mapping[str, torch.Tensor], modules: set[str]
) -> tuple[dict[str, Piece], list[str]]:
    """(what is said about each module, keys that belong to none)."""
    flat = {name.replace(".", "_"): name for name in modules}
    pieces: dict[str, Piece] = {}
    foreign: list[str] = []
    for key, tensor in tensors.items():
        match = re.fullmatch(
            r"(.+?)\.(lora_A|lora_B|lora_down|lora_up|alpha|diff_b|diff)(\.default)?(\.weight)?",
            key,
        )
        name = None if match is None else _module_name(match[1], modules, flat)
        if match is None or name is None:
            foreign.append(key)
            continue
        piece = pieces.setdefault(name, Piece())
        piece.tensors[SUFFIXES[match[2]]] = tensor
        piece.keys.append(key)
    return pieces, foreign


def _module_name(name: str, modules: set[str], flat: Mapping[str, str]) -> str | None:
    """The module that a file calls `name`, or None."""
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    if name in modules:
        return name
    head = re.match(r"blocks[._](\d+)[._]", name)
    front = f"blocks.{head[1]}." if head else ""
    rest = name[head.end() :] if head else name
    for theirs, ours in WAN_NAMES.items():
        if rest in (theirs, theirs.replace(".", "_")) and front + ours in modules:
            return front + ours
    return flat.get(name)


def _deltas(target: Any, name: str, piece: Piece) -> dict[str, torch.Tensor] | None:
    """Changes to parameters by full name (float32), or None if the shapes do not fit."""
    found: dict[str, torch.Tensor] = {}
    tensors = piece.tensors
    if ("down" in tensors) != ("up" in tensors) or not hasattr(target, "weight"):
        return None
    if "down" in tensors:
        down, up = tensors["down"].float(), tensors["up"].float()
        rank = down.shape[0]
        scale = float(tensors["alpha"]) / rank if "alpha" in tensors else 1.0
        if up.flatten(1).shape[1] != rank:
            return None
        found["weight"] = scale * (up.flatten(1) @ down.flatten(1))
    if "diff" in tensors:
        found["weight"] = found.get("weight", 0) + tensors["diff"].float().reshape(
            len(tensors["diff"]), -1
        )
    if "diff_b" in tensors:
        found["bias"] = tensors["diff_b"].float()
    deltas: dict[str, torch.Tensor] = {}
    for kind, change in found.items():
        weight = getattr(target, kind, None)
        if weight is None or weight.numel() != change.numel() or len(weight) != len(change):
            return None
        deltas[f"{name}.{kind}"] = change.reshape(weight.shape)
    return deltas
