"""Clips are looked at under limits, then read frame by frame.

Only ordinary containers on the local disk are opened: playlists and other files that name files
are refused by FFmpeg itself (format_whitelist, protocol_whitelist).
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

from studio.core.errors import MediaError

CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,gif,ogg"
SOUNDS = "wav,w64,flac,mp3,aac,aiff,caf,amr,ac3,asf,au"
CODECS = "h264,hevc,av1,vp8,vp9,mpeg4,mpeg2video,mpeg1video,mjpeg,prores,ffv1,gif,theora,h263"
PROBE_BYTES = 5_000_000
MAX_INDEX_BYTES = 16_000_000
MAX_BOXES = 4096
TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Limits:
    """What a clip may be at most before anything of it is decoded."""

    pixels: int = 4096 * 2304
    frames: int = 40_000
    seconds: float = 1200.0
    size_bytes: int = 4_000_000_000


LIMITS = Limits()


@dataclass(frozen=True)
class ClipInfo:
    """What a clip says about itself. `frames` is what the index says, or duration x rate."""

    width: int
    height: int
    fps: float
    frames: int
    seconds: float
    codec: str
    pixel_format: str
    has_audio: bool
    tags: dict[str, str]


def probe(path: str | Path, limits: Limits = LIMITS) -> ClipInfo:
    """What the clip at `path` is; nothing is decoded beyond what its header needs.

    Raises:
        MediaError: if it is not a clip that may be read.
    """
    with open_container(path, "clip", limits.size_bytes) as container:
        return _info(container, Path(path).name, limits)


def read_frames(
    path: str | Path,
    start: int = 0,
    count: int | None = None,
    limits: Limits = LIMITS,
) -> Iterator[np.ndarray]:
    """The frames [start, start + count) of a clip, uint8 [H, W, 3] each, upright.

    Raises:
        MediaError: if it is not a clip, is over the limits or is damaged.
    """
    name = Path(path).name
    with open_container(path, "clip", limits.size_bytes) as container:
        _info(container, name, limits)
        stop = limits.frames if count is None else start + count
        for index, frame in enumerate(_decode(container, name)):
            if index >= stop:
                return
            if frame.width * frame.height > limits.pixels:
                raise MediaError(f"{name} changes its size on the way; export it again as MP4")
            if index >= start:
                yield _upright(frame)


def read_clip(path: str | Path, limits: Limits = LIMITS) -> np.ndarray:
    """All frames of a short clip at once, uint8 [n, H, W, 3].

    Raises:
        MediaError: as read_frames; also if there is no frame.
    """
    frames = list(read_frames(path, limits=limits))
    if not frames:
        raise MediaError(f"{Path(path).name} has no pictures; choose another clip")
    return np.stack(frames)


def read_last_frames(path: str | Path, count: int, limits: Limits = LIMITS) -> np.ndarray:
    """The last `count` frames (or all there are), uint8 [n, H, W, 3].

    Raises:
        MediaError: as read_clip.
    """
    frames = deque(read_frames(path, limits=limits), maxlen=count)
    if not frames:
        raise MediaError(f"{Path(path).name} has no pictures; choose another clip")
    return np.stack(frames)


@contextlib.contextmanager
def open_container(path: str | Path, what: str, size_bytes: int) -> Iterator[Any]:
    """The media file at `path` opened for reading, with all that is dangerous turned off.

    Errors of FFmpeg inside the block become MediaError.

    Raises:
        MediaError: if it is missing, empty, too large or no media file; `what` names it.
    """
    file = Path(path)
    check_file(file, what, size_bytes)
    options = {
        "format_whitelist": f"{CONTAINERS},{SOUNDS}",
        "protocol_whitelist": "file",
        "probesize": str(PROBE_BYTES),
        "max_pixels": str(LIMITS.pixels * 2),
        "max_streams": "32",
        "threads": "1",
    }
    try:
        with av.open(
            f"file:{file.resolve()}",
            "r",
            options=options,
            timeout=TIMEOUT_S,
            metadata_errors="replace",
        ) as container:
            yield container
    except (av.error.FFmpegError, UnicodeError) as error:
        reason = str(getattr(error, "strerror", None) or type(error).__name__)
        raise MediaError(
            f"{file.name} cannot be read as a {what} ({reason[:80]}); "
            "it may be damaged or something else: choose another file"
        ) from error


def check_file(file: Path, what: str, size_bytes: int) -> None:
    """Raise a MediaError unless `file` is a file with 1 to `size_bytes` bytes."""
    try:
        if not file.is_file():
            raise MediaError(f"there is no {what} at {file.name}; choose a file that exists")
        size = file.stat().st_size
    except (OSError, ValueError) as error:
        raise MediaError(f"that {what} cannot be opened; choose another file") from error
    if size == 0:
        raise MediaError(f"{file.name} is empty (0 bytes); choose another {what}")
    if size > size_bytes:
        raise MediaError(
            f"a {what} has at most {size_bytes / 1e6:.1f} MB (got {size / 1e6:.1f} MB); "
            "choose a smaller one"
        )
    if what != "picture":
        _check_boxes(file, size)


def _check_boxes(file: Path, size: int) -> None:
    """Refuse an MP4 whose index is compressed or far larger than an honest one.

    FFmpeg would read it into memory before any other limit applies.
    """
    with file.open("rb") as handle:
        at = 0
        for _ in range(MAX_BOXES):
            handle.seek(at)
            head = handle.read(16)
            kind = head[4:8]
            if len(head) < 8 or (at == 0 and kind not in (b"ftyp", b"moov", b"mdat", b"wide")):
                return
            length = int.from_bytes(head[:4])
            if length == 1 and len(head) == 16:
                length = int.from_bytes(head[8:16])
            length = length if length >= 8 else size - at
            too_large = kind not in (b"mdat", b"free", b"skip") and length > MAX_INDEX_BYTES
            if too_large or head[12:16] == b"cmov":
                raise MediaError(
                    f"the index of {file.name} is too large to be read; export it again as MP4"
                )
            at += length


def _info(container: Any, name: str, limits: Limits) -> ClipInfo:
    """ClipInfo of an open container, or MediaError if it is over the limits."""
    if not container.streams.video:
        raise MediaError(f"{name} has no pictures; choose a clip")
    stream = container.streams.video[0]
    context = stream.codec_context
    codec = "unknown" if context is None else context.codec.canonical_name
    if codec not in CODECS.split(","):
        raise MediaError(f"{name} is coded as {codec}, which is not read; export it as H.264")
    rate = float(stream.average_rate or stream.base_rate or 25)
    seconds = _seconds(container, stream)
    frames = int(stream.frames or round(seconds * rate))
    if context.width * context.height > limits.pixels or min(context.width, context.height) < 2:
        raise MediaError(
            f"a clip has 2x2 to {limits.pixels / 1e6:.1f} million pixels "
            f"(got {context.width}x{context.height}); scale it down"
        )
    if seconds > limits.seconds or frames > limits.frames:
        raise MediaError(
            f"a clip has at most {limits.seconds:g} s and {limits.frames} frames "
            f"(got {seconds:.0f} s, {frames} frames); cut it"
        )
    return ClipInfo(
        width=context.width,
        height=context.height,
        fps=rate,
        frames=frames,
        seconds=seconds or frames / rate,
        codec=codec,
        pixel_format=str(context.pix_fmt or ""),
        has_audio=bool(container.streams.audio),
        tags=dict(container.metadata),
    )


def _seconds(container: Any, stream: Any) -> float:
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is not None:
        return float(container.duration) / av.time_base
    return 0.0


def _decode(container: Any, name: str) -> Iterator[Any]:
    """Decoded frames; a clip whose end is missing is an error, not a shorter clip."""
    stream = container.streams.video[0]
    stream.thread_type = "NONE"
    count = 0
    for frame in container.decode(stream):
        count += 1
        yield frame
    if stream.frames and count < stream.frames:
        raise MediaError(
            f"{name} is damaged: {count} of {stream.frames} frames can be read; choose another file"
        )


def _upright(frame: Any) -> np.ndarray:
    pixels = frame.to_ndarray(format="rgb24", threads=1)
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels
