"""H.264 clips: written frame by frame, joined without encoding again, published whole.

All clips share one encoder setting: closed groups of pictures, no B-frames (decoding order is
showing order, so a join by copying packets keeps the frame count), one thread (same frames, same
bytes). Colours are BT.601 limited range and say so: decoders that ignore the tag assume just that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import numpy as np
from av.video.reformatter import Interpolation

from studio.core.errors import MediaError, StorageError
from studio.media.publish import atomic_path
from studio.media.sound import Sound

CRF = 14
KEYFRAME_SECONDS = 2.0
AUDIO_BIT_RATE = 128_000
AUDIO_BLOCK = 1024
MOVFLAGS = {"movflags": "use_metadata_tags+faststart"}
MATRIX_601, PRIMARIES_709, TRANSFER_709, LIMITED = 6, 1, 1, 1
TO_YUV = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
    | Interpolation.BITEXACT
)


def frame_rate(fps: float) -> Fraction:
    """`fps` as the fraction that goes into the file."""
    if not 0 < fps <= 240:
        raise MediaError(f"a clip has more than 0 and at most 240 frames a second (got {fps})")
    return Fraction(fps).limit_denominator(1001)


class ClipWriter:
    """Writes uint8 RGB frames to an MP4 that appears at `path` only when it is complete.

    Used as a context manager; an exception inside leaves nothing behind. `metadata` holds the
    container's tags (`studio.media.metadata.clip_tags`), `audio` the whole sound of the clip.
    """

    def __init__(
        self,
        path: str | Path,
        fps: float,
        size: tuple[int, int],
        metadata: Mapping[str, str] | None = None,
        audio: Sound | None = None,
    ) -> None:
        width, height = size
        if width % 2 or height % 2 or min(size) < 2:
            raise MediaError(
                f"width and height of a clip are even numbers (got {width}x{height}); "
                "choose a multiple of 2"
            )
        self.path = Path(path)
        self.frames = 0
        self._rate = frame_rate(fps)
        self._size = (width, height)
        self._metadata = dict(metadata or {})
        self._audio = audio
        self._publication = atomic_path(self.path)
        self._container: Any = None
        self._video: Any = None

    def __enter__(self) -> Self:
        self._temporary = self._publication.__enter__()
        try:
            self._open()
        except BaseException as error:
            self._leave(error)
            raise
        return self

    def write(self, frames: np.ndarray) -> None:
        """Append `frames`: uint8 [n, H, W, 3] or one frame [H, W, 3]."""
        batch = frames[None] if frames.ndim == 3 else frames
        width, height = self._size
        if batch.dtype != np.uint8 or batch.shape[1:] != (height, width, 3):
            raise MediaError(
                f"frames of this clip are uint8 {height}x{width}x3 "
                f"(got {batch.dtype} {'x'.join(map(str, batch.shape[1:]))})"
            )
        for pixels in batch:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame = frame.reformat(
                format="yuv420p",
                dst_colorspace=MATRIX_601,
                dst_color_range=LIMITED,
                dst_color_primaries=PRIMARIES_709,
                dst_color_trc=TRANSFER_709,
                interpolation=TO_YUV,
                threads=1,
            )
            frame.pts, frame.time_base = self.frames, 1 / self._rate
            self.frames += 1
            self._mux(self._video.encode(frame))
            self._sound.write_until(float(self.frames / self._rate))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            try:
                self._finish()
            except BaseException as own:
                self._leave(own)
                raise
        self._leave(error)

    def _open(self) -> None:
        self._container = av.open(str(self._temporary), "w", format="mp4", options=MOVFLAGS)
        self._container.metadata.update(self._metadata)
        group = max(1, round(KEYFRAME_SECONDS * self._rate))
        own = f"threads=1:bframes=0:rc-lookahead=10:keyint={group}:open-gop=0"
        options = {"preset": "medium", "crf": str(CRF), "x264-params": own}
        self._video = self._container.add_stream("libx264", rate=self._rate, options=options)
        self._video.width, self._video.height = self._size
        self._video.pix_fmt = "yuv420p"
        context = self._video.codec_context
        context.time_base = 1 / self._rate
        context.colorspace, context.color_range = MATRIX_601, LIMITED
        context.color_primaries, context.color_trc = PRIMARIES_709, TRANSFER_709
        self._sound = _Track(self._container, self._audio)

    def _mux(self, packets: Sequence[Any]) -> None:
        for packet in packets:
            packet.duration = 1
            self._container.mux(packet)

    def _finish(self) -> None:
        if self.frames == 0:
            raise MediaError("a clip has at least one frame (got none); nothing was written")
        self._mux(self._video.encode())
        self._sound.finish()
        container, self._container = self._container, None
        container.close()
        _check(self._temporary, self.frames, self.path)

    def _leave(self, error: BaseException | None) -> None:
        """Close what is open and publish, or clean up after `error`."""
        container, self._container = self._container, None
        if container is not None:
            _close_quietly(container)
        self._publication.__exit__(type(error) if error else None, error, None)


def concat_segments(
    paths: Sequence[str | Path],
    out: str | Path,
    metadata: Mapping[str, str] | None = None,
    audio: Sound | None = None,
) -> int:
    """Join clips of ClipWriter's by copying packets; the number of frames in `out`.

    Raises:
        MediaError: if a segment is damaged or was encoded differently.
        StorageError: if `out` cannot be written.
    """
    if not paths:
        raise MediaError("a clip is joined from at least one segment (got none)")
    total = 0
    with atomic_path(Path(out)) as temporary:
        output: Any = av.open(str(temporary), "w", format="mp4", options=MOVFLAGS)
        try:
            output.metadata.update(metadata or {})
            first = _Segment(Path(paths[0]))
            with first.open() as source:
                stream = output.add_stream_from_template(source.streams.video[0], opaque=True)
                stream.time_base = first.time_base
            sound = _Track(output, audio)
            for path in paths:
                total = _append(output, stream, _Segment(Path(path)), first, total)
                sound.write_until(float(total * first.ticks * first.time_base))
            sound.finish()
            container, output = output, None
            container.close()
        finally:
            if output is not None:
                _close_quietly(output)
        _check(temporary, total, Path(out))
    return total


class _Segment:
    """A finished clip as concat_segments sees it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self.open() as source:
            if not source.streams.video:
                raise MediaError(f"{path.name} has no pictures; make this segment again")
            video = source.streams.video[0]
            self.frames: int = video.frames
            self.time_base: Fraction = video.time_base
            self.ticks = round(1 / (video.average_rate * video.time_base))
            context = video.codec_context
            self.setting = (context.width, context.height, context.extradata, self.ticks)

    def open(self) -> Any:
        """The container, for reading."""
        try:
            return av.open(str(self.path), "r", format="mp4")
        except (av.error.FFmpegError, OSError) as error:
            raise MediaError(
                f"the segment {self.path.name} cannot be read ({error}); make it again"
            ) from error


def _append(output: Any, stream: Any, segment: _Segment, first: _Segment, offset: int) -> int:
    """Copy the packets of `segment` to frames from `offset` on; where the next one begins."""
    if segment.setting != first.setting or segment.time_base != first.time_base:
        raise MediaError(
            f"the segment {segment.path.name} was encoded with other settings than "
            f"{first.path.name}; make it again"
        )
    count = 0
    for packet in _packets(segment):
        packet.pts = packet.dts = (offset + count) * first.ticks
        packet.duration = first.ticks
        packet.time_base = first.time_base
        packet.stream = stream
        output.mux(packet)
        count += 1
    if count != segment.frames:
        raise MediaError(
            f"the segment {segment.path.name} should have {segment.frames} frames "
            f"(got {count}); make it again"
        )
    return offset + count


def _packets(segment: _Segment) -> Iterator[Any]:
    with segment.open() as source:
        try:
            for packet in source.demux(source.streams.video[0]):
                if packet.size:
                    yield packet
        except av.error.InvalidDataError as error:
            raise MediaError(
                f"the segment {segment.path.name} is damaged ({error}); make it again"
            ) from error


class _Track:
    """The sound of a clip on its way into a container; does nothing without a sound."""

    def __init__(self, container: Any, sound: Sound | None) -> None:
        self._container, self._sound, self._at = container, sound, 0
        if sound is not None:
            self._layout = "mono" if sound.channels == 1 else "stereo"
            self._stream = container.add_stream("aac", rate=sound.rate, layout=self._layout)
            self._stream.bit_rate = AUDIO_BIT_RATE

    def write_until(self, seconds: float) -> None:
        """Write all whole blocks that begin before `seconds`."""
        sound = self._sound
        while sound is not None and self._at < min(sound.length, seconds * sound.rate):
            block = np.ascontiguousarray(sound.samples[:, self._at : self._at + AUDIO_BLOCK])
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=self._layout)
            frame.sample_rate, frame.pts = sound.rate, self._at
            frame.time_base = Fraction(1, sound.rate)
            self._container.mux(self._stream.encode(frame))
            self._at += AUDIO_BLOCK

    def finish(self) -> None:
        """Write the rest."""
        if self._sound is not None:
            self.write_until(self._sound.seconds)
            self._container.mux(self._stream.encode())


def _close_quietly(container: Any) -> None:
    """Close an output that is given up; its file is about to be deleted."""
    try:
        container.close()
    except (av.error.FFmpegError, OSError):
        return


def _check(path: Path, frames: int, target: Path) -> None:
    """Raise unless the finished file really holds `frames` frames (a full disk may lie)."""
    try:
        with av.open(str(path), "r", format="mp4") as container:
            found = container.streams.video[0].frames
    except (av.error.FFmpegError, IndexError) as error:
        raise StorageError(
            f"{target.name} could not be written completely; check the disk and try again"
        ) from error
    if found != frames:
        raise StorageError(
            f"{target.name} holds {found} of {frames} frames; check the disk and try again"
        )
