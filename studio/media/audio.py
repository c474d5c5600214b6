"""Sound from any file, looked at under limits, then read as a stream into plain samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from studio.core.errors import MediaError
from studio.core.request import MAX_SECONDS
from studio.media.decode import open_container
from studio.media.loudness import is_silent
from studio.media.sound import Sound

SPEECH_RATE_HZ = 16_000
MAX_CHANNELS = 8
MAX_SOUND_BYTES = 600_000_000
RATES_HZ = (4_000, 192_000)
MIN_SECONDS = 0.1
AUDIBLE_OVERSHOOT = 1.1
"""Resampling alone may go a little past full scale; nobody needs to hear of that."""
DULL_RATE_HZ = 12_000
MAX_DAMAGED_SHARE = 0.1
MAX_PADDING_S = 0.2
"""Decoders may give more than the file says, by the codec's own padding; not more than this."""
SCALES = {"u8": 128.0, "s16": 32768.0, "s32": 2147483648.0, "s64": 2.0**63, "flt": 1.0, "dbl": 1.0}


@dataclass(frozen=True)
class SoundLimits:
    """What a sound may be at most before it is decoded."""

    seconds: float = MAX_SECONDS
    channels: int = MAX_CHANNELS
    size_bytes: int = MAX_SOUND_BYTES


LIMITS = SoundLimits()


@dataclass(frozen=True)
class SoundInfo:
    """What a sound says about itself; `seconds` is None if the file does not say."""

    seconds: float | None
    rate: int
    channels: int
    codec: str


def probe_sound(path: str | Path, limits: SoundLimits = LIMITS) -> SoundInfo:
    """What the sound at `path` (or in the clip at `path`) is; no sample is decoded.

    Raises:
        MediaError: if it is no sound or over the limits.
    """
    with open_container(path, "sound", limits.size_bytes) as container:
        return _info(container, Path(path).name, limits)


def load_sound(
    path: str | Path,
    rate: int = SPEECH_RATE_HZ,
    channels: int = 1,
    limits: SoundLimits = LIMITS,
) -> Sound:
    """The sound at `rate` Hz with `channels` channels (2: stereo where the file is stereo).

    More channels than that are mixed to one, equally. Nothing is made louder.

    Raises:
        MediaError: one sentence, if it is no sound, damaged, empty or over the limits.
    """
    name = Path(path).name
    with open_container(path, "sound", limits.size_bytes) as container:
        info = _info(container, name, limits)
        keep = 2 if channels == 2 and info.channels == 2 else 1
        reader = _Reader(container, name, keep)
        samples, heard_s = _resampled(reader.blocks(), reader, rate, limits.seconds)
    if heard_s < MIN_SECONDS:
        raise MediaError(
            f"a sound lasts at least {MIN_SECONDS:g} s ({name} has {heard_s:.2f} s); choose another"
        )
    if info.seconds is not None and 0 < heard_s - info.seconds < MAX_PADDING_S:
        samples = samples[:, : round(info.seconds * rate)]
    notices = [*reader.notices(), *_said(info, heard_s)]
    peak = float(np.abs(samples).max(initial=0.0))
    if peak > 1.0:
        samples = samples / np.float32(peak)
    if peak > AUDIBLE_OVERSHOOT:
        notices.append("the sound is louder than full scale: it was made quieter")
    sound = Sound(np.ascontiguousarray(samples), rate)
    if is_silent(sound):
        notices.append("the sound is silent: nothing will be heard in it")
    return Sound(sound.samples, rate, tuple(notices))


def _info(container: Any, name: str, limits: SoundLimits) -> SoundInfo:
    """SoundInfo of an open container, or MediaError if it is over the limits."""
    if not container.streams.audio:
        raise MediaError(f"{name} has no sound; choose a sound file or a clip with sound")
    stream = container.streams.audio[0]
    context = stream.codec_context
    if context is None or not context.sample_rate or not context.channels:
        raise MediaError(f"the sound in {name} cannot be read; export it again as WAV")
    seconds = _seconds(container, stream)
    if seconds is not None and seconds > limits.seconds:
        raise MediaError(
            f"a sound has at most {limits.seconds:g} s ({name} has {seconds:.0f} s); cut it"
        )
    if context.channels > limits.channels:
        raise MediaError(
            f"a sound has at most {limits.channels} channels ({name} has {context.channels}); "
            "export it in stereo or mono"
        )
    if not RATES_HZ[0] <= context.sample_rate <= RATES_HZ[1]:
        raise MediaError(
            f"a sound has {RATES_HZ[0]} to {RATES_HZ[1]} samples a second "
            f"({name} has {context.sample_rate}); export it again with 44100"
        )
    return SoundInfo(seconds, context.sample_rate, context.channels, context.codec.name)


def _seconds(container: Any, stream: Any) -> float | None:
    if stream.duration is not None and stream.duration > 0:
        return float(stream.duration * stream.time_base)
    if container.duration is not None and container.duration > 0:
        return float(container.duration) / av.time_base
    return None


class _Reader:
    """Decodes one audio stream into blocks float32 [channels, n]; remembers what was damaged."""

    def __init__(self, container: Any, name: str, channels: int) -> None:
        self._container, self._name, self._channels = container, name, channels
        self._stream = container.streams.audio[0]
        self.rate: int = self._stream.codec_context.sample_rate
        self._packets = self._damaged = 0

    def blocks(self) -> Iterator[np.ndarray]:
        """The sound, a decoder's frame at a time.

        Raises:
            MediaError: if it holds values that are not numbers, or is damaged throughout.
        """
        for packet in self._container.demux(self._stream):
            self._packets += 1
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                self._damaged += 1
                continue
            for frame in frames:
                yield self._samples(frame)
        if self._damaged > max(1, MAX_DAMAGED_SHARE * self._packets):
            raise MediaError(f"the sound {self._name} is damaged; choose another file")

    def notices(self) -> list[str]:
        """What was skipped, as sentences."""
        return ["damaged places of the sound were left out"] if self._damaged else []

    def _samples(self, frame: Any) -> np.ndarray:
        if frame.sample_rate != self.rate:
            raise MediaError(
                f"{self._name} changes its sample rate on the way; export it again as WAV"
            )
        raw = frame.to_ndarray()
        count = frame.layout.nb_channels
        planes = raw if frame.format.is_planar else raw.reshape(-1, count).T
        kind = frame.format.name.removesuffix("p")
        values: np.ndarray = planes.astype(np.float32)
        middle = np.float32(128.0 if kind == "u8" else 0.0)
        values = (values - middle) / np.float32(SCALES[kind])
        if not np.isfinite(values).all():
            raise MediaError(
                f"{self._name} has samples that are not numbers (NaN); export it as 16-bit WAV"
            )
        if self._channels == 2 and count == 2:
            return values
        mono: np.ndarray = values.mean(axis=0, keepdims=True)
        return mono


def _resampled(
    blocks: Iterator[np.ndarray], reader: _Reader, rate: int, max_seconds: float
) -> tuple[np.ndarray, float]:
    """The blocks at `rate` Hz, float32 [channels, n], and how many seconds were decoded.

    Raises:
        MediaError: as soon as more than `max_seconds` were decoded, whatever the file said.
    """
    resampler: Any = None
    parts: list[np.ndarray] = []
    count = 0
    for block in blocks:
        layout = "mono" if len(block) == 1 else "stereo"
        if resampler is None:
            resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(block), format="fltp", layout=layout
        )
        frame.sample_rate, frame.pts = reader.rate, count
        frame.time_base = Fraction(1, reader.rate)
        count += block.shape[1]
        if count > (max_seconds + MAX_PADDING_S) * reader.rate:
            raise MediaError(f"a sound has at most {max_seconds:g} s (this one has more); cut it")
        parts += [out.to_ndarray() for out in resampler.resample(frame)]
    if resampler is None:
        return np.zeros((1, 0), np.float32), 0.0
    parts += [out.to_ndarray() for out in resampler.resample(None)]
    whole = np.concatenate(parts, axis=1).astype(np.float32, copy=False)
    length = round(count * rate / reader.rate)
    missing = length - whole.shape[1]
    whole = np.pad(whole, ((0, 0), (0, missing))) if missing > 0 else whole[:, :length]
    return whole, count / reader.rate


def _said(info: SoundInfo, heard_s: float) -> list[str]:
    """What the user should know about the sound, as sentences."""
    notices = []
    if info.channels > 2:
        notices.append(f"the sound's {info.channels} channels were mixed to one")
    if info.rate < DULL_RATE_HZ:
        notices.append(
            f"the sound has only {info.rate} samples a second: it is dull, "
            "and the mouth may follow it less well"
        )
    if info.seconds is not None and info.seconds - heard_s > max(0.5, 0.02 * info.seconds):
        notices.append(
            f"the file says {info.seconds:.1f} s but holds {heard_s:.1f} s; that much is used"
        )
    return notices
