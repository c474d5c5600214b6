"""The models of `bench stream`, at their full size with random weights, as folders on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studio.core.errors import StudioError

PARTS = ("transformer", "text_encoder")
POOL = 2**22
NEED_BYTES = 12 * 2**30


def write_models(root: Path) -> dict[str, Path]:
    """Folders of both models in diffusers' and transformers' layout, in bfloat16."""
    import shutil

    import torch
    from accelerate import init_empty_weights
    from diffusers import WanTransformer3DModel
    from transformers import UMT5Config, UMT5EncoderModel

    if shutil.disk_usage(root).free < NEED_BYTES:
        raise StudioError(
            f"the models take 8 GB of disk and {root} has less than 12 GB free; use --folder"
        )
    config = UMT5Config(
        vocab_size=256384,
        d_model=4096,
        d_kv=64,
        d_ff=10240,
        num_layers=6,
        num_heads=64,
        feed_forward_proj="gated-gelu",
        is_encoder_decoder=False,
        architectures=["UMT5EncoderModel"],
    )
    with init_empty_weights(include_buffers=False):
        # The class's own defaults are the 14B model; these are Wan 2.1 1.3B's figures.
        transformer = WanTransformer3DModel(
            num_attention_heads=12, attention_head_dim=128, ffn_dim=8960, num_layers=30
        )
        encoder = UMT5EncoderModel(config)
    kept = WanTransformer3DModel._keep_in_fp32_modules
    folders = {part: root / part for part in PARTS}
    for path in folders.values():
        path.mkdir()
    transformer.save_config(folders["transformer"])
    _write(
        {
            name: (p.shape, torch.float32 if any(k in name.split(".") for k in kept) else None)
            for name, p in transformer.named_parameters()
        },
        folders["transformer"] / "diffusion_pytorch_model.safetensors",
    )
    config.save_pretrained(folders["text_encoder"])
    named = {name: (p.shape, None) for name, p in encoder.named_parameters()}
    _write(named, folders["text_encoder"] / "model.safetensors")
    return folders


def _write(named: Mapping[str, tuple[Any, Any]], path: Path) -> None:
    """A file of random weights: normal numbers of deviation 0.02, from one pool of 4 M of them."""
    import torch
    from safetensors.torch import save_file

    draw = torch.Generator().manual_seed(0)
    pool = torch.empty(POOL).normal_(0.0, 0.02, generator=draw).bfloat16().repeat(2)
    tensors = {}
    for name, (shape, dtype) in named.items():
        count, start = shape.numel(), int(torch.randint(0, POOL, (1,), generator=draw))
        piece = pool[start : start + min(count, POOL)]
        flat = piece.repeat(-(-count // len(piece)))[:count]
        tensors[name] = flat.to(dtype or torch.bfloat16).reshape(shape)
    save_file(tensors, path, metadata={"format": "pt"})
