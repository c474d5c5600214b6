"""A clip in other shapes: a GIF for messages, a still for a poster."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from studio.core.errors import MediaError
from studio.media.decode import ClipInfo, probe, read_frames
from studio.media.publish import atomic_path

GIF_FPS = 15.0
GIF_SIDE_PX = 480
GIF_FRAMES = 600
STILLS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def export_gif(
    source: str | Path,
    out: str | Path,
    *,
    max_fps: float = GIF_FPS,
    max_side: int = GIF_SIDE_PX,
) -> int:
    """The clip as a GIF that repeats, as long as the clip; how many frames it has.

    Raises:
        MediaError: if the clip is too long for a GIF.
        StorageError: if it cannot be written.
    """
    info = probe(source)
    step = max(1, math.ceil(info.fps / max_fps - 1e-9))
    count = -(-info.frames // step)
    if count > GIF_FRAMES:
        raise MediaError(
            f"a GIF has at most {GIF_FRAMES} frames (this one would have {count}); "
            "trim the clip or export it as MP4"
        )
    pictures = _pictures(source, step, max_side)
    first = next(pictures, None)
    if first is None:
        raise MediaError(f"{Path(source).name} has no pictures; choose another clip")
    with atomic_path(Path(out)) as temporary:
        first.save(
            temporary,
            "GIF",
            save_all=True,
            append_images=pictures,
            duration=_durations(count, info, step),
            loop=0,
            disposal=1,
        )
    return count


def export_still(source: str | Path, out: str | Path, at_s: float = 0.0) -> None:
    """The frame of a clip at `at_s` seconds as PNG, JPEG or WebP, in full size.

    Raises:
        MediaError: for another kind of file or a time outside the clip.
        StorageError: if it cannot be written.
    """
    kind = STILLS.get(Path(out).suffix.lower())
    if kind is None:
        raise MediaError(f"a still is .png, .jpg or .webp (got {Path(out).suffix!r}); choose one")
    info = probe(source)
    if not math.isfinite(at_s) or not 0 <= at_s <= info.seconds:
        raise MediaError(f"a time in this clip is 0 to {info.seconds:.2f} s (got {at_s})")
    index = min(int(at_s * info.fps + 1e-6), info.frames - 1)
    frame = next(read_frames(source, index, 1), None)
    if frame is None:
        raise MediaError(f"{Path(source).name} has no frame at {at_s:g} s; choose another time")
    with atomic_path(Path(out)) as temporary:
        Image.fromarray(frame).save(temporary, kind, quality=92)


def _pictures(source: str | Path, step: int, max_side: int) -> Iterator[Image.Image]:
    for index, frame in enumerate(read_frames(source)):
        if index % step == 0:
            yield _palette(frame, max_side)


def _palette(frame: np.ndarray, max_side: int) -> Image.Image:
    picture = Image.fromarray(frame)
    if max(picture.size) > max_side:
        picture.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    return picture.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.FLOYDSTEINBERG)


def _durations(count: int, info: ClipInfo, step: int) -> list[int]:
    """Milliseconds for each frame, in the hundredths that GIF knows, without drift."""
    ends = [min((i + 1) * step, info.frames) / info.fps for i in range(count)]
    hundredths = [round(100 * end) for end in ends]
    steps = np.diff([0, *hundredths])
    return [max(2, int(value)) * 10 for value in steps]
