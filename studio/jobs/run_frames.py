"""Clips of families that make frames at once: window by window, each from the last frame before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from studio.core.errors import RequestError
from studio.core.plan import Plan, Window
from studio.core.preset import Preset
from studio.core.request import Request
from studio.jobs.guards import FrameGuard
from studio.jobs.setting import Setting

if TYPE_CHECKING:
    from studio.models.families.pipeline import Watch
    from studio.models.family import FrameMaker, Frames


def check_frames_run(
    request: Request, plan: Plan, preset: Preset, *, saves_latents: bool = False
) -> None:
    """Raises RequestError for what such a family cannot do; before anything is loaded."""
    title = preset.title
    if plan.cache != "none":
        raise RequestError(
            f"{title} runs as diffusers has it, without skipped steps (got cache: {plan.cache}); "
            "choose cache: none"
        )
    if saves_latents:
        raise RequestError(
            f"{title} hands out frames, not latents; make the clip without saving them"
        )
    if request.retake is not None:
        raise RequestError(
            f"{title} makes a window from the frame before it alone, so what follows would not "
            "fit; generate the clip again with another seed"
        )
    if any(w.pinned for w in plan.windows):
        if plan.overlap_frames != 1 or preset.rule.first != 1:
            raise RequestError(
                f"{title} goes on from the last frame alone (got an overlap of "
                f"{plan.overlap_frames}); choose an overlap of 1"
            )
        if "i2v" not in preset.options.get("pipelines", {}):
            raise RequestError(
                f"{title} takes no picture, so it cannot go on from a frame; shorten the clip to "
                "one window or choose another preset"
            )


def run_frames(setting: Setting, maker: FrameMaker) -> None:
    """Make and publish every window of the plan that is not published yet."""
    plan, store, reporter = setting.plan, setting.store, setting.reporter
    published = store.published(len(plan.windows))
    for segment in published:
        reporter.skip(segment.forwards, segment.frames)
        setting.announce(segment)
    last = _last_frame(setting, len(published))
    for window in plan.windows[len(published) :]:
        frames = _make(setting, maker, window, last)
        _publish(setting, window, frames)
        last = frames[-1]


def _last_frame(setting: Setting, count: int) -> Frames | None:
    if count:
        tail: Frames = setting.store.tensors(count - 1)["tail"].numpy()
        return tail[-1]
    continued = setting.inputs.continued
    return None if continued is None else continued.tail[-1]


def _make(setting: Setting, maker: FrameMaker, window: Window, last: Frames | None) -> Frames:
    """The frames that `window` adds to the clip."""
    from studio.models.families.pipeline import Order

    plan, reporter = setting.plan, setting.reporter
    ends = window.pinned_end > 0 and plan.mode == "flf2v"
    order = Order(
        plan=plan,
        prompt=window.prompt,
        seed=window.seed,
        frames=setting.family.preset.rule.pixel_frames(window.stop - window.start),
        # A shot that is cut to begins with the request's picture again: the model needs one.
        image=last if window.pinned else setting.inputs.image,
        last_image=setting.inputs.last_image if ends else None,
    )
    reporter.stage("loading", window.index)
    watch, finish = _watch(setting, window)
    with reporter.timed("sampling"):
        made = maker.make_frames(setting.models, order, watch)
    finish()
    given = 1 if window.pinned else 0
    return made[given : given + window.frames]


def _watch(setting: Setting, window: Window) -> tuple[Watch, FinishSteps]:
    """Who tells the reporter of the window's steps, and who says that all are done."""
    from studio.models.families.pipeline import Watch

    reporter = setting.reporter
    counted = FinishSteps(setting, setting.plan.num_inference_steps * setting.plan.branches)

    def step(done: int, total: int) -> None:
        counted.up_to(counted.forwards * done // total)
        reporter.step((done - 1) % setting.plan.num_inference_steps)

    def part(kind: str) -> None:
        if kind in ("transformer", "unet"):
            reporter.stage("sampling", window.index)
        elif counted.done:
            reporter.stage("decoding", window.index)
        else:
            reporter.stage("encoding", window.index)

    return Watch(step, part), counted


class FinishSteps:
    """Counts a window's evaluations up to what the plan says."""

    def __init__(self, setting: Setting, forwards: int) -> None:
        self._count = setting.reporter.count
        self.forwards = forwards
        self.done = 0

    def up_to(self, done: int) -> None:
        """So many are made."""
        if done > self.done:
            self._count(done - self.done)
            self.done = done

    def __call__(self) -> None:
        """All are made: some pipelines take fewer steps than they are told."""
        self.up_to(self.forwards)


def _publish(setting: Setting, window: Window, frames: Frames) -> None:
    import torch

    from studio.media.mux import ClipWriter

    reporter, plan, store = setting.reporter, setting.plan, setting.store
    reporter.stage("publishing", window.index)
    guard = FrameGuard(window.index)
    guard.push(frames)
    guard.close()
    with (
        reporter.timed("publishing"),
        ClipWriter(store.clip_path(window.index), plan.fps, (plan.width, plan.height)) as writer,
    ):
        writer.write(frames)
    assert writer.frames == window.frames, f"{writer.frames} frames, not {window.frames}"
    reporter.decoded(len(frames))
    tail = torch.from_numpy(np.ascontiguousarray(frames[-1:]))
    segment = store.publish(
        {"tail": tail},
        {"tail": tail},
        index=window.index,
        first_frame=window.first_frame,
        frames=window.frames,
        seed=window.seed,
        prompt=window.prompt,
        forwards=plan.num_inference_steps * plan.branches,
    )
    setting.announce(segment)
