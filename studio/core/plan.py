"""What will be computed, in integers, before anything is loaded.

All ranges are half-open. Latent frames count from the start of the clip.
"""

from __future__ import annotations

from dataclasses import dataclass

from studio.core.request import Cache, Carry, Ends, Mode


@dataclass(frozen=True)
class Window:
    """One pass of the model over latent frames [start, stop), `pinned` of which are given.

    Overlap-prefix: frames [start, start + pinned) come from the window before; the window adds
    latent frames [start + pinned, stop - discard) and video frames [first_frame, first_frame +
    frames). Position-shift: the windows as they lie at step 0 (later steps move them); nothing is
    pinned, `frames` counts what no window before covers, and on a ring `stop` may pass the end.
    """

    index: int
    start: int
    stop: int
    pinned: int
    first_frame: int
    frames: int
    prompt: str
    seed: int
    cut: bool = False
    """True when this window starts afresh (first window, or a shot that is cut to)."""
    discard: int = 0
    """Latent frames at the window's end that are computed for context and thrown away."""
    pinned_end: int = 0
    """Latent frames at the window's end that are given: the last image (kept), or what follows a
    window that is made anew (then `discard` too, since the clip has them already)."""


@dataclass(frozen=True)
class PromptSpan:
    """Latent frames [start, stop) that show `prompt`."""

    start: int
    stop: int
    prompt: str


@dataclass(frozen=True)
class Estimate:
    """What the run needs. `None` means: not known on this machine yet."""

    device_bytes: int
    host_bytes: int
    disk_bytes: int
    seconds: float | None
    fits: bool
    advice: str = ""
    """When it does not fit: the nearest change that does, as a sentence."""


@dataclass(frozen=True)
class Plan:
    """A request, decided."""

    preset: str
    mode: Mode
    width: int
    height: int
    fps: float
    frames: int
    latent_frames: int
    method: str
    """"single", "overlap-prefix" or "position-shift"."""
    windows: tuple[Window, ...]
    window_frames: int
    overlap_frames: int
    shift_frames: int
    carry: Carry
    ends: Ends
    num_inference_steps: int
    guidance_scale: float
    branches: int
    """Forwards a window and step costs: 2 with guidance, 1 without."""
    forwards: int
    """Window-sized transformer evaluations of the whole run."""
    prompts: tuple[PromptSpan, ...] = ()
    """Which prompt rules which latent frames: no gaps, no overlaps."""
    given_frames: int = 0
    """Latent frames [0, given_frames) that come from the clip being continued; not in `frames`.
    The decoder is warmed with them (on a ring: with the clip's end), so that the first new latent
    frame stands for the rule's `stride` video frames like every other."""
    negative_prompt: str = ""
    cache: Cache = "none"
    """Which steps are computed: see sampling/skipping.py; `forwards` counts only those."""
    notices: tuple[str, ...] = ()
    """What was rounded, padded or locked, each a sentence."""
    estimate: Estimate | None = None

    @property
    def cuts(self) -> tuple[int, ...]:
        """Latent frames at which a shot starts afresh: there the decoder starts anew too."""
        return tuple(w.start for w in self.windows if w.cut and w.index > 0)

    @property
    def seconds(self) -> float:
        """Length of the clip."""
        return self.frames / self.fps
