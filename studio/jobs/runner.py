"""One job from request to clip: plan, encode, make the windows, publish.

Everything is resumed from the job's folder: published windows are never computed again, and the
result is equal bit for bit to that of an unbroken run.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from studio.core.events import Done
from studio.core.plan import Plan
from studio.core.preset import find_preset
from studio.core.request import Fit, Request, dump_request
from studio.jobs.context import RunContext
from studio.jobs.finish import finish
from studio.jobs.reporter import Reporter
from studio.jobs.run_shift import run_shift
from studio.jobs.run_windows import run_windows
from studio.jobs.segments import SegmentStore
from studio.jobs.setting import Inputs, Setting
from studio.media.publish import write_bytes

if TYPE_CHECKING:
    from studio.models.family import Family, Frames

__all__ = ["RunContext", "run"]


def run(request: Request, ctx: RunContext) -> Done:
    """Make the clip of `request`.

    Raises:
        Cancelled: if `ctx.should_stop()` said so; the windows are kept.
        StudioError: for what can be explained: a request that does not fit, weights that are not
            there, a full disk, numbers that are none.
    """
    from studio.models.family import family_for
    from studio.stitching.windows import make_plan

    preset = find_preset(ctx.presets, request.preset)
    plan = make_plan(request, preset, audio_seconds=_audio_seconds(request))
    reporter = Reporter(plan, ctx.work_dir, ctx.emit, ctx.should_stop)
    reporter.stage("loading")
    for notice in plan.notices:
        reporter.notice(notice)
    with reporter.timed("loading"):
        family = family_for(preset)
        key = run_key(request, plan, family)
        store = SegmentStore(ctx.work_dir, key)
        inputs = read_inputs(request, plan, reporter)
    reporter.stage("encoding")
    texts = list(dict.fromkeys(w.prompt for w in plan.windows) | _span_texts(plan))
    with reporter.timed("encoding"):
        embeds = family.encode_prompts(ctx.models, texts, plan.negative_prompt, plan.guidance_scale)
    setting = Setting(
        request=request,
        plan=plan,
        family=family,
        models=ctx.models,
        reporter=reporter,
        store=store,
        inputs=inputs,
        prompts=dict(zip(texts, embeds, strict=True)),
    )
    if plan.method == "position-shift":
        run_shift(setting)
    else:
        run_windows(setting)
    return finish(setting, ctx, _clip_id(ctx.work_dir))


def run_key(request: Request, plan: Plan, family: Family) -> str:
    """Changes when anything that decides the result changes."""
    parts = sorted(spec.key for spec in family.components().values())
    plain = dump_request(request)
    text = json.dumps([plain, asdict(plan), parts], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def read_inputs(request: Request, plan: Plan, reporter: Reporter) -> Inputs:
    """The request's pictures and sounds, fitted to the plan.

    Raises:
        MediaError: if one cannot be read.
    """
    from studio.media.images import fit_image, open_image

    def read(name: str) -> Frames | None:
        path = getattr(request, name, None)
        if path is None:
            return None
        picture = open_image(path)
        for notice in picture.notices:
            reporter.notice(notice)
        fit: Fit = getattr(request, "fit", "crop")
        return fit_image(picture.pixels, plan.width, plan.height, fit)

    audio = tuple(Path(name) for name in getattr(request, "audio", ()))
    return Inputs(image=read("image"), last_image=read("last_image"), audio=audio)


def _audio_seconds(request: Request) -> float | None:
    """Length of the longest track; None without sound."""
    names = getattr(request, "audio", ())
    if not names:
        return None
    from studio.media.audio import load_sound

    return max(load_sound(name).seconds for name in names)


def _span_texts(plan: Plan) -> dict[str, None]:
    return dict.fromkeys(span.prompt for span in plan.prompts)


def _clip_id(work_dir: Path) -> str:
    """The id the clip gets, the same however often the job is resumed."""
    from studio.library.clip import new_clip_id

    path = work_dir / "clip_id"
    if not path.is_file():
        write_bytes(path, new_clip_id().encode())
    return path.read_text(encoding="utf-8").strip()
