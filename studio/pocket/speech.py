"""Synthetic speech for the people of the pocket world, and how their mouths follow it.

espeak-ng speaks (Debian's package `espeak-ng`, needed for training only): many languages, voice
variants, speeds and pitches. A piece is 30 seconds of phrases and pauses, as Whisper reads sound.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from studio.core.errors import MediaError
from studio.media.audio import SPEECH_RATE_HZ, load_sound
from studio.media.loudness import SPEECH_LEVEL, envelope, levelled
from studio.media.sound import Sound
from studio.pocket.captions import describe
from studio.pocket.vocabulary import FPS

PIECE_S = 30.0
LANGUAGES = (
    *("en-us", "en-gb", "en-gb-scotland", "de", "fr-fr", "es", "it", "pt", "nl", "sv", "pl"),
    *("cs", "ru", "tr", "fi", "el", "hu", "ro", "da", "id", "sw", "af", "hr", "sk"),
)
VARIANTS = (
    *("m1", "m2", "m3", "m4", "m5", "m6", "m7", "f1", "f2", "f3", "f4", "f5"),
    *("croak", "klatt", "klatt2", "Annie", "Andy", "Denis", "Gene", "linda", "steph"),
)
UNHEARD = ("m8", "klatt3", "Alex", "belinda", "en-us-nyc", "en-gb-x-rp", "ca", "nb")
"""Variants and languages that no training speech has."""
PHRASES = (
    "good morning, how are you today?",
    "the weather was fine, so we walked along the river until the evening.",
    "one, two, three, four, five, six, seven.",
    "please open the window, it is warm in here.",
    "she sells sea shells by the sea shore.",
    "my name is of no importance, but my story is short.",
    "no, no, no! I never said that.",
    "wonderful pictures move when the sound is near.",
    "after the rain the mountains looked as if they had been washed.",
    "hello! can you hear me?",
)
OPEN_AT = 0.78 * SPEECH_LEVEL
"""The envelope at which a mouth is wide open, in sound of the usual level."""
SMOOTH = (0.2, 0.6, 0.2)


def phrase(rng: random.Random) -> str:
    """Something to say."""
    if rng.random() < 0.5:
        return rng.choice(PHRASES)
    from studio.pocket.dataset import random_scene

    return describe(random_scene(np.random.default_rng(rng.randrange(2**32))), rng)[0]


def say_phrase(text: str, voice: str, *, speed: int = 160, pitch: int = 50) -> np.ndarray:
    """`text` spoken by espeak-ng, float32 [n] at 16 kHz.

    Raises:
        MediaError: if espeak-ng is not installed or does not know the voice.
    """
    program = shutil.which("espeak-ng")
    if program is None:
        raise MediaError("training speech needs espeak-ng; install it with apt or brew")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "said.wav"
        command = [program, "-v", voice, "-s", str(speed), "-p", str(pitch), "-w", str(path), text]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not path.is_file():
            raise MediaError(f"espeak-ng has no voice {voice!r}; choose one of its list")
        return load_sound(path).mono


def random_voice(rng: random.Random) -> str:
    """A language with a variant of its voice."""
    return f"{rng.choice(LANGUAGES)}+{rng.choice(VARIANTS)}"


def speak_piece(rng: random.Random, voice: str | None = None) -> Sound:
    """PIECE_S seconds of one voice (or a random one), phrases with pauses, at the usual level.

    Recording is imitated: a tilted spectrum, a little noise.
    """
    voice = voice or random_voice(rng)
    pitch = rng.randint(20, 80)
    total = round(PIECE_S * SPEECH_RATE_HZ)
    parts: list[np.ndarray] = []
    length = 0
    while length < total:
        said = say_phrase(phrase(rng), voice, speed=rng.randint(110, 210), pitch=pitch)
        pause = np.zeros(round(rng.choice((0.2, 0.4, 0.8, 1.6)) * SPEECH_RATE_HZ), np.float32)
        parts += [said * rng.uniform(0.6, 1.0), pause]
        length += len(said) + len(pause)
    samples = _recorded(np.concatenate(parts)[:total], rng)
    return levelled(Sound(samples[None], SPEECH_RATE_HZ))


def openings(sound: Sound, frames: int, fps: float = FPS) -> np.ndarray:
    """How far a mouth opens in each frame, float32 [frames] in 0..1, for a levelled sound."""
    level = envelope(sound, fps, frames)
    padded = np.pad(level, 1, mode="edge")
    smooth = np.convolve(padded, SMOOTH, mode="valid")
    opened: np.ndarray = np.clip(smooth / OPEN_AT, 0.0, 1.0).astype(np.float32)
    return opened


def _recorded(samples: np.ndarray, rng: random.Random) -> np.ndarray:
    tilt = rng.uniform(-0.4, 0.6)
    bent = samples - tilt * np.concatenate([[0.0], samples[:-1]])
    noise = 0.0
    if rng.random() < 0.4:
        loud = float(np.sqrt(np.mean(np.square(bent))))
        hiss = np.random.default_rng(rng.randrange(2**32)).standard_normal(len(bent))
        noise = hiss * loud * 10.0 ** (rng.uniform(-45.0, -28.0) / 20.0)
    recorded = bent + noise
    peak = max(1.0, float(np.abs(recorded).max()))
    result: np.ndarray = (recorded / peak).astype(np.float32)
    return result
