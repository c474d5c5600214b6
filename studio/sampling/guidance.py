"""Combining conditional and unconditional predictions.

Written operation for operation like diffusers' pipelines, so that results are equal bit for bit.
All tensors of one call have one shape.
"""

from __future__ import annotations

from torch import Tensor


def cfg(cond: Tensor, uncond: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance (arXiv 2207.12598): `uncond + scale * (cond - uncond)`."""
    return uncond + scale * (cond - uncond)


def cfg_text_audio(
    full: Tensor, text_only: Tensor, uncond: Tensor, text_scale: float, audio_scale: float
) -> Tensor:
    """Guidance with its own scales for text and sound (OmniAvatar's three passes).

    `full` saw text and sound, `text_only` the text and silent embeddings, `uncond` neither.
    """
    return uncond + text_scale * (text_only - uncond) + audio_scale * (full - text_only)


def rescale(guided: Tensor, cond: Tensor, share: float) -> Tensor:
    """`guided` drawn to the standard deviation of `cond` (arXiv 2305.08891, section 3.4).

    `share` 0 changes nothing, 1 takes the deviation of `cond` whole; deviations are per sample.
    """
    axes = list(range(1, cond.ndim))
    std_cond = cond.std(dim=axes, keepdim=True)
    std_guided = guided.std(dim=axes, keepdim=True)
    rescaled = guided * (std_cond / std_guided)
    return share * rescaled + (1 - share) * guided
