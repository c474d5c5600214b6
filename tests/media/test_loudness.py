"""Closed-form levels of tones and silences."""

from __future__ import annotations

import numpy as np
import pytest

from studio.media.loudness import (
    QUIETEST_DB,
    envelope,
    is_silent,
    level_db,
    loudness,
    silences,
)
from studio.media.sound import Sound

RATE = 16_000


def tone(seconds: float, hz: float = 997.0, peak: float = 1.0) -> np.ndarray:
    return (peak * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)).astype(
        np.float32
    )


def sound(samples: np.ndarray) -> Sound:
    return Sound(samples[None], RATE)


def test_a_full_tone_of_997_hz_has_the_standards_level() -> None:
    # BS.1770: a 0 dBFS sine of 997 Hz in one channel reads -3.01 LKFS
    assert loudness(sound(tone(3))) == pytest.approx(-3.01, abs=0.1)
    assert loudness(sound(tone(3, peak=0.1))) == pytest.approx(-23.01, abs=0.1)
    assert level_db(sound(tone(3))) == pytest.approx(-3.01, abs=0.01)


def test_pauses_do_not_make_speech_quieter() -> None:
    half = np.concatenate([tone(2, peak=0.1), np.zeros(2 * RATE, np.float32)])
    assert loudness(sound(half)) == pytest.approx(loudness(sound(tone(2, peak=0.1))), abs=1.0)


def test_rumble_counts_less_than_speech() -> None:
    assert loudness(sound(tone(2, hz=20))) < loudness(sound(tone(2, hz=1000))) - 8


def test_silence_has_a_level_too() -> None:
    for samples in (np.zeros(RATE, np.float32), np.zeros(0, np.float32)):
        assert loudness(sound(samples)) == QUIETEST_DB
        assert level_db(sound(samples)) == QUIETEST_DB
        assert is_silent(sound(samples))
    assert not is_silent(sound(np.append(np.zeros(RATE, np.float32), tone(0.1, peak=0.05))))


def test_silent_stretches_are_found() -> None:
    gap = np.zeros(RATE, np.float32)
    samples = np.concatenate([gap, tone(1), np.zeros(RATE // 10, np.float32), tone(1), gap])
    assert silences(sound(samples)) == [(pytest.approx(0), pytest.approx(1)), (3.1, 4.1)]
    assert silences(sound(gap)) == [(0, 1)]
    assert silences(sound(tone(1))) == []


def test_the_envelope_follows_speech_frame_by_frame() -> None:
    samples = np.concatenate([tone(1), np.zeros(RATE, np.float32), tone(1, peak=0.5)])
    got = envelope(sound(samples), 10, 35)
    assert got.shape == (35,)
    assert got[:9] == pytest.approx(np.sqrt(0.5), abs=0.02)
    assert got[11:19].max() < 0.02
    assert got[21:29] == pytest.approx(0.5 * np.sqrt(0.5), abs=0.02)
    assert (got[30:] == 0).all()


def test_the_envelope_hears_only_speech() -> None:
    low, high = (envelope(sound(tone(1, hz=hz)), 10, 10) for hz in (100, 5000))
    assert max(low[1:-1].max(), high[1:-1].max()) < 0.01


def test_odd_rates_lose_no_energy() -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    for fps in (12.5, 23.976, 30):
        frames = int(np.ceil(fps))
        got = envelope(sound(samples), fps, frames)
        whole = envelope(sound(samples), 1, 1)[0]
        assert float(np.sqrt(np.mean(np.square(got[:-1])))) == pytest.approx(whole, rel=0.05)
