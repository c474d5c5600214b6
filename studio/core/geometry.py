"""Seconds, frames and latent frames for every VAE rule; sizes.

A rule says how many video frames the latent frames stand for: the first latent frame stands for
`first_px` frames, every other one for `stride`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from studio.core.errors import RequestError


@dataclass(frozen=True)
class FrameRule:
    """`first + k * stride` frames are `1 + k` latent frames ("4k+1": stride 4, first 1)."""

    stride: int
    first: int

    def is_valid(self, frames: int) -> bool:
        """Whether `frames` fits the rule exactly."""
        return frames >= self.first and (frames - self.first) % self.stride == 0

    def latent_frames(self, frames: int) -> int:
        """Latent frames of a valid frame count.

        Raises:
            RequestError: if `frames` does not fit; the message names the nearest that does.
        """
        if not self.is_valid(frames):
            raise RequestError(
                f"length must be {self} frames (got {frames}); try {self.nearest(frames)}"
            )
        return 1 + (frames - self.first) // self.stride

    def pixel_frames(self, latent_frames: int) -> int:
        """Video frames that `latent_frames` from the start stand for (0 for 0)."""
        if latent_frames <= 0:
            return 0
        return self.first + (latent_frames - 1) * self.stride

    def nearest(self, frames: float) -> int:
        """The valid frame count nearest to `frames`; of two, the smaller."""
        k = max(0, -(-int(2 * (frames - self.first) - self.stride) // (2 * self.stride)))
        below, above = self.first + k * self.stride, self.first + (k + 1) * self.stride
        return below if frames - below <= above - frames else above

    def at_least(self, frames: int) -> int:
        """The smallest valid frame count that is not less than `frames`."""
        return self.first + max(0, -(-(frames - self.first) // self.stride)) * self.stride

    def __str__(self) -> str:
        return f"{self.stride}k+{self.first}" if self.first != self.stride else f"{self.stride}k"


def parse_rule(text: str) -> FrameRule:
    """The rule that "4k+1", "8k+1", "6k+1", "1k+1" or "24k" names.

    Raises:
        RequestError: for anything else.
    """
    match = re.fullmatch(r"(\d+)k(?:\+(\d+))?", text.replace(" ", ""))
    if match is None or int(match[1]) == 0:
        raise RequestError(
            f"a frame rule looks like 4k+1 or 24k (got {text!r}); correct the preset"
        )
    stride = int(match[1])
    return FrameRule(stride=stride, first=int(match[2]) if match[2] else stride)
