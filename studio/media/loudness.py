"""How loud a sound is: over all (ITU-R BS.1770), from frame to frame, and where it is silent."""

from __future__ import annotations

import numpy as np

from studio.media.sound import Sound

SILENCE_DB = -50.0
QUIETEST_DB = -120.0
GATE_BLOCK_S, GATE_HOP_S = 0.4, 0.1
SPEECH_BAND_HZ = (300.0, 3000.0)
SPEECH_LEVEL = 0.1
LEVEL_FPS = 12.5


def loudness(sound: Sound) -> float:
    """Integrated loudness in LUFS (gated, BS.1770-4); QUIETEST_DB for silence.

    The K weighting is applied to the spectrum; a mono sound counts as one channel.
    """
    weighted = [_filtered(channel, _k_weight(sound)) for channel in sound.samples]
    block, hop = round(GATE_BLOCK_S * sound.rate), round(GATE_HOP_S * sound.rate)
    power = sum(_block_power(w, block, hop) for w in weighted)
    level = -0.691 + _db(np.asarray(power))
    loud = level > -70.0
    if not loud.any():
        return QUIETEST_DB
    gate = -0.691 + _db(np.mean(np.asarray(power)[loud])) - 10.0
    kept = np.asarray(power)[loud & (level > gate)]
    return float(-0.691 + _db(np.mean(kept)))


def level_db(sound: Sound) -> float:
    """Root mean square over the whole sound in dB of full scale; QUIETEST_DB for none."""
    power = float(np.mean(np.square(sound.mono, dtype=np.float64))) if sound.length else 0.0
    return float(_db(np.asarray(power)))


def is_silent(sound: Sound, threshold_db: float = SILENCE_DB) -> bool:
    """Whether no tenth of a second is louder than `threshold_db` of full scale."""
    return not _loud_blocks(sound, threshold_db).any()


def silences(
    sound: Sound, threshold_db: float = SILENCE_DB, least_s: float = 0.3
) -> list[tuple[float, float]]:
    """The silent stretches [start, stop) in seconds that last at least `least_s`."""
    loud = _loud_blocks(sound, threshold_db)
    edges = np.flatnonzero(np.diff(np.concatenate([[True], loud, [True]]).astype(np.int8)))
    spans = [(a * GATE_HOP_S, b * GATE_HOP_S) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    return [
        (float(a), float(min(b, sound.seconds)))
        for a, b in spans
        if min(b, sound.seconds) - a >= least_s
    ]


def envelope(sound: Sound, fps: float, frames: int) -> np.ndarray:
    """How loud speech is in each video frame: RMS between 300 and 3000 Hz, float32 [frames].

    Frame i hears [i / fps, (i + 1) / fps); what lies after the sound's end is 0.
    """
    low, high = SPEECH_BAND_HZ
    frequency = np.fft.rfftfreq(max(1, sound.length), 1 / sound.rate)
    band = _filtered(sound.mono, (frequency >= low) & (frequency <= high))
    energy = np.concatenate([[0.0], np.cumsum(np.square(band))])
    edges = np.minimum(np.round(np.arange(frames + 1) * sound.rate / fps), sound.length).astype(int)
    counts = np.maximum(1, np.diff(edges))
    level: np.ndarray = np.sqrt(np.maximum(0.0, np.diff(energy[edges])) / counts)
    return level.astype(np.float32)


def _loud_blocks(sound: Sound, threshold_db: float) -> np.ndarray:
    """For each tenth of a second, the last one short, whether it is louder than the threshold."""
    block = max(1, round(GATE_HOP_S * sound.rate))
    square = np.square(sound.mono, dtype=np.float64)
    if not square.size:
        return np.zeros(0, bool)
    starts = np.arange(0, square.size, block)
    counts = np.diff(np.append(starts, square.size))
    loud: np.ndarray = _db(np.add.reduceat(square, starts) / counts) > threshold_db
    return loud


def _filtered(samples: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """`samples` with its spectrum multiplied by `weight`, float64."""
    if not samples.size:
        return np.zeros(0)
    spectrum = np.fft.rfft(samples.astype(np.float64)) * weight
    filtered: np.ndarray = np.fft.irfft(spectrum, samples.size)
    return filtered


def _block_power(samples: np.ndarray, block: int, hop: int) -> np.ndarray:
    """Mean power of overlapping blocks; of the whole if it is shorter than a block."""
    if samples.size < block:
        return np.asarray([np.mean(np.square(samples)) if samples.size else 0.0])
    total = np.concatenate([[0.0], np.cumsum(np.square(samples))])
    starts = np.arange(0, samples.size - block + 1, hop)
    power: np.ndarray = np.maximum(0.0, total[starts + block] - total[starts]) / block
    return power


def _db(power: np.ndarray) -> np.ndarray:
    level: np.ndarray = 10.0 * np.log10(np.maximum(power, 10.0 ** (QUIETEST_DB / 10)))
    return level


def _k_weight(sound: Sound) -> np.ndarray:
    """Magnitude of BS.1770's two filters at the frequencies of the sound's spectrum.

    A high shelf of +4 dB at 1682 Hz (Q 0.707) and a high-pass at 38 Hz (Q 0.5), as analogue
    prototypes through the bilinear transform.
    """
    frequency = np.fft.rfftfreq(max(1, sound.length), 1 / sound.rate)
    warped = np.tan(np.pi * np.minimum(frequency / sound.rate, 0.499999))
    gain = 10 ** (3.999843853973347 / 20)
    s = 1j * warped / np.tan(np.pi * 1681.974450955533 / sound.rate)
    shelf_q, band = 0.7071752369554196, gain**0.4996667741545416
    shelf = (1 + band * s / shelf_q + gain * s * s) / (1 + s / shelf_q + s * s)
    s = 1j * warped / np.tan(np.pi * 38.13547087602444 / sound.rate)
    cut = s * s / (1 + s / 0.5003270373238773 + s * s)
    weight: np.ndarray = np.abs(shelf * cut)
    return weight


def levelled(sound: Sound, target: float = SPEECH_LEVEL, most_db: float = 30.0) -> Sound:
    """`sound` in mono, so loud that the loudest tenth of its speech begins at `target`.

    Measured as `envelope` does, 12.5 times a second, where it is not silent. Silence stays as it
    is, and nothing is raised by more than `most_db`. What follows a mouth needs the same level
    whatever the recording's.
    """
    mono = sound.mono
    level = envelope(sound, LEVEL_FPS, max(1, int(sound.seconds * LEVEL_FPS)))
    peak = float(level.max())
    heard = level[level > 0.02 * peak]
    if peak <= 10.0 ** (SILENCE_DB / 20.0):
        return Sound(mono[None].astype(np.float32), sound.rate, sound.notices)
    gain = min(target / float(np.percentile(heard, 90)), 10.0 ** (most_db / 20.0))
    return Sound((mono * gain)[None].astype(np.float32), sound.rate, sound.notices)
