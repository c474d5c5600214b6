"""Who computes what when several devices make one clip; integers only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from studio.core.plan import Plan

View = Literal["guided", "positive", "negative"]
"""A forward with guidance inside, or one of its branches."""

STEPS_SHARE = 0.9
"""What of a run's time is forwards; the rest (encoding, decoding) stays on one device."""


@dataclass(frozen=True)
class Share:
    """One piece of a step: a window under a view, for the device `rank`."""

    window: int
    view: View
    rank: int


def share_out(windows: int, *, branches: int, world: int) -> tuple[Share, ...]:
    """The pieces of a step in order. `branches` 2: guidance may be split where that is quicker.

    Whole windows are preferred: a guided forward is cheaper than its two branches.
    """
    whole = -(-windows // world)
    halves = -(-2 * windows // world)
    if branches == 2 and halves < 2 * whole:
        views: tuple[View, ...] = ("positive", "negative")
        pieces = [(window, view) for window in range(windows) for view in views]
        return tuple(Share(w, view, k % world) for k, (w, view) in enumerate(pieces))
    return tuple(Share(w, "guided", w % world) for w in range(windows))


def speed_up(plan: Plan, world: int, by: str = "windows", *, can_split: bool = True) -> float:
    """How many times as fast `world` equal devices make the clip, by counting forwards.

    Transport is not counted; for ulysses and ring that makes it an upper bound.
    """
    if world == 1:
        return 1.0
    if by != "windows":
        return 1 / (STEPS_SHARE / world + 1 - STEPS_SHARE)
    at_once = len(plan.windows) if plan.method == "position-shift" else 1
    branches = plan.branches if can_split and plan.branches == 2 else 1
    shares = share_out(at_once, branches=branches, world=world)
    cost = {"guided": plan.branches, "positive": 1, "negative": 1}
    loads = [0] * world
    for share in shares:
        loads[share.rank] += cost[share.view]
    ratio = max(loads) / (at_once * plan.branches)
    return 1 / (STEPS_SHARE * ratio + 1 - STEPS_SHARE)
