"""What a run says while it works: stage, share, time left, previews; and when it must stop."""

from __future__ import annotations

import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from studio.core.errors import Cancelled
from studio.core.events import Event, Notice, Preview, Progress, Stage
from studio.core.plan import Plan

if TYPE_CHECKING:
    from studio.models.family import Frames

PREVIEW_S = 1.5
"""Previews come at most this often,"""
PREVIEW_COST = 10.0
"""and at most one in so many times what the last one took."""
SAMPLING_SHARE = 0.9


class Reporter:
    """Turns work units into events. One a run."""

    def __init__(
        self,
        plan: Plan,
        work_dir: Path,
        emit: Callable[[Event], None],
        should_stop: Callable[[], bool],
    ) -> None:
        self.plan = plan
        self._spent: defaultdict[str, float] = defaultdict(float)
        self._open: dict[str, float] = {}
        self.forwards = 0
        self._work_dir = work_dir
        self._emit = emit
        self._should_stop = should_stop
        self._begun = time.monotonic()
        self._forwards_before = 0
        self._frames_before = 0
        self._frames = 0
        self._preview_at = self._begun
        self._preview_cost = 0.0
        self.window = 0
        self._step = 0

    def skip(self, forwards: int, frames: int) -> None:
        """Work that an earlier attempt did already."""
        self._forwards_before += forwards
        self.forwards += forwards
        self._frames_before += frames
        self._frames += frames

    def check(self) -> None:
        """Raise Cancelled if the run was asked to end."""
        if self._should_stop():
            raise Cancelled("the job was stopped; its finished windows are kept")

    def event(self, event: Event) -> None:
        """Pass an event on."""
        self._emit(event)

    def notice(self, message: str) -> None:
        """Tell the user something."""
        self._emit(Notice(message))

    def stage(self, stage: Stage, window: int = 0, message: str = "") -> None:
        """A new stage begins."""
        self.check()
        self.window, self._step = window, 0
        self._progress(stage, message)

    def count(self, forwards: int) -> None:
        """Window-sized evaluations of the transformer were made; kept over a kill, too."""
        self.forwards += forwards
        with (self._work_dir / "forwards").open("ab") as file:
            file.write(b"." * forwards)

    @property
    def spent(self) -> int:
        """Evaluations of all attempts, lost ones included."""
        path = self._work_dir / "forwards"
        return path.stat().st_size if path.is_file() else 0

    def step(self, index: int) -> None:
        """A denoising step is done."""
        self.check()
        self._step = index + 1
        self._progress("sampling", "")

    def decoded(self, frames: int) -> None:
        """Frames came out of the decoder."""
        self.check()
        self._frames += frames
        self._progress("decoding", "")

    def preview(self, make: Callable[[], Frames | None]) -> None:
        """Show what `make` gives, if it is time for a preview."""
        from studio.media.preview import write_preview

        now = time.monotonic()
        if now - self._preview_at < max(PREVIEW_S, PREVIEW_COST * self._preview_cost):
            return
        frames = make()
        if frames is not None:
            path = self._work_dir / "preview.webp"
            write_preview(path, frames)
            self._emit(Preview(str(path), self.window, self._step))
        self._preview_at = time.monotonic()
        self._preview_cost = self._preview_at - now

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Count the block's seconds as `name`."""
        begun = time.monotonic()
        self._open[name] = begun
        try:
            yield
        finally:
            del self._open[name]
            self._spent[name] += time.monotonic() - begun

    def summary(self) -> dict[str, float]:
        """Seconds by stage and in all."""
        total = time.monotonic() - self._begun
        timings = {f"{name}_s": spent for name, spent in self._spent.items()}
        return {k: round(v, 3) for k, v in {**timings, "total_s": total}.items()}

    def _progress(self, stage: Stage, message: str) -> None:
        plan = self.plan
        sampled = min(1.0, self.forwards / max(1, plan.forwards))
        decoded = min(1.0, self._frames / max(1, plan.frames))
        done = SAMPLING_SHARE * sampled + (1 - SAMPLING_SHARE) * decoded
        self._emit(
            Progress(
                stage=stage,
                window=self.window,
                windows=len(plan.windows),
                step=self._step,
                steps=plan.num_inference_steps,
                done=round(done, 4),
                eta_s=self._eta(),
                message=message,
            )
        )

    def _seconds(self, name: str) -> float:
        """Seconds spent on `name`, the block that is running included."""
        running = time.monotonic() - self._open[name] if name in self._open else 0.0
        return self._spent[name] + running

    def _eta(self) -> float | None:
        """Seconds left, from what this run's evaluations and frames took so far."""
        made = self.forwards - self._forwards_before
        if not made:
            return None
        left = max(0, self.plan.forwards - self.forwards) * self._seconds("sampling") / made
        frames = max(0, self.plan.frames - self._frames)
        shown = self._frames - self._frames_before
        if shown:
            left += frames * self._seconds("decoding") / shown
        return round(left, 1)


def peak_rss_bytes() -> int:
    """The most memory this process has had so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
