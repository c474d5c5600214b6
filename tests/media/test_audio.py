"""Any sound becomes mono samples at 16 kHz or one sentence."""

from __future__ import annotations

import wave
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from studio.core.errors import MediaError
from studio.media.audio import SoundLimits, load_sound, probe_sound
from studio.media.mux import ClipWriter
from studio.media.sound import Sound


def tone(seconds: float, rate: int, hz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(
        np.float32
    )


def wav(path: Path, samples: np.ndarray, rate: int) -> Path:
    """16-bit WAV of float32 [n] or [n, channels]."""
    table = samples if samples.ndim == 2 else samples[:, None]
    with wave.open(str(path), "wb") as out:
        out.setnchannels(table.shape[1])
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes((np.clip(table, -1, 1) * 32767).astype("<i2").tobytes())
    return path


def float_wav(path: Path, samples: np.ndarray, rate: int = 16_000) -> Path:
    """32-bit float WAV, which can hold NaN."""
    data = samples.astype("<f4").tobytes()
    fmt = (3).to_bytes(2, "little") + (1).to_bytes(2, "little") + rate.to_bytes(4, "little")
    fmt += (rate * 4).to_bytes(4, "little") + (4).to_bytes(2, "little") + (32).to_bytes(2, "little")
    body = b"WAVEfmt " + (16).to_bytes(4, "little") + fmt
    body += b"data" + len(data).to_bytes(4, "little") + data
    path.write_bytes(b"RIFF" + len(body).to_bytes(4, "little") + body)
    return path


def encoded(
    path: Path, codec: str, rate: int, seconds: float = 1.0, layout: str = "stereo"
) -> Path:
    samples = tone(seconds, rate)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        for at in range(0, len(samples), 1024):
            block = np.stack([samples[at : at + 1024]] * (2 if layout == "stereo" else 1))
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000])
def test_every_rate_becomes_the_same_tone_at_16_khz(tmp_path: Path, rate: int) -> None:
    sound = load_sound(wav(tmp_path / "a.wav", tone(1.0, rate), rate))
    assert (sound.rate, sound.channels, sound.length) == (16_000, 1, 16_000)
    assert sound.samples.dtype == np.float32
    middle = slice(200, -200)
    assert np.abs(sound.samples[0, middle] - tone(1.0, 16_000)[middle]).max() < 0.01


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [
        ("a.mp3", "libmp3lame", 44_100),
        ("a.flac", "flac", 44_100),
        ("a.opus", "libopus", 48_000),
        ("a.m4a", "aac", 44_100),
        ("a.mkv", "pcm_s16le", 44_100),
        ("a.aiff", "pcm_s16be", 44_100),
        ("b.wav", "pcm_u8", 44_100),
        ("c.wav", "pcm_s32le", 44_100),
        ("d.wav", "pcm_f64le", 44_100),
    ],
)
def test_every_codec_gives_the_sound_in_its_place(
    tmp_path: Path, name: str, codec: str, rate: int
) -> None:
    sound = load_sound(encoded(tmp_path / name, codec, rate))
    assert sound.length == 16_000
    middle = slice(400, -400)
    same = np.corrcoef(sound.samples[0, middle], tone(1.0, 16_000)[middle])[0, 1]
    assert same > 0.995


def test_stereo_is_kept_when_asked_for(tmp_path: Path) -> None:
    both = np.stack([tone(0.5, 16_000), np.zeros(8000, np.float32)], axis=1)
    path = wav(tmp_path / "a.wav", both, 16_000)
    stereo = load_sound(path, channels=2)
    assert stereo.channels == 2
    assert np.abs(stereo.samples[1]).max() == 0
    assert np.abs(load_sound(path).samples[0] - both[:, 0] / 2).max() < 1e-3


def test_eight_channels_are_mixed_to_one_and_said(tmp_path: Path) -> None:
    table = np.stack([tone(0.5, 48_000)] + [np.zeros(24_000, np.float32)] * 7, axis=1)
    sound = load_sound(wav(tmp_path / "a.wav", table, 48_000))
    assert np.abs(sound.samples[0, 100:-100] - tone(0.5, 16_000)[100:-100] / 8).max() < 0.01
    assert "8 channels" in sound.notices[0]


def test_8_khz_is_taken_and_said(tmp_path: Path) -> None:
    sound = load_sound(wav(tmp_path / "a.wav", tone(0.5, 8000), 8000))
    assert "8000 samples a second" in sound.notices[0]


def test_silence_is_taken_and_said(tmp_path: Path) -> None:
    sound = load_sound(wav(tmp_path / "a.wav", np.zeros(16_000, np.float32), 16_000))
    assert "silent" in sound.notices[0]


def test_too_loud_samples_are_scaled_and_said(tmp_path: Path) -> None:
    sound = load_sound(float_wav(tmp_path / "a.wav", 40 * tone(0.5, 16_000)))
    assert np.abs(sound.samples).max() == pytest.approx(1.0)
    assert "quieter" in sound.notices[0]


def test_a_clip_gives_its_sound(tmp_path: Path) -> None:
    given = Sound(tone(1.03, 16_000)[None], 16_000)
    with ClipWriter(tmp_path / "a.mp4", 10, (32, 32), audio=given) as writer:
        writer.write(np.zeros((10, 32, 32, 3), np.uint8))
    sound = load_sound(tmp_path / "a.mp4")
    assert sound.length == given.length
    assert np.corrcoef(sound.samples[0], given.samples[0])[0, 1] > 0.999


def silent_clip(path: Path) -> None:
    with ClipWriter(path.with_suffix(".mp4"), 10, (32, 32)) as writer:
        writer.write(np.zeros((2, 32, 32, 3), np.uint8))
    path.with_suffix(".mp4").replace(path)


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "text": (lambda p: p.write_text("no sound at all\n" * 900), "cannot be read as a sound"),
    "empty": (lambda p: p.write_bytes(b""), "is empty"),
    "missing": (lambda p: None, "there is no sound"),
    "no-samples": (lambda p: wav(p, np.zeros(0, np.float32), 16_000), "at least 0.1 s"),
    "short": (lambda p: wav(p, tone(0.05, 16_000), 16_000), "at least 0.1 s"),
    "nan": (lambda p: float_wav(p, np.full(16_000, np.nan)), "not numbers"),
    "infinite": (lambda p: float_wav(p, np.full(16_000, np.inf)), "not numbers"),
    "hour": (lambda p: wav(p, np.zeros(3600 * 4000, np.float32), 4000), "at most 600 s"),
    "nine": (lambda p: wav(p, np.zeros((4000, 9), np.float32), 16_000), "at most 8 channels"),
    "slow": (lambda p: wav(p, np.zeros(4000, np.float32), 1000), "samples a second"),
    "no-sound": (silent_clip, "has no sound"),
    "playlist": (lambda p: p.write_text("#EXTM3U\n#EXTINF:9,\nfile:///etc/x.wav\n"), "cannot"),
}


@pytest.mark.parametrize("kind", sorted(BAD))
def test_what_cannot_be_used_gets_one_sentence(tmp_path: Path, kind: str) -> None:
    make, rule = BAD[kind]
    path = tmp_path / f"{kind}.wav"
    make(path)
    with pytest.raises(MediaError, match=rule) as caught:
        load_sound(path)
    assert "\n" not in str(caught.value)


def test_an_hour_is_refused_before_decoding(tmp_path: Path) -> None:
    path = encoded(tmp_path / "a.flac", "flac", 8000, seconds=3.0, layout="mono")
    assert probe_sound(path).seconds == pytest.approx(3.0)
    with pytest.raises(MediaError, match="at most 2 s"):
        probe_sound(path, SoundLimits(seconds=2.0))


def test_a_file_that_does_not_say_its_length_is_stopped(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", tone(3.0, 16_000), 16_000)
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    with pytest.raises(MediaError, match="at most 2 s"):
        load_sound(path, limits=SoundLimits(seconds=2.0))
    assert load_sound(path).seconds == pytest.approx(3.0)


def test_a_damaged_place_is_left_out_and_said(tmp_path: Path) -> None:
    path = encoded(tmp_path / "a.flac", "flac", 44_100, seconds=2.0)
    data = path.read_bytes()
    path.write_bytes(data[:-400])
    sound = load_sound(path)
    assert 1.5 < sound.seconds < 2.0
    assert sound.notices
