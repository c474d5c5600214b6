"""One job from request to clip: plan, encode, make the windows, publish.

Everything is resumed from the job's folder: published windows are never computed again, and the
result is equal bit for bit to that of an unbroken run.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.core.errors import EstimateError, MemoryBudgetError
from studio.core.events import Done, Notice
from studio.core.plan import Plan
from studio.core.preset import find_preset
from studio.core.request import Offload, Request, Retake, dump_request
from studio.jobs.context import RunContext
from studio.jobs.finish import finish
from studio.jobs.guards import attention
from studio.jobs.inputs import audio_seconds, continue_clip, find_clip, read_inputs
from studio.jobs.ladder import Rung, below, rungs
from studio.jobs.parts import find_parts
from studio.jobs.reporter import Reporter
from studio.jobs.run_frames import check_frames_run, run_frames
from studio.jobs.run_retake import check_same, retake_plan, run_retake
from studio.jobs.run_shift import run_shift
from studio.jobs.run_windows import run_windows
from studio.jobs.segments import SegmentStore
from studio.jobs.setting import Setting
from studio.media.publish import write_bytes

if TYPE_CHECKING:
    from studio.models.family import Family, PromptEmbeds

__all__ = ["RunContext", "run"]

FRUGAL = ("model", "block", "disk")
"""Offload modes in which a part leaves memory as soon as it is not in use."""


def run(request: Request, ctx: RunContext) -> Done:
    """Make the clip of `request`; when memory runs out, again one rung lower (see ladder).

    Raises:
        Cancelled: if `ctx.should_stop()` said so; the windows are kept.
        StudioError: for what can be explained: a request that does not fit, weights that are not
            there, a full disk, numbers that are none.
    """
    preset = find_preset(ctx.presets, request.preset)
    left = rungs(request, preset)
    if ctx.models.tile_vae:
        # The job before went down the ladder; this one begins at the top.
        ctx.models.free_all()
    ctx.models.tile_vae = plain = False
    for _ in below(request, preset, ctx.deaths):
        request, ctx = _go_down(left.pop(0), request, ctx)
    while True:
        _set_offload(request, ctx)
        try:
            with attention(plain=plain):
                return _run(request, ctx)
        except EstimateError:
            if plain:
                raise
            plain = True
            ctx.emit(
                Notice(
                    "the first steps gave no picture; the window is made again with attention "
                    "computed plainly, which is slower"
                )
            )
            continue
        except (MemoryError, MemoryBudgetError, RuntimeError) as error:
            if not is_memory(error) or not left:
                raise
        # Outside the handler: the error's traceback would keep the model's tensors alive.
        request, ctx = _go_down(left.pop(0), request, ctx)


def _go_down(rung: Rung, request: Request, ctx: RunContext) -> tuple[Request, RunContext]:
    """What the run goes on with one rung lower; says so."""
    ctx.models.free_all()
    ctx.models.tile_vae = ctx.models.tile_vae or rung.tile_vae
    if rung.window_frames is not None:
        preset = find_preset(ctx.presets, request.preset)
        long = preset.long.model_copy(update={"window_frames": rung.window_frames})
        shorter = preset.model_copy(update={"long": long})
        ctx = replace(ctx, presets={**ctx.presets, request.preset: shorter})
    ctx.emit(Notice(f"memory ran out: {rung.sentence}"))
    return request.model_copy(update=rung.changes), ctx


def _set_offload(request: Request, ctx: RunContext) -> None:
    """Tell the manager what leaves memory when; parts that were placed otherwise go."""
    models = ctx.models
    wanted: Offload = request.offload
    if wanted == "block" and models.device_name == "cpu":
        ctx.emit(
            Notice(
                "offload block moves blocks between the host and an accelerator, and this machine "
                "computes on the host: it does what model does; disk needs the least memory"
            )
        )
        wanted = "model"
    models.frugal = wanted in FRUGAL
    if models.frugal or wanted != models.offload:
        models.free_all()
    models.offload = wanted


def is_memory(error: Exception) -> bool:
    """Whether memory ran out, on the host or (by name, torch stays unimported) on the device."""
    if isinstance(error, MemoryError | MemoryBudgetError):
        return True
    # On a CPU torch says so in words only.
    return type(error).__name__ == "OutOfMemoryError" or (
        isinstance(error, RuntimeError) and "not enough memory" in str(error)
    )


def _run(request: Request, ctx: RunContext) -> Done:
    from studio.models.family import FrameMaker
    from studio.stitching.windows import make_plan

    preset = find_preset(ctx.presets, request.preset)
    plan = make_plan(request, preset, audio_seconds=audio_seconds(request))
    reporter = Reporter(plan, ctx.work_dir, ctx.emit, ctx.should_stop)
    reporter.stage("loading")
    for notice in plan.notices:
        reporter.notice(notice)
    if request.retake is not None:
        return _run_retake(request, request.retake, plan, ctx, reporter)
    setting = open_setting(request, plan, ctx, reporter)
    if isinstance(setting.family, FrameMaker):
        run_frames(setting, setting.family)
    elif plan.method == "position-shift":
        run_shift(setting)
    else:
        run_windows(setting)
    return finish(setting, ctx, _clip_id(ctx.work_dir))


def _run_retake(
    request: Request, retake: Retake, plan: Plan, ctx: RunContext, reporter: Reporter
) -> Done:
    from studio.stitching.retake import retake_window

    parts = find_parts(find_clip(retake.clip, ctx.outputs_dir), ctx.outputs_dir)
    check_same(plan, parts)
    plan = retake_plan(plan, parts)
    window = retake_window(plan, retake.window, retake.seed, retake.prompt)
    windows = list(plan.windows)
    old = windows[window.index]
    windows[window.index] = replace(old, seed=window.seed, prompt=window.prompt)
    plan = replace(plan, windows=tuple(windows), forwards=plan.num_inference_steps * plan.branches)
    reporter.plan = plan
    setting = open_setting(request, plan, ctx, reporter)
    run_retake(setting, parts, window)
    return finish(setting, ctx, _clip_id(ctx.work_dir))


def open_setting(request: Request, plan: Plan, ctx: RunContext, reporter: Reporter) -> Setting:
    """Everything the run needs: family, inputs, prompts as embeddings."""
    from studio.models.family import ChecksPictures, FrameMaker, family_for

    with reporter.timed("loading"):
        family = family_for(find_preset(ctx.presets, request.preset), request.loras)
        store = SegmentStore(ctx.work_dir, run_key(request, plan, family))
        inputs = read_inputs(request, plan, reporter.notice)
    makes_frames = isinstance(family, FrameMaker)
    if isinstance(family, ChecksPictures):
        family.check_pictures(len(inputs.pictures))
    if makes_frames:
        check_frames_run(request, plan, family.preset, saves_latents=ctx.save_latents is not None)
    reporter.stage("encoding")
    texts = list(dict.fromkeys([*(w.prompt for w in plan.windows), *_span_texts(plan)]))
    with reporter.timed("encoding"):
        prompts = {} if makes_frames else _embeds(family, ctx, texts, plan)
        name = getattr(request, "continue_from", None)
        if name:
            path = find_clip(name, ctx.outputs_dir)
            clip = continue_clip(path, plan, family, ctx.models, reporter.notice)
            inputs = replace(inputs, continued=clip)
    return Setting(
        request=request,
        plan=plan,
        family=family,
        models=ctx.models,
        reporter=reporter,
        store=store,
        inputs=inputs,
        prompts=prompts,
        spread=ctx.spread,
    )


def _embeds(
    family: Family, ctx: RunContext, texts: list[str], plan: Plan
) -> dict[str, PromptEmbeds]:
    made = family.encode_prompts(ctx.models, texts, plan.negative_prompt, plan.guidance_scale)
    return dict(zip(texts, made, strict=True))


def run_key(request: Request, plan: Plan, family: Family) -> str:
    """Changes when anything that decides the result changes; memory and its estimate do not."""
    parts = sorted(spec.key for spec in family.components().values())
    plain = {k: _named(k, v) for k, v in dump_request(request).items() if k != "offload"}
    planned = asdict(replace(plan, estimate=None))
    text = json.dumps([plain, planned, parts], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _named(field: str, value: Any) -> Any:
    """Files by name: a job that moves to another machine finds them in another folder there."""
    if field in ("image", "last_image", "continue_from") and isinstance(value, str):
        return Path(value).name
    return [Path(name).name for name in value] if field == "audio" else value


def _span_texts(plan: Plan) -> dict[str, None]:
    return dict.fromkeys(span.prompt for span in plan.prompts)


def _clip_id(work_dir: Path) -> str:
    """The id the clip gets, the same however often the job is resumed."""
    from studio.library.clip import new_clip_id

    path = work_dir / "clip_id"
    if not path.is_file():
        write_bytes(path, new_clip_id().encode())
    return path.read_text(encoding="utf-8").strip()
