"""Write the averaged weights of a training state as a diffusers folder with its prior."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from studio.models.prior import TokenPrior
from studio.pocket.preview import load
from studio.pocket.train_transformer import build


def export_transformer(
    cache: Path, folder: Path, text_width: int = 128, state: str = "state.pt"
) -> int:
    """Write `folder` (config, float16 weights, prior.safetensors); returns the step.

    The folder appears whole or not at all; an older one is replaced.
    """
    model = build(text_width)
    step = load(cache, model, state)
    draft = folder.with_name(f".{folder.name}")
    shutil.rmtree(draft, ignore_errors=True)
    model.to(torch.float16).save_pretrained(draft)
    TokenPrior.load(cache / "prior").save(draft)
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)
    return step
