"""Sounds are cut, filled and mixed without surprises."""

from __future__ import annotations

import numpy as np
import pytest

from studio.core.errors import MediaError
from studio.media.sound import Sound, mix


def flat(level: float, length: int, channels: int = 1) -> Sound:
    return Sound(np.full((channels, length), level, np.float32), 100)


def test_a_sound_is_cut_or_filled_to_a_length() -> None:
    sound = flat(0.5, 100)
    assert sound.fitted(0.5).samples.tolist() == [[0.5] * 50]
    longer = sound.fitted(1.5)
    assert longer.seconds == 1.5
    assert longer.samples[0, 100:].tolist() == [0.0] * 50


def test_a_mix_is_as_long_as_the_longest_and_does_not_clip() -> None:
    got = mix([flat(0.25, 50), flat(0.5, 100)])
    assert got.samples[0].tolist() == [0.75] * 50 + [0.5] * 50
    loud = mix([flat(1.0, 10), flat(1.0, 10), flat(-0.5, 10, channels=2)])
    assert loud.channels == 2
    assert np.abs(loud.samples).max() == pytest.approx(1.0)


def test_mono_is_the_mean() -> None:
    assert Sound(np.array([[1, 0], [0, 0]], np.float32), 10).mono.tolist() == [0.5, 0]


def test_other_arrays_are_refused() -> None:
    for samples in (np.zeros(5, np.float32), np.zeros((1, 5)), np.zeros((3, 5), np.float32)):
        with pytest.raises(MediaError, match="float32 with 1 or 2 channels"):
            Sound(samples, 16_000)
    with pytest.raises(MediaError, match="one sample rate"):
        mix([flat(0, 5), Sound(np.zeros((1, 5), np.float32), 99)])
    with pytest.raises(MediaError):
        mix([])
