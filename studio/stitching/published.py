"""The published loops' own plans, in integers, for parity: Sonic, HunyuanVideo-Avatar, OmniAvatar.

Written from the description of their behaviour; no code of theirs. Audio is at 25 frames a second.
"""

from __future__ import annotations

from dataclasses import dataclass

from studio.core.errors import RequestError

SONIC_WINDOW, SONIC_SHIFT = 25, 7
HVA_WINDOW, HVA_SHIFT = 33, 10


@dataclass(frozen=True)
class ShiftWindow:
    """Latent and audio frames that one window of a published position-shift loop covers."""

    latents: tuple[int, ...]
    audio: tuple[int, ...] = ()


@dataclass(frozen=True)
class ShiftLoop:
    """A published position-shift loop: windows of each step over a ring of `total` latents.

    The first `keep` latents are decoded; the published loops step every window alone and average
    the stepped samples.
    """

    total: int
    keep: int
    padded_audio: int
    steps: tuple[tuple[ShiftWindow, ...], ...]


@dataclass(frozen=True)
class PrefixSegment:
    """One segment of OmniAvatar: its prefix, new audio frames and the frames it makes.

    The segment's first `drop_frames` video frames repeat the segment before; the others are the
    clip's frames [frame_start, frame_stop).
    """

    prefix_frames: int
    prefix_latents: int
    audio_start: int
    audio_stop: int
    drop_frames: int
    frame_start: int
    frame_stop: int


@dataclass(frozen=True)
class PrefixLoop:
    """OmniAvatar's segment loop: `latents` per segment, clip cut to `frames` at the end."""

    latents: int
    padded_audio: int
    segments: tuple[PrefixSegment, ...]
    frames: int


def published_plan(
    name: str,
    audio_frames: int,
    *,
    steps: int = 1,
    segment_frames: int = 57,
    overlap_frames: int = 13,
) -> ShiftLoop | PrefixLoop:
    """The plan of a published loop for a sound of `audio_frames` (Sonic: latent frames).

    `steps` is for "sonic" and "hva"; `segment_frames` and `overlap_frames` (video frames, 4k+1)
    are for "omniavatar".

    Raises:
        RequestError: for a name that is none of the three.
    """
    if name == "sonic":
        return sonic_loop(audio_frames, steps)
    if name == "hva":
        return hva_loop(audio_frames, steps)
    if name == "omniavatar":
        return omniavatar_loop(audio_frames, segment_frames, overlap_frames)
    raise RequestError(
        f"published plans are sonic, hva and omniavatar (got {name!r}); choose one of them"
    )


def sonic_loop(frames: int, steps: int) -> ShiftLoop:
    """Sonic: windows of 25 back to back on a ring of `frames`, 7 backwards a step."""
    plan = tuple(
        tuple(
            ShiftWindow(tuple((s - SONIC_SHIFT * i + j) % frames for j in range(SONIC_WINDOW)))
            for s in range(0, frames, SONIC_WINDOW)
        )
        for i in range(steps)
    )
    return ShiftLoop(total=frames, keep=frames, padded_audio=frames, steps=plan)


def hva_loop(audio_frames: int, steps: int) -> ShiftLoop:
    """HunyuanVideo-Avatar: windows of 33 on a ring of 32k + 1, 10 backwards a step, modulo 33."""
    padded = 129 if audio_frames <= 129 else audio_frames + 5
    keep = padded // 4 + 1
    total = 32 * (padded // 128 + 1) + 1
    shift = HVA_SHIFT
    if HVA_WINDOW in (keep, total):
        total, shift = HVA_WINDOW, 0
    plan = tuple(
        tuple(
            _hva_window(s - shift * i % HVA_WINDOW, total) for s in range(0, total - 1, HVA_WINDOW)
        )
        for i in range(steps)
    )
    return ShiftLoop(total=total, keep=keep, padded_audio=padded, steps=plan)


def _hva_window(start: int, total: int) -> ShiftWindow:
    latents = tuple((start + j) % total for j in range(HVA_WINDOW))
    audio = tuple((4 * start + q) % (4 * total) for q in range(4 * HVA_WINDOW - 3))
    return ShiftWindow(latents, audio)


def omniavatar_loop(audio_frames: int, segment_frames: int, overlap_frames: int) -> PrefixLoop:
    """OmniAvatar: segments of `segment_frames` that begin with the last `overlap_frames`."""
    whole, new = segment_frames - 1, segment_frames - overlap_frames
    more = max(0, -(-(audio_frames - whole) // new))
    segments = [PrefixSegment(1, 1, 0, whole, 0, 0, segment_frames)]
    for t in range(more):
        at = whole + t * new
        segments.append(
            PrefixSegment(
                prefix_frames=overlap_frames,
                prefix_latents=(3 + overlap_frames) // 4,
                audio_start=at,
                audio_stop=at + new,
                drop_frames=overlap_frames,
                frame_start=at + 1,
                frame_stop=at + 1 + new,
            )
        )
    return PrefixLoop(
        latents=(segment_frames + 3) // 4,
        padded_audio=whole + more * new,
        segments=tuple(segments),
        frames=audio_frames + 1,
    )
