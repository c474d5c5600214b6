"""Position-shift fusion (Sonic, arXiv 2411.16331; HunyuanVideo-Avatar, arXiv 2505.20156).

A window-sized denoiser becomes a full-length one. The published loops step every window alone and
average the samples; here the predictions are fused and the scheduler steps once on the whole clip.
For Euler that is the same, and a multistep scheduler keeps one clean history.
B batch, C channels, T latent frames, H/W latent rows and columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from studio.core.request import Ends
from studio.sampling.loop import Denoise
from studio.sampling.stepper import Step
from studio.stitching.blend import FrameMean
from studio.stitching.layout import windows_at

__all__ = ["fuse", "windows_at"]


def fuse(
    denoise: Denoise,
    *,
    window_frames: int,
    shift_frames: int,
    ends: Ends,
    total_frames: int,
    cuts: Sequence[int] = (),
) -> Denoise:
    """A denoiser of `total_frames` latent frames made of windows whose cut points move.

    The windows of a step are `windows_at(step.index, ...)`, so the result depends on the step and
    not on what was called before. Each window is one call of `denoise` with x [B, C, W, H, W] and
    its absolute frames, in the window's order (on a ring the last frame may stand before the
    first). A frame under two windows gets the mean of both, accumulated in float32.
    """

    def fused(x: Tensor, step: Step, frames: Sequence[int]) -> Tensor:
        assert x.shape[2] == len(frames) == total_frames, f"{x.shape} for {total_frames} frames"
        windows = windows_at(
            step.index,
            window_frames=window_frames,
            shift_frames=shift_frames,
            ends=ends,
            total_frames=total_frames,
            cuts=cuts,
        )
        mean = FrameMean(total_frames)
        parts = (
            (x.index_select(2, torch.tensor(w, device=x.device)), [frames[i] for i in w])
            for w in windows
        )
        # A denoiser of many devices takes all windows of a step at once.
        many = getattr(denoise, "many", None)
        made = (denoise(p, step, f) for p, f in parts) if many is None else many([*parts], step)
        for prediction, window in zip(made, windows, strict=True):
            mean.add(prediction, window)
        return mean.result()

    return fused
