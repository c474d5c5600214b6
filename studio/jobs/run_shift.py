"""Position shift: the whole clip is denoised in lockstep, saved every few steps, then decoded."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from studio.core.plan import Window
from studio.jobs.segments import Segment, Tensors, load_tensors, save_tensors
from studio.jobs.setting import Memory, Setting, with_cache

if TYPE_CHECKING:
    import torch

    from studio.jobs.reporter import Reporter
    from studio.models.family import PromptEmbeds
    from studio.sampling.loop import OnStep
    from studio.sampling.stepper import Step, Stepper

WARM_LATENTS = 3
SAVE_EVERY_S = 4.0
"""The state is saved this often at most, and saving takes at most a twentieth of the time."""


def run_shift(setting: Setting) -> None:
    """Denoise the clip, then decode and publish it window by window."""
    plan, store = setting.plan, setting.store
    latents = _sample(setting)
    published = store.published(len(plan.windows))
    for segment in published:
        setting.reporter.skip(0, segment.frames)
        setting.announce(segment)
    memory = Memory(_decoder_after(setting, published, latents), (), setting.reporter.forwards)
    at = plan.given_frames
    for window in plan.windows:
        start, at = at, max(at, min(window.stop, plan.latent_frames))
        if window.index < len(published):
            continue
        if window.cut and window.index:
            memory = replace(memory, decoder={})
        memory = setting.publish(window, latents[:, :, start:at].contiguous(), memory)


def _decoder_after(setting: Setting, published: list[Segment], latents: torch.Tensor) -> Tensors:
    """The decoder's memory before the first window that is not published."""
    if len(published) == len(setting.plan.windows):
        return {}
    if published:
        return setting.store.decoder(published[-1].index)
    if setting.inputs.continued is not None:
        return setting.warm_decoder(setting.inputs.continued.latents)
    if setting.plan.ends == "ring":
        # The clip's first frames follow its last ones.
        return setting.warm_decoder(latents[:, :, -WARM_LATENTS:])
    return {}


def _sample(setting: Setting) -> torch.Tensor:
    """Latents [1, C, T, h, w] of the whole clip."""
    from studio.sampling.loop import sample
    from studio.sampling.state import LatentState
    from studio.sampling.stepper import Stepper
    from studio.stitching.position_shift import fuse

    plan, family, reporter = setting.plan, setting.family, setting.reporter
    count = plan.latent_frames
    reporter.stage("encoding")
    whole = _whole(setting)
    with reporter.timed("encoding"):
        prefix = setting.inputs.given(plan.given_frames)
        given = setting.given_for(whole, prefix)
        pins = family.pins(setting.models, plan, given)
    noise, generator = setting.draws(given, pins, whole.seed)
    state = LatentState(noise, pins.clean, pins.mask)
    stepper = Stepper(*family.scheduler(plan, count), generator)
    saved = SavedRun(setting.store.folder / "steps.safetensors", setting.store.key)
    resumed = saved.load()
    start = resumed.index if resumed is not None else 0
    if resumed is not None:
        state = replace(state, latent=resumed.x)
        reporter.skip(resumed.forwards, 0)
    if start < len(stepper):
        conditions = setting.conditions(pins, 0, _chooser(setting))
        with ExitStack() as held:
            window = setting.open_denoiser(held, conditions)
            fused = fuse(
                window,
                window_frames=plan.window_frames,
                shift_frames=plan.shift_frames,
                ends=plan.ends,
                total_frames=count,
                cuts=plan.cuts,
            )
            fused = with_cache(fused, plan, stepper)
            if resumed is not None:
                stepper.restore(resumed.stepper)
            reporter.stage("sampling")
            with reporter.timed("sampling"):
                state = sample(
                    fused,
                    state,
                    stepper,
                    frames=range(count),
                    renoise=noise if family.pin_renoise and state.has_pins else None,
                    start=start,
                    on_step=setting.on_step(saved.on_step(stepper, reporter)),
                )
    return state.with_pins() if state.has_pins else state.latent


def _whole(setting: Setting) -> Window:
    """The clip as one window."""
    plan = setting.plan
    last = plan.windows[-1]
    return replace(plan.windows[0], start=0, stop=plan.latent_frames, pinned_end=last.pinned_end)


def _chooser(setting: Setting) -> Prompts:
    from studio.stitching.windows import dominant_prompt

    return lambda frames: setting.prompts[dominant_prompt(setting.plan, tuple(frames))]


if TYPE_CHECKING:
    from collections.abc import Callable

    Prompts = Callable[[Sequence[int]], PromptEmbeds]


@dataclass(frozen=True)
class SavedSteps:
    """A run after some of its steps."""

    index: int
    """The next step."""
    x: torch.Tensor
    forwards: int
    """Evaluations that were made for it."""
    stepper: Tensors


class SavedRun:
    """The state of a run in a file, replaced whole every few seconds."""

    def __init__(self, path: Path, key: str) -> None:
        self._path = path
        self._key = key
        self._saved_at = time.monotonic()
        self._cost = 0.0

    def on_step(self, stepper: Stepper, reporter: Reporter) -> OnStep:
        """Saves after a step when it is time, and after the last."""

        def save(step: Step, x: torch.Tensor, clean: torch.Tensor) -> None:
            del clean
            begun = time.monotonic()
            last = step.index + 1 == step.count
            if not last and begun - self._saved_at < max(SAVE_EVERY_S, 20 * self._cost):
                return
            state = stepper.state()
            self.save(SavedSteps(step.index + 1, x, reporter.forwards, state))
            self._saved_at = time.monotonic()
            self._cost = self._saved_at - begun

        return save

    def save(self, steps: SavedSteps) -> None:
        """Keep everything that the next step and those after it need."""
        import torch

        own = {
            "index": torch.tensor(steps.index),
            "forwards": torch.tensor(steps.forwards),
            "key": torch.tensor(list(self._key.encode()), dtype=torch.uint8),
            "x": steps.x,
        }
        save_tensors(self._path, {**own, **{f"stepper.{k}": v for k, v in steps.stepper.items()}})

    def load(self) -> SavedSteps | None:
        """What was saved of this run, or None."""
        from safetensors import SafetensorError

        try:
            state = load_tensors(self._path)
            key = bytes(state.pop("key").tolist()).decode()
            index, forwards = int(state.pop("index")), int(state.pop("forwards"))
            x = state.pop("x")
        except (OSError, SafetensorError, KeyError, UnicodeDecodeError):
            return None
        if key != self._key:
            return None
        stepper = {name.removeprefix("stepper."): value for name, value in state.items()}
        return SavedSteps(index, x, forwards, stepper)
