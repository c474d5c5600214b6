"""One window, or many with an overlap prefix: each sampled, decoded and published in turn."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from studio.core.plan import Window
from studio.jobs.setting import Memory, Setting, with_cache

if TYPE_CHECKING:
    import torch


def run_windows(setting: Setting) -> None:
    """Make and publish every window of the plan that is not published yet."""
    from studio.stitching.overlap_prefix import added

    plan, store = setting.plan, setting.store
    published = store.published(len(plan.windows))
    made = [store.tensors(segment.index)["latents"] for segment in published]
    for segment in published:
        setting.reporter.skip(segment.forwards, segment.frames)
        setting.announce(segment)
    memory = _memory_after(setting, len(published))
    for window in plan.windows[len(published) :]:
        if window.cut and window.index:
            memory = replace(memory, decoder={}, tail=())
        prefix = _prefix(setting, window, made, memory)
        latents = sample_window(setting, window, prefix)
        new = added(window, latents).contiguous()
        memory = setting.publish(window, new, memory)
        made.append(new)


def sample_window(
    setting: Setting,
    window: Window,
    prefix: torch.Tensor | None,
    suffix: torch.Tensor | None = None,
) -> torch.Tensor:
    """Latents [1, C, T, h, w] of the whole window, what is given included."""
    from studio.sampling.loop import sample
    from studio.sampling.state import LatentState
    from studio.sampling.stepper import Stepper

    family, reporter = setting.family, setting.reporter
    reporter.stage("encoding", window.index)
    given = replace(setting.given_for(window, prefix), suffix=suffix)
    with reporter.timed("encoding"):
        pins = family.pins(setting.models, setting.plan, given)
    noise, generator = setting.draws(given, pins, window.seed)
    # Some models compute frames before the first one, to be dropped.
    lead = noise.shape[2] - given.latent_frames
    state = LatentState(noise, pins.clean, pins.mask)
    stepper = Stepper(*family.scheduler(setting.plan, given.latent_frames), generator)
    embeds = setting.prompts[window.prompt]
    conditions = setting.conditions(pins, window.start - lead, lambda _frames: embeds)
    with ExitStack() as held:
        denoise = setting.open_denoiser(held, conditions)
        reporter.stage("sampling", window.index)
        with reporter.timed("sampling"):
            done = sample(
                with_cache(denoise, setting.plan, stepper),
                state,
                stepper,
                frames=range(window.start - lead, window.stop),
                renoise=noise if family.pin_renoise and state.has_pins else None,
                on_step=setting.on_step(),
            )
    whole = done.with_pins() if state.has_pins else done.latent
    return whole[:, :, lead:]


def _prefix(
    setting: Setting, window: Window, made: list[torch.Tensor], memory: Memory
) -> torch.Tensor | None:
    """The latents that the window begins with: carried over, or encoded from decoded frames."""
    import torch

    from studio.stitching.overlap_prefix import prefix_latents

    if not window.pinned:
        return None
    given = setting.inputs.given(setting.plan.given_frames)
    before = [] if given is None else [given]
    return prefix_latents(
        setting.plan.carry,
        window.pinned,
        rule=setting.family.preset.rule,
        latents=torch.cat([*before, *made], dim=2),
        tail=lambda count: np.stack(memory.tail[-count:]),
        encode=lambda frames: setting.family.encode_frames(setting.models, frames),
    )


def _memory_after(setting: Setting, count: int) -> Memory:
    """The memory after `count` published windows."""
    store = setting.store
    continued = setting.inputs.continued
    if count:
        tail = tuple(store.tensors(count - 1)["tail"].numpy())
        last = count == len(setting.plan.windows)
        return Memory({} if last else store.decoder(count - 1), tail, setting.reporter.forwards)
    if continued is None:
        return Memory({}, (), setting.reporter.forwards)
    state = setting.warm_decoder(continued.latents)
    return Memory(state, tuple(continued.tail), setting.reporter.forwards)
