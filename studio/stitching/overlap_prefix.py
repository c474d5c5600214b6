"""Overlap-prefix: every window begins with the last latent frames of the one before, pinned.

Pure orchestration: who makes, decodes and encodes is passed in. Latents are [1, C, T, H, W],
video frames uint8 [n, height, width, 3].
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from studio.core.geometry import FrameRule
from studio.core.plan import Window
from studio.core.request import Carry

Frames = npt.NDArray[np.uint8]
Make = Callable[[Window, Tensor | None], Tensor]
"""make(window, prefix [1, C, pinned, H, W]): the window's latents [1, C, stop - start, H, W]."""

WARM_FRAMES = 3


def run_windows(
    windows: Iterable[Window], *, make: Make, prefix: Callable[[Window], Tensor]
) -> Iterator[tuple[Window, Tensor]]:
    """Each window with the latents that it adds to the clip, in order.

    `prefix(window)` is asked for when the window before has been taken by the caller (and decoded,
    if the carry needs pixels); a window that is cut to gets None. To resume, pass the windows that
    are not there yet.
    """
    for window in windows:
        given = None if window.cut else prefix(window)
        assert given is None or given.shape[2] == window.pinned, f"window {window.index}"
        yield window, added(window, make(window, given))


def added(window: Window, latents: Tensor) -> Tensor:
    """Of a window's latents those that belong to the clip: without prefix and discarded tail."""
    count = window.stop - window.start
    assert latents.shape[2] == count, f"{latents.shape[2]} latents for a window of {count}"
    return latents[:, :, window.pinned : count - window.discard]


def tail_frames(carry: Carry, overlap_frames: int, rule: FrameRule) -> int:
    """Video frames that `prefix_latents` may ask for: keep so many of what was decoded."""
    if carry == "latent":
        return 0
    extra = WARM_FRAMES if carry == "reencode-warm" else 0
    return rule.pixel_frames(overlap_frames + extra)


def prefix_latents(
    carry: Carry,
    overlap_frames: int,
    *,
    rule: FrameRule,
    latents: Tensor,
    tail: Callable[[int], Frames],
    encode: Callable[[Frames], Tensor],
) -> Tensor:
    """The prefix [1, C, overlap_frames, H, W] of the next window.

    `latents` are the clip's so far (its end is enough). `tail(n)` gives the last n decoded frames,
    or all if there are fewer; `encode` a fresh encoding of frames, normalised like `latents`.
    "latent" takes the slice; "reencode" encodes the tail as a clip of its own, so that its first
    latent stands for the rule's `first` frames (OmniAvatar's way); "reencode-warm" encodes
    WARM_FRAMES latents more in front and drops them, so that every latent of the prefix keeps the
    meaning it has inside a clip.
    """
    if carry in ("latent", "auto"):
        return latents[:, :, latents.shape[2] - overlap_frames :]
    frames = tail(tail_frames(carry, overlap_frames, rule))
    usable = rule.pixel_frames(1 + (len(frames) - rule.first) // rule.stride)
    encoded = encode(frames[len(frames) - usable :])
    assert encoded.shape[2] >= overlap_frames, f"{len(frames)} frames are too few for a prefix"
    return encoded[:, :, encoded.shape[2] - overlap_frames :].to(latents.dtype)


def noised_prefix(prefix: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """`prefix` with `share` (0 to 1) of it replaced by noise, against copying errors forward.

    SkyReels-V2 mixes 0.02 into the frames it continues from.
    """
    noise = torch.randn(prefix.shape, generator=generator, dtype=torch.float32)
    mixed = (1 - share) * prefix.float() + share * noise.to(prefix.device)
    return mixed.to(prefix.dtype)
