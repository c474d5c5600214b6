"""One window of a finished clip made anew, everything around it left as it is."""

from __future__ import annotations

from dataclasses import replace

from studio.core.errors import RequestError
from studio.core.plan import Plan, Window


def retake_window(plan: Plan, index: int, seed: int, prompt: str | None = None) -> Window:
    """Window `index` of a finished plan made anew, its neighbours' latents given on both sides.

    The prefix is as long as the window's size leaves room for, at least one latent frame; one
    frame of what follows is given at the end and discarded.

    Raises:
        RequestError: if there is no such window.
    """
    if not 0 <= index < len(plan.windows):
        raise RequestError(
            f"the clip has windows 0 to {len(plan.windows) - 1} (got {index}); choose one of them"
        )
    old = plan.windows[index]
    edges = (0, *plan.cuts, plan.latent_frames)
    begin = max([old.start + old.pinned] + [w.stop - w.discard for w in plan.windows[:index]])
    end = min(old.stop - old.discard, plan.latent_frames)
    before = begin - max(edge for edge in edges if edge <= begin)
    after = 0 if end in edges else 1
    room = plan.window_frames - (end - begin) - after
    prefix = min(before, plan.overlap_frames, max(1, room))
    return replace(
        old,
        start=begin - prefix,
        stop=end + after,
        pinned=prefix,
        prompt=old.prompt if prompt is None else prompt,
        seed=seed,
        cut=prefix == 0,
        discard=after,
        pinned_end=after or old.pinned_end,
    )
