"""What one run works with, and the two things every method does: sample a stretch, decode it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from studio.core.errors import NumericError
from studio.core.events import SegmentDone
from studio.core.plan import Plan, Window
from studio.core.request import Request
from studio.jobs.context import Spread
from studio.jobs.guards import FrameGuard, check_estimate
from studio.jobs.inputs import Inputs
from studio.jobs.reporter import Reporter
from studio.jobs.segments import Segment, SegmentStore, Tensors

if TYPE_CHECKING:
    import torch

    from studio.models.family import Conditions, Family, Given, Pins, PromptEmbeds
    from studio.models.manager import ModelManager
    from studio.sampling.loop import Denoise, OnStep
    from studio.sampling.stepper import Step, Stepper


@dataclass(frozen=True)
class Setting:
    """Everything one run needs, opened."""

    request: Request
    plan: Plan
    family: Family
    models: ModelManager
    reporter: Reporter
    store: SegmentStore
    inputs: Inputs
    prompts: dict[str, PromptEmbeds]
    spread: Spread | None = None
    """Other devices that compute parts of the clip."""

    def given_for(self, window: Window, prefix: torch.Tensor | None) -> Given:
        """What is known before `window` is made."""
        from studio.models.family import Given

        begins = window.start == 0 and prefix is None
        ends = window.pinned_end > 0 and self.plan.mode == "flf2v"
        return Given(
            latent_frames=window.stop - window.start,
            image=self.inputs.image if begins else None,
            last_image=self.inputs.last_image if ends else None,
            references=self.inputs.pictures,
            prefix=prefix,
            audio=self.inputs.audio,
            faces=self.inputs.faces,
            audio_guidance_scale=getattr(self.request, "audio_guidance_scale", None),
            seed=window.seed,
        )

    def conditions(
        self, pins: Pins, first_frame: int, prompts: Callable[[Sequence[int]], PromptEmbeds]
    ) -> Conditions:
        """The conditions of a stretch that begins at latent frame `first_frame`."""
        from studio.models.family import Conditions

        return Conditions(self.plan, prompts, pins, first_frame, self.reporter.count)

    def noise(self, latent_frames: int, seed: int) -> torch.Tensor:
        """The stretch's noise, from its own seed and nothing else."""
        import torch

        shape = self.family.latent_shape(self.plan, latent_frames)
        return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed))

    def draws(self, given: Given, pins: Pins, seed: int) -> tuple[torch.Tensor, Any]:
        """What the stretch begins with, and the generator of later draws if there are any."""
        from studio.models.family import Drawer

        if isinstance(self.family, Drawer):
            return self.family.draws(self.plan, given, pins)
        return self.noise(given.latent_frames, seed), None

    def open_denoiser(self, held: ExitStack, conditions: Conditions) -> Denoise:
        """The family's denoiser, loaded, for as long as `held` is open."""
        self.reporter.stage("loading", self.reporter.window)
        with self.reporter.timed("loading"):
            if self.spread is not None:
                shared = self.spread.open_denoiser(self.family, self.models, conditions)
                return held.enter_context(shared)
            return held.enter_context(self.family.open_denoiser(self.models, conditions))

    def on_step(self, more: OnStep | None = None) -> OnStep:
        """Tells the reporter after every step and shows a preview; then does `more`."""

        def report(step: Step, x: torch.Tensor, clean: torch.Tensor) -> None:
            # Before anything is saved: what is broken is not to be resumed from.
            check_estimate(clean, step.index, self.reporter.window)
            if more is not None:
                more(step, x, clean)
            self.reporter.step(step.index)
            self.reporter.preview(lambda: self.family.preview(self.models, clean))

        return report

    def publish(self, window: Window, latents: torch.Tensor, before: Memory) -> Memory:
        """Decode the window's new latents, publish it, and give the memory to go on with."""
        from studio.media.mux import ClipWriter

        reporter, store, plan = self.reporter, self.store, self.plan
        check_numbers(latents, window.index)
        reporter.stage("decoding", window.index)
        forwards = reporter.forwards - before.forwards
        path, size = store.clip_path(window.index), (plan.width, plan.height)
        tail, keep = list(before.tail), self.tail_frames
        guard = FrameGuard(window.index)
        with (
            reporter.timed("decoding"),
            self.family.decoder(self.models) as decoder,
            ClipWriter(path, plan.fps, size) as writer,
        ):
            if before.decoder:
                decoder.restore(before.decoder)
            count = latents.shape[2] if getattr(decoder, "whole", False) else 1
            for piece in latents.split(count, dim=2):
                # A clip that ends with its sound may end inside a latent frame.
                room = window.frames - writer.frames
                frames = decoder.push(piece)[:room]
                guard.push(frames)
                writer.write(frames)
                reporter.decoded(len(frames))
                tail = [*tail, *frames][-keep:] if keep else []
            guard.close()
            state = decoder.snapshot()
        assert writer.frames == window.frames, f"{writer.frames} frames, not {window.frames}"
        with reporter.timed("publishing"):
            segment = store.publish(
                {"latents": latents, "tail": _stack(tail)},
                state,
                index=window.index,
                first_frame=window.first_frame,
                frames=window.frames,
                seed=window.seed,
                prompt=window.prompt,
                forwards=forwards,
            )
        self.announce(segment)
        return Memory(state, tuple(tail), reporter.forwards)

    def warm_decoder(self, latents: torch.Tensor) -> Tensors:
        """The decoder's memory after `latents` [1, C, t, h, w], whose frames nobody needs."""
        with self.family.decoder(self.models) as decoder:
            for index in range(latents.shape[2]):
                decoder.push(latents[:, :, index : index + 1])
                self.reporter.check()
            return decoder.snapshot()

    def announce(self, segment: Segment) -> None:
        """Say that a window is published."""
        self.reporter.event(
            SegmentDone(
                window=segment.index,
                path=str(self.store.clip_path(segment.index)),
                start_frame=segment.first_frame,
                frames=segment.frames,
                sha256=segment.clip_sha256,
            )
        )

    @property
    def tail_frames(self) -> int:
        """Video frames that are kept for encoding the next prefix from them."""
        from studio.stitching.overlap_prefix import tail_frames

        if self.plan.method != "overlap-prefix":
            return 0
        return tail_frames(self.plan.carry, self.plan.overlap_frames, self.family.preset.rule)


@dataclass(frozen=True)
class Memory:
    """What one window hands to the next besides its latents."""

    decoder: Tensors
    """The decoder's snapshot; empty at the start of a stream."""
    tail: tuple[np.ndarray[Any, Any], ...] = ()
    forwards: int = 0
    """Evaluations counted when the window began."""


def with_cache(denoise: Denoise, plan: Plan, stepper: Stepper) -> Denoise:
    """`denoise`, called only at the steps that the plan computes."""
    from studio.sampling.caching import StepCache

    return denoise if plan.cache == "none" else StepCache(denoise, plan.cache, stepper)


def check_numbers(latents: torch.Tensor, window: int) -> None:
    """Raises NumericError if the latents are not numbers."""
    import torch

    if not bool(torch.isfinite(latents).all()):
        raise NumericError(
            f"window {window} came out as not-a-number; use fewer steps apart, a lower guidance, "
            "or float32 in the preset's options"
        )


def _stack(frames: Sequence[np.ndarray[Any, Any]]) -> torch.Tensor:
    import torch

    if not frames:
        return torch.zeros((0, 0, 0, 3), dtype=torch.uint8)
    return torch.from_numpy(np.stack(frames))
