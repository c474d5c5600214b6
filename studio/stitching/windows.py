"""Which latent frames, video frames and prompts each pass of the model covers: the Plan.

Integers only, no torch: the page draws a plan before anything is loaded.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from studio.core.errors import RequestError
from studio.core.plan import Plan, Window
from studio.core.preset import Preset
from studio.core.request import Request
from studio.sampling.skipping import computed_steps
from studio.stitching.layout import PrefixRule, prefix_windows, windows_at
from studio.stitching.published import published_plan
from studio.stitching.retake import retake_window
from studio.stitching.timeline import Stretch, Timeline, decide_fps, make_timeline

__all__ = [
    "dominant_prompt",
    "make_plan",
    "prompt_shares",
    "published_plan",
    "retake_window",
    "step_windows",
    "window_seed",
]

MODE_WORDS = {
    "t2v": "text to video",
    "i2v": "image to video",
    "flf2v": "first and last frame to video",
    "avatar": "a speaking portrait",
}


def window_seed(seed: int, index: int) -> int:
    """The seed of window `index` of a run: `seed` itself for window 0, 63 other bits after."""
    if index == 0:
        return seed
    digest = hashlib.sha256(f"{seed}:{index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def make_plan(request: Request, preset: Preset, *, audio_seconds: float | None = None) -> Plan:
    """Decide everything about a request that integers can decide; nothing is loaded.

    `audio_seconds` is the length of an avatar's sound: it sets the length when the request does
    not.

    Raises:
        RequestError: for what the preset cannot do; one sentence with rule, value and remedy.
    """
    if request.mode not in preset.modes:
        can = ", ".join(MODE_WORDS[mode] for mode in preset.modes)
        raise RequestError(
            f"{preset.id} does not make {MODE_WORDS[request.mode]} (it makes: {can}); "
            "choose another preset"
        )
    width, height = _size(request, preset)
    _check_sound(request, preset)
    steps = request.num_inference_steps or preset.defaults.num_inference_steps
    if steps > preset.limits.max_steps:
        raise RequestError(
            f"{preset.id} takes at most {preset.limits.max_steps} steps (got {steps}); "
            f"lower the steps to {preset.limits.max_steps}"
        )
    overlap, shift = _overlap_and_shift(request, preset)
    timeline = make_timeline(request, preset, overlap, audio_seconds)
    method, method_notices = _method(request, preset, timeline)
    guidance = request.guidance_scale
    guidance = preset.defaults.guidance_scale if guidance is None else guidance
    carry = preset.long.carry if request.carry == "auto" else request.carry
    plan = Plan(
        preset=preset.id,
        mode=request.mode,
        width=width,
        height=height,
        fps=decide_fps(request, preset),
        frames=timeline.frames,
        latent_frames=timeline.latent_frames,
        method=method,
        windows=(),
        window_frames=preset.long.window_frames,
        overlap_frames=overlap,
        shift_frames=shift,
        carry="latent" if carry == "auto" else carry,
        ends=request.ends,
        num_inference_steps=steps,
        guidance_scale=guidance,
        branches=_branches(request, preset, guidance),
        forwards=0,
        negative_prompt=request.negative_prompt or preset.defaults.negative_prompt,
        cache=request.cache,
        notices=timeline.notices + method_notices + _fps_notices(request, preset),
        prompts=timeline.spans,
        given_frames=timeline.stretches[0].given,
    )
    return _with_windows(plan, preset, timeline, request.seed)


def _check_sound(request: Request, preset: Preset) -> None:
    """Raises RequestError for a frame rate or a number of speakers that the model does not know."""
    rates, fps = preset.limits.fps, decide_fps(request, preset)
    if rates and fps not in rates:
        known = " or ".join(f"{rate:g}" for rate in rates)
        raise RequestError(f"{preset.id} makes {known} fps (got {fps:g}); choose one of them")
    speakers = len(getattr(request, "audio", ()))
    if speakers > preset.limits.max_speakers:
        raise RequestError(
            f"{preset.id} knows at most {preset.limits.max_speakers} speaker(s) with a sound each "
            f"(got {speakers} sounds); drop some, or mix them into one file"
        )


def _size(request: Request, preset: Preset) -> tuple[int, int]:
    """(width, height) of the clip in pixels."""
    sizes = preset.limits.sizes
    if request.width is None and request.height is None:
        return sizes[0]
    width = request.width or _other_side(request.height, 1, sizes)
    height = request.height or _other_side(request.width, 0, sizes)
    if (width, height) in sizes:
        return width, height
    native = ", ".join(f"{w}x{h}" for w, h in sizes)
    if not preset.limits.any_size:
        raise RequestError(
            f"{preset.id} makes {native} (got {width or 'any'}x{height or 'any'}); "
            "choose one of these sizes"
        )
    step = preset.limits.size_multiple
    if not width or not height or width % step or height % step:
        raise RequestError(
            f"width and height are multiples of {step} (got {width or 'none'}x{height or 'none'}); "
            f"try {_near(width, step, sizes[0][0])}x{_near(height, step, sizes[0][1])}"
        )
    return width, height


def _other_side(side: int | None, axis: int, sizes: tuple[tuple[int, int], ...]) -> int:
    """The side that goes with `side` in the native sizes; 0 if none does."""
    return next((size[1 - axis] for size in sizes if size[axis] == side), 0)


def _near(side: int, step: int, default: int) -> int:
    return max(step, round(side / step) * step) if side else default


def _overlap_and_shift(request: Request, preset: Preset) -> tuple[int, int]:
    size = preset.long.window_frames
    overlap = request.overlap_frames or preset.long.overlap_frames
    shift = request.shift_frames or preset.long.shift_frames
    if request.overlap_frames and overlap >= size:
        raise RequestError(
            f"the overlap is less than the window of {size} latent frames (got {overlap}); "
            f"try {preset.long.overlap_frames}"
        )
    if request.shift_frames and shift >= size:
        raise RequestError(
            f"the shift is less than the window of {size} latent frames (got {shift}); "
            f"try {preset.long.shift_frames}"
        )
    return overlap, shift


def _method(request: Request, preset: Preset, timeline: Timeline) -> tuple[str, tuple[str, ...]]:
    """The method and what to say about it."""
    allowed = preset.long.methods
    why = f": {preset.long.reason.rstrip('.')}" if preset.long.reason else ""
    if request.ends == "ring":
        _check_ring(request, preset, timeline)
        return "position-shift", ()
    latents, size = timeline.latent_frames, preset.long.window_frames
    if latents <= size and len(timeline.spans) == 1:
        if request.method == "auto":
            return "single", ()
        return "single", (f"The clip fits one window, so {request.method} changes nothing.",)
    if not allowed:
        longest = preset.rule.pixel_frames(size)
        fps = decide_fps(request, preset)
        what = f"{len(request.shots)} shots" if latents <= size else f"{timeline.frames} frames"
        raise RequestError(
            f"{preset.id} makes one shot of at most {longest} frames ({longest / fps:.3g} s){why} "
            f"(got {what}); shorten the clip or choose a preset with a long-video method"
        )
    if request.method == "auto":
        return allowed[0], ()
    if request.method not in allowed:
        raise RequestError(
            f"{preset.id} does not offer {request.method}{why}; choose {' or '.join(allowed)}"
        )
    return request.method, ()


def _check_ring(request: Request, preset: Preset, timeline: Timeline) -> None:
    if "position-shift" not in preset.long.methods or request.method == "overlap-prefix":
        raise RequestError(
            f"a loop (ends: ring) needs position-shift (got {request.method} with {preset.id}); "
            "choose position-shift, or ends: clamped"
        )
    if request.mode == "flf2v" or timeline.stretches[0].given:
        raise RequestError(
            "a loop (ends: ring) has no first and last frame of its own (got a request that gives "
            "them); choose ends: clamped"
        )
    if len(timeline.stretches) > 1:
        raise RequestError(
            "a loop (ends: ring) has no cuts (got a shot with join: cut); use join: continue, or "
            "ends: clamped"
        )


def _branches(request: Request, preset: Preset, guidance: float) -> int:
    """Forwards of one window and step: conditional, unconditional, and text without sound."""
    if preset.guidance == "embedded" or guidance <= 1:
        return 1
    audio = getattr(request, "audio_guidance_scale", None)
    if request.mode == "avatar" and audio is None:
        audio = preset.defaults.audio_guidance_scale
    return 3 if request.mode == "avatar" and audio not in (None, guidance) else 2


def _fps_notices(request: Request, preset: Preset) -> tuple[str, ...]:
    native = preset.defaults.fps
    if request.fps is None or request.fps == native:
        return ()
    return (
        f"{preset.id} moves at {native:g} fps; at {request.fps:g} fps everything is "
        f"{request.fps / native:.3g} times as fast.",
    )


def _with_windows(plan: Plan, preset: Preset, timeline: Timeline, seed: int) -> Plan:
    computed = computed_steps(plan.cache, plan.num_inference_steps)
    steps = [step for step, called in enumerate(computed) if called]
    if plan.method == "position-shift":
        plan = replace(plan, windows=_shift_windows(plan, preset, timeline, seed))
        passes = sum(len(step_windows(plan, step)) for step in steps)
    else:
        plan = replace(plan, windows=_prefix_windows(plan, preset, timeline, seed))
        passes = len(plan.windows) * len(steps)
    if timeline.surplus:
        *front, last = plan.windows
        last = replace(last, frames=last.frames - timeline.surplus)
        plan = replace(plan, windows=(*front, last))
    return replace(plan, forwards=passes * plan.branches)


def _prefix_windows(
    plan: Plan, preset: Preset, timeline: Timeline, seed: int
) -> tuple[Window, ...]:
    """Overlap-prefix windows of every shot; a single window is the case of one."""
    windows: list[Window] = []
    last = timeline.spans[-1]
    for stretch in timeline.stretches:
        for span in stretch.spans:
            begin = max(span.start, stretch.start + stretch.given)
            exact = plan.mode == "flf2v" and span is last
            rule = PrefixRule(
                plan.window_frames, plan.overlap_frames, preset.long.full_windows, exact
            )
            for laid in prefix_windows(begin, span.stop, begin - stretch.start, rule):
                index = len(windows)
                first, stop = (stretch.frame_at(x, preset.rule) for x in laid.new)
                ends = exact and laid.new[1] == timeline.latent_frames
                windows.append(
                    Window(
                        index=index,
                        start=laid.start,
                        stop=laid.stop,
                        pinned=laid.pinned,
                        first_frame=first,
                        frames=stop - first,
                        prompt=span.prompt,
                        seed=window_seed(seed, index),
                        cut=laid.pinned == 0,
                        discard=laid.discard,
                        pinned_end=1 if ends else 0,
                    )
                )
    return tuple(windows)


def _shift_windows(plan: Plan, preset: Preset, timeline: Timeline, seed: int) -> tuple[Window, ...]:
    """Position-shift windows as they lie at step 0; the noise is one full-length draw of `seed`."""
    cuts = tuple(stretch.start for stretch in timeline.stretches[1:])
    windows: list[Window] = []
    done = timeline.stretches[0].given
    for index, ids in enumerate(_laid(plan, 0, cuts)):
        stretch = _stretch_of(timeline, ids[0])
        new_stop = max(done, min(ids[0] + len(ids), timeline.latent_frames))
        first, stop = (stretch.frame_at(x, preset.rule) for x in (done, new_stop))
        windows.append(
            Window(
                index=index,
                start=ids[0],
                stop=ids[0] + len(ids),
                pinned=0,
                first_frame=first,
                frames=stop - first,
                prompt=dominant_prompt(plan, ids),
                seed=seed,
                cut=ids[0] == stretch.start and not stretch.given,
                pinned_end=1 if plan.mode == "flf2v" and new_stop == plan.latent_frames else 0,
            )
        )
        done = new_stop
    return tuple(windows)


def _stretch_of(timeline: Timeline, latent: int) -> Stretch:
    return next(s for s in timeline.stretches if s.start <= latent < s.stop)


def _laid(plan: Plan, step: int, cuts: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    return windows_at(
        step,
        window_frames=plan.window_frames,
        shift_frames=plan.shift_frames,
        ends=plan.ends,
        total_frames=plan.latent_frames,
        cuts=cuts,
    )


def step_windows(plan: Plan, step: int) -> tuple[tuple[int, ...], ...]:
    """The windows of a position-shift plan at `step`: latent-frame indices."""
    return _laid(plan, step, plan.cuts)


def prompt_shares(plan: Plan, frames: tuple[int, ...]) -> dict[str, float]:
    """How much of the latent frames `frames` each prompt rules; shares add up to 1."""
    shares: dict[str, float] = {}
    for span in plan.prompts:
        count = sum(span.start <= frame < span.stop for frame in frames)
        if count:
            shares[span.prompt] = shares.get(span.prompt, 0.0) + count / len(frames)
    return shares


def dominant_prompt(plan: Plan, frames: tuple[int, ...]) -> str:
    """The prompt that rules most of `frames`; of two, the earlier."""
    shares = prompt_shares(plan, frames)
    return max(shares, key=lambda prompt: shares[prompt])
