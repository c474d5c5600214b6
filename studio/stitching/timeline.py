"""Lengths and shots: from seconds to latent frames and prompts, before any window is laid.

Latent frames are counted through the whole clip; a cut starts a stretch with a VAE stream of its
own, whose first latent frame stands for the rule's `first` video frames again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from studio.core.errors import RequestError
from studio.core.geometry import FrameRule
from studio.core.plan import PromptSpan
from studio.core.preset import Preset
from studio.core.request import Request


@dataclass(frozen=True)
class Stretch:
    """Latent frames [start, stop) between two cuts, decoded as one stream.

    The first `given` of them belong to the clip that is continued and make no new video frames.
    On a ring the first latent frame follows the last one, so it counts in full.
    """

    start: int
    stop: int
    given: int
    first_frame: int
    spans: tuple[PromptSpan, ...]
    ring: bool = False

    def frame_at(self, latent: int, rule: FrameRule) -> int:
        """The first video frame of latent frame `latent` (absolute) in the finished clip."""
        local = latent - self.start
        if self.given or self.ring:
            return self.first_frame + max(0, local - self.given) * rule.stride
        return self.first_frame + rule.pixel_frames(local)


@dataclass(frozen=True)
class Timeline:
    """The whole clip: stretches, video frames, and what was rounded."""

    stretches: tuple[Stretch, ...]
    frames: int
    notices: tuple[str, ...]
    surplus: int = 0
    """Video frames that the last latent frame makes beyond the end of the sound; cut off."""

    @property
    def latent_frames(self) -> int:
        """Latent frames of the clip, given ones included."""
        return self.stretches[-1].stop

    @property
    def spans(self) -> tuple[PromptSpan, ...]:
        """All prompt spans in order."""
        return tuple(span for stretch in self.stretches for span in stretch.spans)


def decide_fps(request: Request, preset: Preset) -> float:
    """Frames a second of the clip."""
    return request.fps if request.fps is not None else preset.defaults.fps


def make_timeline(
    request: Request, preset: Preset, overlap_frames: int, audio_seconds: float | None
) -> Timeline:
    """Shots and their lengths in latent frames.

    Raises:
        RequestError: for a clip that is longer than the preset allows.
    """
    fps = decide_fps(request, preset)
    given = overlap_frames if getattr(request, "continue_from", None) else 0
    if request.shots:
        timeline = _from_shots(request, preset, fps, given)
    else:
        timeline = _from_length(request, preset, given, audio_seconds)
    seconds = timeline.frames / fps
    limit = preset.limits.max_seconds
    if seconds > limit + preset.rule.stride / fps:
        raise RequestError(
            f"{preset.id} makes at most {limit:g} s (got {seconds:g} s); "
            f"ask for {limit:g} s or less"
        )
    return timeline


def _new_rule(preset: Preset, in_full: bool) -> FrameRule:
    """The rule for the frames of one stretch: after given frames every latent counts in full."""
    rule = preset.rule
    return FrameRule(rule.stride, rule.stride) if in_full else rule


def _from_length(
    request: Request, preset: Preset, given: int, audio_seconds: float | None
) -> Timeline:
    fps = decide_fps(request, preset)
    ring = request.ends == "ring"
    rule = _new_rule(preset, given > 0 or ring)
    surplus = 0
    if request.frames is not None:
        wanted, asked = float(request.frames), f"{request.frames} frames"
        frames = rule.nearest(wanted)
    elif request.seconds is None and audio_seconds is not None:
        wanted, asked = audio_seconds * fps, f"{audio_seconds:.3g} s of sound at {fps:g} fps"
        heard = max(1, math.ceil(wanted - 1e-6))
        frames = rule.at_least(heard)
        surplus = 0 if ring else frames - heard
    else:
        seconds = request.seconds if request.seconds is not None else preset.defaults.seconds
        wanted, asked = seconds * fps, f"{seconds:g} s at {fps:g} fps"
        frames = rule.nearest(wanted)
    if ring and preset.long.full_windows:
        frames = max(frames, preset.long.window_frames * rule.stride)
    latents = given + rule.latent_frames(frames)
    exact = frames == wanted or (surplus > 0 and frames - surplus - wanted < 1)
    makes = f"{preset.id} makes {rule}"
    notices = () if exact else (_rounded(asked, makes, frames, fps),)
    span = PromptSpan(0, latents, request.prompt)
    stretch = Stretch(0, latents, given, 0, (span,), ring)
    return Timeline((stretch,), frames - surplus, notices, surplus)


def _rounded(asked: str, makes: str, frames: int, fps: float) -> str:
    return f"{asked}: {makes} frames, so the clip has {frames} ({frames / fps:.4g} s)."


def _from_shots(request: Request, preset: Preset, fps: float, given: int) -> Timeline:
    """Shots that continue share a stretch and end on latent frames; a cut begins a stretch."""
    groups: list[list[int]] = []
    for index, shot in enumerate(request.shots):
        if index == 0 or shot.join == "cut":
            groups.append([])
        groups[-1].append(index)
    stretches: list[Stretch] = []
    start, first_frame = 0, 0
    ring = request.ends == "ring"
    for group in groups:
        kept = given if not stretches else 0
        rule = _new_rule(preset, kept > 0 or ring)
        spans: list[PromptSpan] = []
        at, seconds = start, 0.0
        for index in group:
            shot = request.shots[index]
            seconds += shot.seconds
            local = kept + rule.latent_frames(rule.nearest(seconds * fps))
            stop = max(at + 1, start + local)
            spans.append(PromptSpan(at, stop, shot.prompt))
            at = stop
        stretches.append(Stretch(start, at, kept, first_frame, tuple(spans), ring))
        first_frame = stretches[-1].frame_at(at, preset.rule)
        start = at
    wanted = sum(shot.seconds for shot in request.shots) * fps
    asked = f"{len(request.shots)} shots of {wanted / fps:g} s at {fps:g} fps"
    makes = f"{preset.id} makes {preset.rule}"
    notices = () if wanted == first_frame else (_rounded(asked, makes, first_frame, fps),)
    return Timeline(tuple(stretches), first_frame, notices)
