"""Seconds, frames and latent frames for every VAE rule; sizes.

A rule says how many video frames the latent frames stand for: the first latent frame stands for
`first_px` frames, every other one for `stride`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

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


@dataclass(frozen=True)
class MicroBatchRule(FrameRule):
    """`chunk` frames at a time, each chunk beginning anew with `first` ("17x(4k+1)").

    Open-Sora 1.2: 17 frames are 1+4+4+4+4 and become 5 latent frames, and so on; the rest of a
    clip follows `stride` and `first` like a chunk that ends early.
    """

    chunk: int

    @property
    def _chunk_latents(self) -> int:
        return 1 + (self.chunk - self.first) // self.stride

    def is_valid(self, frames: int) -> bool:
        """Whether `frames` fits the rule exactly."""
        rest = (frames - 1) % self.chunk + 1
        return frames >= self.first and FrameRule.is_valid(self, rest)

    def latent_frames(self, frames: int) -> int:
        """Latent frames of a valid frame count.

        Raises:
            RequestError: if `frames` does not fit; the message names the nearest that does.
        """
        if not self.is_valid(frames):
            raise RequestError(
                f"length must be {self} frames (got {frames}); try {self.nearest(frames)}"
            )
        full, rest = divmod(frames - 1, self.chunk)
        return full * self._chunk_latents + 1 + (rest + 1 - self.first) // self.stride

    def pixel_frames(self, latent_frames: int) -> int:
        """Video frames that `latent_frames` from the start stand for (0 for 0)."""
        if latent_frames <= 0:
            return 0
        full, rest = divmod(latent_frames - 1, self._chunk_latents)
        return full * self.chunk + self.first + rest * self.stride

    def nearest(self, frames: float) -> int:
        """The valid frame count nearest to `frames`; of two, the smaller."""
        above = self.at_least(int(-(-frames // 1)))
        below = self.pixel_frames(self.latent_frames(above) - 1) or above
        return below if frames - below <= above - frames else above

    def at_least(self, frames: int) -> int:
        """The smallest valid frame count that is not less than `frames`."""
        full, rest = divmod(max(frames, self.first) - 1, self.chunk)
        return full * self.chunk + FrameRule.at_least(self, rest + 1)

    def __str__(self) -> str:
        return f"{self.chunk}x({self.stride}k+{self.first})"


def parse_rule(text: str) -> FrameRule:
    """The rule that "4k+1", "8k+1", "6k+1", "1k+1", "24k" or "17x(4k+1)" names.

    Raises:
        RequestError: for anything else.
    """
    plain = text.replace(" ", "")
    batch = re.fullmatch(r"(\d+)x\((\d+)k\+(\d+)\)", plain)
    if batch is not None:
        return _parse_batch(text, *(int(number) for number in batch.groups()))
    match = re.fullmatch(r"(\d+)k(?:\+(\d+))?", plain)
    if match is None or int(match[1]) == 0:
        raise RequestError(
            f"a frame rule looks like 4k+1, 24k or 17x(4k+1) (got {text!r}); correct the preset"
        )
    stride = int(match[1])
    return FrameRule(stride=stride, first=int(match[2]) if match[2] else stride)


def _parse_batch(text: str, chunk: int, stride: int, first: int) -> MicroBatchRule:
    if not stride or not first or chunk < first or (chunk - first) % stride:
        raise RequestError(
            f"a chunk of a frame rule fits the rule inside it, as 17 fits 4k+1 (got {text!r}); "
            "correct the preset"
        )
    return MicroBatchRule(stride=stride, first=first, chunk=chunk)


@dataclass(frozen=True)
class Fitted:
    """A frame count that fits, and the sentence about what was changed ("" for nothing)."""

    frames: int
    notice: str


def fit_frames(frames: int, rule: FrameRule, how: Literal["round", "pad", "cut"]) -> Fitted:
    """`frames` made to fit `rule`: to the nearest count, up (pad) or down (cut), and said so.

    Raises:
        RequestError: to cut what is shorter than the shortest clip.
    """
    if rule.is_valid(frames):
        return Fitted(frames, "")
    if how == "round":
        fitted, done = rule.nearest(frames), "rounded"
    elif how == "pad":
        fitted, done = rule.at_least(frames), "padded"
    else:
        above = rule.at_least(frames)
        fitted, done = rule.pixel_frames(rule.latent_frames(above) - 1), "cut"
        if not fitted:
            raise RequestError(
                f"length must be at least {rule.first} frames (got {frames}); use {rule.first}"
            )
    return Fitted(fitted, f"{frames} frames were {done} to {fitted}: the model takes {rule}.")
