"""Where the windows of a long clip lie: integers only, no torch.

All numbers are latent frames, all ranges half-open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from studio.core.request import Ends


@dataclass(frozen=True)
class Span:
    """One window [start, stop): `pinned` frames are given, `discard` at the end thrown away."""

    start: int
    stop: int
    pinned: int
    discard: int

    @property
    def new(self) -> tuple[int, int]:
        """The frames that this window adds to the clip."""
        return self.start + self.pinned, self.stop - self.discard


@dataclass(frozen=True)
class PrefixRule:
    """How overlap-prefix windows are laid.

    `full`: every window has `window_frames`; where it would be shorter it is computed in full and
    the rest discarded. `exact_end`: the last window must end on the last frame (it is given), so
    what is discarded is spread over the windows before.
    """

    window_frames: int
    overlap_frames: int
    full: bool = True
    exact_end: bool = False


def prefix_windows(begin: int, end: int, before: int, rule: PrefixRule) -> list[Span]:
    """Windows that add the frames [begin, end) when `before` frames ahead of them are there.

    The first window has a prefix of min(overlap, before) frames (none: it starts afresh), every
    later one of `overlap_frames`.
    """
    size, overlap = rule.window_frames, rule.overlap_frames
    first_prefix = min(overlap, before)
    first_new = min(size - first_prefix, end - begin)
    rest = end - begin - first_new
    count = 1 + -(-rest // (size - overlap))
    capacity = size - first_prefix + (count - 1) * (size - overlap)
    spans: list[Span] = []
    at = begin
    for index, discard in enumerate(_discards(count, capacity - (end - begin), rule)):
        prefix = overlap if index else first_prefix
        start = at - prefix
        stop = start + size
        if not rule.full or rule.exact_end:
            stop = min(stop, end + discard)
        spans.append(Span(start, stop, prefix, discard))
        at = stop - discard
    assert at == end, f"windows end at {at}, not {end}"
    return spans


def _discards(count: int, excess: int, rule: PrefixRule) -> list[int]:
    """Frames that each of `count` windows throws away, `excess` in all (0 if cut short instead)."""
    if not rule.full or (rule.exact_end and count == 1):
        return [0] * count
    if not rule.exact_end:
        return [0] * (count - 1) + [excess]
    share, more = divmod(excess, count - 1)
    return [share + (i < more) for i in range(count - 1)] + [0]


def windows_at(
    step: int,
    *,
    window_frames: int,
    shift_frames: int,
    ends: Ends,
    total_frames: int,
    cuts: Sequence[int] = (),
) -> tuple[tuple[int, ...], ...]:
    """The windows of position shift at a step: tuples of frame indices in [0, total_frames).

    Windows lie back to back and move backwards by `shift_frames` a step. Ring: indices modulo the
    length, ceil(N / W) windows. Clamped: windows that stick out are moved inside, so that the ends
    overlap; at most one window more. Windows never cross a cut (clamped only); a stretch shorter
    than a window is a window of its own.
    """
    if ends == "ring":
        return _ring(step, window_frames, shift_frames, total_frames)
    edges = [0, *cuts, total_frames]
    found: list[tuple[int, ...]] = []
    for begin, end in pairwise(edges):
        starts = _clamped_starts(step, window_frames, shift_frames, end - begin)
        size = min(window_frames, end - begin)
        found += [tuple(range(begin + s, begin + s + size)) for s in starts]
    return tuple(found)


def _ring(step: int, window: int, shift: int, total: int) -> tuple[tuple[int, ...], ...]:
    size = min(window, total)
    count = -(-total // size)
    offset = step * shift
    return tuple(tuple((k * size - offset + j) % total for j in range(size)) for k in range(count))


def _clamped_starts(step: int, window: int, shift: int, total: int) -> list[int]:
    if total <= window:
        return [0]
    offset = (step * shift) % window
    raw = range(-offset, total, window)
    return sorted({min(max(start, 0), total - window) for start in raw})
