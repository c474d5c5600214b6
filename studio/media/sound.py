"""Sound as plain numbers; where it comes from does not matter here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from studio.core.errors import MediaError


@dataclass(frozen=True)
class Sound:
    """Samples float32 [channels, length] (1 or 2 channels) within -1 to 1, at `rate` Hz."""

    samples: np.ndarray
    rate: int
    notices: tuple[str, ...] = ()
    """What was changed on reading, each a sentence."""

    def __post_init__(self) -> None:
        shape = self.samples.shape
        if self.samples.dtype != np.float32 or len(shape) != 2 or shape[0] not in (1, 2):
            raise MediaError(
                "a sound is float32 with 1 or 2 channels "
                f"(got {self.samples.dtype} {'x'.join(map(str, shape))})"
            )

    @property
    def channels(self) -> int:
        """1 or 2."""
        return int(self.samples.shape[0])

    @property
    def length(self) -> int:
        """Samples a channel."""
        return int(self.samples.shape[1])

    @property
    def seconds(self) -> float:
        """How long it sounds."""
        return self.length / self.rate

    @property
    def mono(self) -> np.ndarray:
        """float32 [length]: the mean of the channels."""
        mean: np.ndarray = self.samples.mean(axis=0)
        return mean

    def fitted(self, seconds: float) -> Sound:
        """This sound cut or filled with silence to `seconds`."""
        length = round(seconds * self.rate)
        samples = self.samples[:, :length]
        missing = length - samples.shape[1]
        if missing > 0:
            samples = np.pad(samples, ((0, 0), (0, missing)))
        return Sound(np.ascontiguousarray(samples), self.rate, self.notices)


def mix(sounds: list[Sound]) -> Sound:
    """All tracks at once, as long as the longest, scaled down where their sum would clip.

    Raises:
        MediaError: if there is none or their rates differ.
    """
    if not sounds or len({s.rate for s in sounds}) != 1:
        raise MediaError("tracks are mixed at one sample rate; resample them first")
    length = max(s.length for s in sounds)
    channels = max(s.channels for s in sounds)
    total = np.zeros((channels, length), np.float32)
    for sound in sounds:
        total[:, : sound.length] += sound.samples
    peak = float(np.abs(total).max(initial=0.0))
    return Sound(total / max(1.0, peak), sounds[0].rate)
