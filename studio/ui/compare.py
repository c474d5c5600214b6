"""Both long-video methods side by side: two jobs with one seed, and what was measured on each."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from studio.core.errors import RequestError, StudioError
from studio.jobs.records import Job
from studio.library.clip import Clip
from studio.ui.engine import Engine
from studio.ui.markup import button, duration, esc, icon, number, shorten
from studio.ui.player import percent

FIGURES = ("seam_ratio", "colour_drift", "first_psnr", "end_psnr")


def submit_both(engine: Engine, data: Mapping[str, Any], owner: str) -> str:
    """Queue the request once a method; what the page remembers to show both: "pair:ID,ID".

    Raises:
        StudioError: if the preset has one method only, or the request cannot be carried out.
    """
    preset = engine.preset(data["preset"])
    methods = preset.long.methods
    if len(methods) < 2:
        raise RequestError(engine.t("compare.one", preset=preset.title))
    plans = [engine.admit({**data, "method": method}) for method in methods]
    if any(len(engine.plan(request).windows) < 2 for request in plans):
        raise RequestError(engine.t("compare.short"))
    key = secrets.token_hex(8)
    jobs = [
        engine.submit({**data, "method": method}, owner, f"{key}-{method}") for method in methods
    ]
    return f"pair:{','.join(jobs)}"


def compare_stage(engine: Engine, owner: str, target: str, clips: Mapping[str, Clip]) -> str | None:
    """The two jobs of `target` ("ID,ID") beside each other; None if they are not there."""
    try:
        jobs = [engine.job(job_id, owner) for job_id in target.split(",")[:2]]
    except StudioError:
        return None
    t = engine.t
    sides = "".join(_side(engine, job, clips.get(job.clip_id or "")) for job in jobs)
    done = all(job.state == "done" for job in jobs)
    both = (
        f'<button type="button" class="vs-button" data-both>{icon("play")}'
        f"<span>{esc(t('compare.play'))}</span></button>"
    )
    title = t("state.done") if done else t("compare")
    return (
        f'<section class="vs-stage vs-compare" data-state="{"done" if done else "running"}" '
        f'data-title="{esc(title)}"><h2>{esc(t("compare"))}</h2>'
        f'<p class="vs-prompt">{esc(shorten(jobs[0].prompt, 200))}</p>'
        f'<div class="vs-sides">{sides}</div>'
        f'<div class="vs-actions">{both if done else ""}</div></section>'
    )


def _side(engine: Engine, job: Job, clip: Clip | None) -> str:
    t = engine.t
    method = t(f"method.{job.request.get('method', 'auto')}")
    if clip is not None:
        label = esc(t("stage.video", prompt=method))
        screen = (
            f'<video src="{esc(engine.links.clip(clip.id))}" '
            f'poster="{esc(engine.links.poster(clip.id))}" aria-label="{label}" controls loop '
            f'muted playsinline preload="auto"></video>'
        )
        below = _figures(engine, clip) + button(
            "act", "open", clip.id, t("do.show"), look="vs-small"
        )
    else:
        said = f"{percent(job)} %" if job.state == "running" else t(f"state.{job.state}")
        if job.state == "failed":
            said += f": {t.said(job.message)}"
        screen = icon("film")
        done = percent(job)
        below = (
            f'<p>{esc(said)}</p><div class="vs-bar" role="progressbar" aria-label="{esc(method)}" '
            f'aria-valuemin="0" aria-valuemax="100" aria-valuenow="{done}">'
            f'<i style="width:{done}%"></i></div>'
        )
    return (
        f'<div class="vs-side" data-job="{esc(job.id)}"><h3>{esc(method)}</h3>'
        f'<div class="vs-screen">{screen}</div>{below}</div>'
    )


def _figures(engine: Engine, clip: Clip) -> str:
    t, quality = engine.t, clip.summary.get("quality")
    rows = [
        (t(f"fact.{name}"), number(quality[name], 3))
        for name in FIGURES
        if isinstance(quality, Mapping) and isinstance(quality.get(name), int | float)
    ]
    timings = clip.summary.get("timings", {})
    total = timings.get("total_s", timings.get("total"))
    if isinstance(total, int | float):
        rows.append((t("fact.made"), duration(total)))
    cells = "".join(f"<dt>{esc(name)}</dt><dd>{esc(value)}</dd>" for name, value in rows)
    return f'<dl class="vs-figures">{cells}</dl>'
