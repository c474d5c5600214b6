"""One window of a finished clip made anew; every other frame stays as it is, byte for byte."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from studio.core.errors import RequestError
from studio.core.plan import Plan, Window
from studio.jobs.parts import Parts, link
from studio.jobs.run_windows import sample_window
from studio.jobs.segments import SegmentStore
from studio.jobs.setting import Memory, Setting

if TYPE_CHECKING:
    import torch


def retake_plan(plan: Plan, parts: Parts) -> Plan:
    """`plan` with the seeds and prompts that the clip's windows really have."""
    assert len(plan.windows) == len(parts.seeds)
    windows = tuple(
        replace(w, seed=seed, prompt=prompt)
        for w, seed, prompt in zip(plan.windows, parts.seeds, parts.prompts, strict=True)
    )
    return replace(plan, windows=windows)


def check_same(plan: Plan, parts: Parts) -> None:
    """Raises RequestError if the preset changed since the clip was made."""
    if len(parts.seeds) != len(plan.windows) or parts.plan.get("frames") != plan.frames:
        raise RequestError(
            "the preset has changed since this clip was made, so its windows do not fit; "
            "generate the clip again"
        )


def run_retake(setting: Setting, parts: Parts, window: Window) -> None:
    """Publish `window` beside the clip's other windows in the job's folder."""
    kept = _kept_latents(setting, parts)
    begin, end = window.start + window.pinned, window.stop - window.discard
    stretch = max(edge for edge in (0, *setting.plan.cuts) if edge <= begin)
    prefix = kept[:, :, window.start : begin] if window.pinned else None
    suffix = kept[:, :, end : window.stop] if window.discard else None
    latents = sample_window(setting, window, prefix, suffix)
    new = latents[:, :, window.pinned : window.pinned + end - begin].contiguous()
    before = kept[:, :, stretch:begin]
    if setting.inputs.continued is not None and stretch == 0:
        # The given latents are in front of `kept` already; the frames before them warm the cache.
        continued = setting.inputs.continued.latents
        before = _with_front(before, continued, setting.plan.given_frames)
    state = setting.warm_decoder(before) if before.shape[2] else {}
    setting.publish(window, new, Memory(state, (), setting.reporter.forwards))


def _with_front(before: torch.Tensor, continued: torch.Tensor, given: int) -> torch.Tensor:
    import torch

    return torch.cat([continued, before[:, :, given:]], dim=2)


def _kept_latents(setting: Setting, parts: Parts) -> torch.Tensor:
    """The clip's latents by absolute frame, given ones in front; its windows are put into place."""
    import torch

    store, plan = setting.store, setting.plan
    source = SegmentStore(parts.folder, "")
    for index in range(len(plan.windows)):
        for name in (f"window-{index:03d}{s}" for s in (".mp4", ".safetensors", ".json")):
            link(parts.folder / name, store.folder / name)
    pieces = [source.tensors(index)["latents"] for index in range(len(plan.windows))]
    given = setting.inputs.given(plan.given_frames)
    return torch.cat([*([] if given is None else [given]), *pieces], dim=2)
