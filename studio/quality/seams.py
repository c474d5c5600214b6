"""Figures of merit from the distances of neighbouring frames; numbers only, no pictures.

d[i] is the distance of frames i and i + 1 (mean absolute CIELAB difference). A boundary at frame
f lies between frames f - 1 and f, so its distance is d[f - 1].
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

FLOOR = 0.05
"""LAB units below which a difference is no motion; also the least that is divided by."""


def spikes(d: Sequence[float], cuts: Iterable[int] = ()) -> Array:
    """spike[i] = d[i] / max(median of d[i-2], d[i-1], d[i+1], d[i+2], FLOOR).

    At the clip's ends the neighbours that exist count. `cuts` are frames at which a new shot
    begins on purpose: their spikes are NaN and they are nobody's neighbour.
    """
    values = np.array(d, dtype=np.float64)
    values[[cut - 1 for cut in cuts if 0 < cut <= len(values)]] = np.nan
    found = np.full(len(values), np.nan)
    for i, value in enumerate(values):
        near = [values[j] for j in (i - 2, i - 1, i + 1, i + 2) if 0 <= j < len(values)]
        known = [x for x in near if not np.isnan(x)]
        median = float(np.median(known)) if known else 0.0
        found[i] = value / max(median, FLOOR)
    return found


def seam_ratio(spike: Array, joins: Sequence[int], usual: Sequence[int]) -> float | None:
    """The largest spike at `joins` over the 95th percentile of those at `usual` (frames).

    About 1.0 to 1.1 on perfect pictures. None where there is nothing to compare.
    """
    at_joins, others = _at(spike, joins), _at(spike, usual)
    if len(at_joins) == 0 or len(others) == 0:
        return None
    return float(at_joins.max() / usual_spike(others))


def usual_spike(others: Array) -> float:
    """What a join is compared with: the 95th percentile of the other spikes, at least FLOOR."""
    return max(float(np.percentile(others, 95)), FLOOR)


def join_ratios(spike: Array, joins: Sequence[int], usual: Sequence[int]) -> list[float | None]:
    """`seam_ratio` of each join alone, in order; None where it cannot be said."""
    return [seam_ratio(spike, [join], usual) for join in joins]


def _at(spike: Array, frames: Sequence[int]) -> Array:
    inside = [f - 1 for f in frames if 0 < f <= len(spike)]
    values = spike[inside] if inside else np.zeros(0)
    return values[~np.isnan(values)]


def colour_drift(lab_means: Array, starts: Sequence[int]) -> float | None:
    """How fast the mean colour of the windows moves, in LAB units per 100 frames.

    `lab_means` [T, 3] are the frames' mean colours, `starts` the windows' first frames. The slope
    is fitted to the windows' means at their middle frames. None with fewer than two windows.
    """
    edges = [*sorted(set(starts)), len(lab_means)]
    ranges = [(a, b) for a, b in pairwise(edges) if b > a]
    if len(ranges) < 2:
        return None
    middle = np.array([(a + b - 1) / 2 for a, b in ranges])
    colour = np.stack([lab_means[a:b].mean(axis=0) for a, b in ranges])
    centred = middle - middle.mean()
    slope = (centred[:, None] * (colour - colour.mean(axis=0))).sum(axis=0) / (centred**2).sum()
    return float(np.linalg.norm(slope) * 100)
