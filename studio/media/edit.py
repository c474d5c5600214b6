"""Finished clips cut, looped, joined and given a sound; always a new file, never the old one.

Frames are streamed, so that the length of a clip does not matter. How the clip was made stays in
its tags, with what was done to it.
"""

from __future__ import annotations

import itertools
import json
import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from studio.core.errors import MediaError
from studio.media.audio import load_sound, probe_sound
from studio.media.decode import ClipInfo, probe, read_frames
from studio.media.images import fit_image
from studio.media.mux import ClipWriter
from studio.media.sound import Sound, mix

KEPT_TAGS = ("comment", "parameters", "title", "description", "software")
CHUNK_FRAMES = 48
MAX_TIMES = 20
AAC_RATES_HZ = (16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
EDIT_RATE_HZ = 44_100
LoopStyle = Literal["ring", "ping-pong"]


@dataclass(frozen=True)
class Edited:
    """What came out; each notice is a sentence."""

    path: Path
    frames: int
    seconds: float
    notices: tuple[str, ...] = ()


def trim(source: str | Path, out: str | Path, start_s: float, stop_s: float) -> Edited:
    """The part [start_s, stop_s) of a clip with its sound, to the nearest frame.

    Raises:
        MediaError: if nothing would be left.
    """
    info = probe(source)
    start, stop = (_frame_at(value, info) for value in (start_s, stop_s))
    if stop <= start:
        raise MediaError(
            f"a cut keeps at least one frame (got {start_s:g} s to {stop_s:g} s of "
            f"{info.seconds:.2f} s); move its end"
        )
    sound = _sound_of(source, info)
    if sound is not None:
        first, last = (round(at / info.fps * sound.rate) for at in (start, stop))
        sound = Sound(np.ascontiguousarray(sound.samples[:, first:last]), sound.rate)
    frames = read_frames(source, start, stop - start)
    done = f"trimmed to {start / info.fps:.2f}-{stop / info.fps:.2f} s"
    return _write(out, frames, info, _tags([info], done), _fitted(sound, stop - start, info))


def loop(
    source: str | Path,
    out: str | Path,
    style: LoopStyle = "ping-pong",
    times: int = 1,
    fade_s: float = 0.5,
) -> Edited:
    """A clip that can be repeated without a jump, `times` times.

    ping-pong: forwards, then backwards, without the turning frames twice; its sound is left out.
    ring: the last `fade_s` seconds are blended into the first ones; the clip gets that much
    shorter.

    Raises:
        MediaError: for another style, too many times, or a clip that is too short for the fade.
    """
    if style not in ("ring", "ping-pong"):
        raise MediaError(f"a loop is a ring or a ping-pong (got {str(style)[:20]!r}); choose one")
    if not 1 <= times <= MAX_TIMES:
        raise MediaError(f"a loop is repeated 1 to {MAX_TIMES} times (got {times})")
    info = probe(source)
    tags = _tags([info], f"looped as {style}, {times} times")
    if style == "ping-pong":
        notices = (
            ("the sound was left out: it cannot be heard backwards",) if info.has_audio else ()
        )
        there = itertools.chain.from_iterable(
            itertools.chain(read_frames(source), _backwards(source, info.frames - 1, 1))
            for _ in range(times)
        )
        return _write(out, there, info, tags, None, notices)
    fade = _fade_frames(fade_s, info.fps, [info])
    if info.frames < 2 * fade + 1:
        raise MediaError(
            f"a fade of {fade_s:g} s needs a clip of at least {(2 * fade + 1) / info.fps:.2f} s "
            f"(got {info.seconds:.2f} s); make the fade shorter"
        )
    length = info.frames - fade
    sound = _fitted(_sound_of(source, info), info.frames, info)
    if sound is not None:
        once = _ring_sound(sound, round(length / info.fps * sound.rate))
        sound = Sound(np.tile(once, (1, times)), sound.rate)
    turns = itertools.chain.from_iterable(_ring(source, length, fade) for _ in range(times))
    return _write(out, turns, info, tags, _fitted(sound, length * times, info))


def join(sources: Sequence[str | Path], out: str | Path, fade_s: float = 0.5) -> Edited:
    """Clips one after the other, each blended into the next for `fade_s` seconds (0: a cut).

    The first clip decides size and rate: others are cropped and their frames repeated or dropped.

    Raises:
        MediaError: for fewer than two clips, or one that is too short for its fades.
    """
    if len(sources) < 2:
        raise MediaError(f"a join takes at least two clips (got {len(sources)}); add one")
    infos = [probe(source) for source in sources]
    first = infos[0]
    counts = [max(1, round(info.frames * first.fps / info.fps)) for info in infos]
    fade = _fade_frames(fade_s, first.fps, infos)
    least = min(counts[0], counts[-1], *(count // 2 for count in counts[1:-1]))
    if fade > least:
        raise MediaError(
            f"a fade of {fade_s:g} s is longer than a clip allows "
            f"(at most {least / first.fps:.2f} s here); make it shorter"
        )
    streams = [
        _at_rate(source, info, first, count)
        for source, info, count in zip(sources, infos, counts, strict=True)
    ]
    sounds = [
        _fitted(_sound_of(source, info, EDIT_RATE_HZ), count, first)
        for source, info, count in zip(sources, infos, counts, strict=True)
    ]
    total = sum(counts) - fade * (len(counts) - 1)
    sound = None
    if any(sound is not None for sound in sounds):
        lengths = [count / first.fps for count in counts]
        sound = _joined_sound(sounds, lengths, fade / first.fps)
    notices = [
        f"{Path(source).name} was fitted to {first.width}x{first.height} at {first.fps:g} frames/s"
        for source, info in zip(sources, infos, strict=True)
        if (info.width, info.height, info.fps) != (first.width, first.height, first.fps)
    ]
    tags = _tags(infos, f"joined from {len(infos)} clips")
    frames = _cross_faded(streams, fade)
    return _write(out, frames, first, tags, _fitted(sound, total, first), tuple(notices))


def set_sound(
    source: str | Path, out: str | Path, sound_file: str | Path, *, keep: bool = False
) -> Edited:
    """A clip with another sound, cut or filled with silence to its length; `keep`: over its own.

    Raises:
        MediaError: if the sound cannot be read.
    """
    info = probe(source)
    new = load_sound(sound_file, EDIT_RATE_HZ, channels=2)
    notices = list(new.notices)
    if abs(new.seconds - info.seconds) > 0.5:
        what = "cut" if new.seconds > info.seconds else "followed by silence"
        notices.append(
            f"the sound is {new.seconds:.1f} s and the clip {info.seconds:.1f} s: {what}"
        )
    old = _sound_of(source, info, EDIT_RATE_HZ) if keep else None
    sound = new if old is None else mix([new.fitted(info.seconds), old.fitted(info.seconds)])
    frames = read_frames(source)
    tags = _tags([info], "given a sound")
    return _write(out, frames, info, tags, _fitted(sound, info.frames, info), tuple(notices))


def _write(
    out: str | Path,
    frames: Iterable[np.ndarray],
    info: ClipInfo,
    tags: dict[str, str],
    sound: Sound | None,
    notices: tuple[str, ...] = (),
) -> Edited:
    """Encode `frames` at the size (made even) and the rate of `info`."""
    width, height = info.width // 2 * 2, info.height // 2 * 2
    source = iter(frames)
    first = next(source, None)
    if first is None:
        raise MediaError("nothing is left of the clip; choose a longer part")
    # a clip that is stored turned is read upright
    if first.shape[:2] == (info.width, info.height) and info.width != info.height:
        width, height = height, width
    with ClipWriter(out, info.fps, (width, height), tags, sound) as writer:
        for frame in itertools.chain([first], source):
            writer.write(frame[:height, :width])
    return Edited(Path(out), writer.frames, writer.frames / info.fps, notices)


def _tags(infos: Sequence[ClipInfo], done: str) -> dict[str, str]:
    """The tags of the first clip, with `done` added to its record of edits."""
    tags = {key: value for key, value in infos[0].tags.items() if key in KEPT_TAGS}
    try:
        record = json.loads(tags.get("comment", "{}"))
        earlier = record.get("edits", [])
        record["edits"] = [*earlier, done]
        tags["comment"] = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
    except (ValueError, AttributeError, TypeError, RecursionError):
        tags.pop("comment", None)
    return tags


def _frame_at(seconds: float, info: ClipInfo) -> int:
    if not math.isfinite(seconds) or seconds < 0:
        raise MediaError(f"a time in the clip is 0 s or more (got {seconds}); correct it")
    return min(round(seconds * info.fps), info.frames)


def _fade_frames(fade_s: float, fps: float, infos: Sequence[ClipInfo]) -> int:
    longest = max(info.seconds for info in infos)
    if not math.isfinite(fade_s) or not 0 <= fade_s <= longest:
        raise MediaError(f"a fade lasts 0 to {longest:.2f} s here (got {fade_s}); make it shorter")
    return round(fade_s * fps)


def _sound_of(source: str | Path, info: ClipInfo, rate: int | None = None) -> Sound | None:
    """The clip's own sound at `rate`, or at its own rate where AAC has it."""
    if not info.has_audio:
        return None
    own = probe_sound(source).rate
    return load_sound(source, rate or (own if own in AAC_RATES_HZ else EDIT_RATE_HZ), channels=2)


def _fitted(sound: Sound | None, frames: int, info: ClipInfo) -> Sound | None:
    return None if sound is None else sound.fitted(frames / info.fps)


def _backwards(source: str | Path, stop: int, start: int) -> Iterator[np.ndarray]:
    """The frames stop - 1 ... start, a chunk in memory at a time."""
    while stop > start:
        begin = max(start, stop - CHUNK_FRAMES)
        yield from reversed(list(read_frames(source, begin, stop - begin)))
        stop = begin


def _blend(before: np.ndarray, after: np.ndarray, share: float) -> np.ndarray:
    mixed: np.ndarray = before * np.float32(1 - share) + after * np.float32(share)
    return (mixed + 0.5).astype(np.uint8)


def _ring(source: str | Path, length: int, fade: int) -> Iterator[np.ndarray]:
    """Frames [0, length) where the first `fade` come out of what follows the last."""
    tail = list(read_frames(source, length, fade))
    for index, frame in enumerate(read_frames(source, 0, length)):
        if index < fade:
            yield _blend(tail[index], frame, (index + 1) / (fade + 1))
        else:
            yield frame


def _ring_sound(sound: Sound, length: int) -> np.ndarray:
    """As `_ring`, for samples [channels, length]."""
    tail = sound.samples[:, length:]
    once = sound.samples[:, :length].copy()
    ramp = np.linspace(0, 1, tail.shape[1], dtype=np.float32)
    once[:, : tail.shape[1]] = tail * (1 - ramp) + once[:, : tail.shape[1]] * ramp
    return once


def _at_rate(
    source: str | Path, info: ClipInfo, target: ClipInfo, count: int
) -> Iterator[np.ndarray]:
    """`count` frames of `source` at the rate and size of `target`."""
    index, given = -1, iter(read_frames(source))
    frame: np.ndarray | None = None
    for wanted in range(count):
        at = min(int((wanted + 0.5) * info.fps / target.fps), info.frames - 1)
        while index < at:
            following = next(given, None)
            if following is None:
                break
            index, frame = index + 1, following
        if frame is None:
            return
        if frame.shape[:2] != (target.height, target.width):
            yield fit_image(frame, target.width, target.height, "crop")
        else:
            yield frame


def _cross_faded(streams: Sequence[Iterator[np.ndarray]], fade: int) -> Iterator[np.ndarray]:
    """The streams one after the other; the last `fade` frames of each go into the next."""
    held: deque[np.ndarray] = deque()
    for stream in streams:
        for index in range(len(held)):
            frame = next(stream)
            yield _blend(held.popleft(), frame, (index + 1) / (fade + 1))
        for frame in stream:
            held.append(frame)
            if len(held) > fade:
                yield held.popleft()
    yield from held


def _joined_sound(sounds: Sequence[Sound | None], lengths: list[float], fade_s: float) -> Sound:
    """Sounds one after the other with linear cross-fades; a clip without sound is silence."""
    channels = max(sound.channels for sound in sounds if sound is not None)
    rate = EDIT_RATE_HZ
    fade = round(fade_s * rate)
    total = np.zeros((channels, round(sum(lengths) * rate) + rate), np.float32)
    at = end = 0
    for index, (sound, length) in enumerate(zip(sounds, lengths, strict=True)):
        end = at + round(length * rate)
        if sound is not None:
            samples = np.broadcast_to(sound.samples, (channels, sound.length)).copy()
            ramp = np.linspace(0, 1, fade, dtype=np.float32)
            if fade and index:
                samples[:, :fade] *= ramp
            if fade and index < len(sounds) - 1:
                samples[:, -fade:] *= ramp[::-1]
            total[:, at : at + samples.shape[1]] += samples
        at = end - fade
    return Sound(total[:, :end], rate)
