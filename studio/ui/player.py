"""The stage: what the right side shows about one job, from nothing to a clip that plays."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from functools import cache
from typing import Any

from studio.jobs.records import Job
from studio.library.clip import Clip
from studio.ui.links import Links
from studio.ui.markup import (
    button,
    chip,
    duration,
    esc,
    icon,
    number,
    shorten,
)
from studio.ui.texts import ASSETS, Texts

EXAMPLES = 3
"""Keys example.0 ... of the words."""


def empty_stage(t: Texts) -> str:
    """Before anything was made: what this is and one click to begin."""
    tries = "".join(_example(t, i) for i in range(EXAMPLES))
    return (
        f'<section class="vs-stage vs-empty" data-state="empty" data-title="">'
        f'<div class="vs-screen">{icon("film")}<h2>{esc(t("stage.empty"))}</h2>'
        f"<p>{esc(t('stage.empty.hint'))}</p><div class='vs-examples'>{tries}</div></div></section>"
    )


def _example(t: Texts, number: int) -> str:
    prompt = esc(t(f"example.{number}"))
    return (
        f'<button type="button" class="vs-button vs-example" data-event="example" data-do="t2v" '
        f'data-id="{number}"><img alt="" src="{_thumbnail(number)}"><span>{prompt}</span></button>'
    )


@cache
def _thumbnail(number: int) -> str:
    """The example's picture, inside the page: it is smaller than a request for it."""
    data = (ASSETS / "examples" / f"{number}.webp").read_bytes()
    return f"data:image/webp;base64,{base64.b64encode(data).decode('ascii')}"


def job_stage(
    t: Texts, links: Links, job: Job, *, ahead: int = 0, held: str = "", below: str = ""
) -> str:
    """The state of `job` as a picture, a sentence and what can be done about it."""
    if job.state == "running":
        inside = _running(t, links, job)
    elif job.state == "queued":
        inside = _waiting(t, job, ahead, held)
    else:
        inside = _ended(t, job)
    title, prompt = _title(t, job), esc(shorten(job.prompt, 400))
    return (
        f'<section class="vs-stage" data-state="{job.state}" data-job="{esc(job.id)}" '
        f'data-title="{esc(title)}">{inside}<p class="vs-prompt">{prompt}</p>{below}</section>'
    )


def spoken(t: Texts, job: Job | None) -> str:
    """What a screen reader hears: changes with the state and the stage, not with every step."""
    if job is None:
        return ""
    if job.state == "running" and job.progress is not None:
        return t(f"stage.{job.progress.stage}")
    return t(f"state.{job.state}")


def percent(job: Job) -> int:
    """How much of the job is done, 0 to 100."""
    return round(100 * min(1.0, max(0.0, job.progress.done))) if job.progress else 0


def _title(t: Texts, job: Job) -> str:
    return f"{percent(job)} %" if job.state == "running" else t(f"state.{job.state}")


def _running(t: Texts, links: Links, job: Job) -> str:
    progress = job.progress
    picture = icon("film")
    if job.preview:
        version = f"{progress.window}-{progress.step}" if progress else "0"
        picture = (
            f'<img alt="{esc(t("stage.preview"))}" src="{esc(links.preview(job.id, version))}">'
        )
    what = t(f"stage.{progress.stage}") if progress else t("stage.loading")
    details = []
    if progress and progress.windows > 1:
        details.append(t("stage.window", k=progress.window + 1, n=progress.windows))
    if progress and progress.steps:
        details.append(t("stage.step", k=progress.step, n=progress.steps))
    if progress and progress.eta_s is not None:
        details.append(t("stage.eta", time=duration(progress.eta_s)))
    if job.stop:
        what = t(f"stage.stopping.{job.stop}")
    done = percent(job)
    return (
        f'<div class="vs-screen">{picture}</div>'
        f'<div class="vs-now"><div><strong>{esc(what)}</strong>'
        f'<span class="vs-muted">{esc(" · ".join(details))}</span></div>'
        f"{_buttons(t, job)}</div>"
        f'<div class="vs-bar" role="progressbar" aria-label="{esc(t("stage.progress"))}" '
        f'aria-valuemin="0" aria-valuemax="100" aria-valuenow="{done}">'
        f'<i style="width:{done}%"></i></div>'
    )


def _waiting(t: Texts, job: Job, ahead: int, held: str) -> str:
    place = held or (t("stage.ahead", n=ahead) if ahead else t("stage.next"))
    return (
        f'<div class="vs-screen">{icon("film")}</div>'
        f'<div class="vs-now"><div><strong>{esc(t("state.queued"))}</strong>'
        f'<span class="vs-muted">{esc(place)}</span></div>{_buttons(t, job)}</div>'
        '<div class="vs-bar"><i style="width:0"></i></div>'
    )


def _ended(t: Texts, job: Job) -> str:
    kept = t("stage.kept", n=len(job.segments)) if job.segments else ""
    message = t.said(job.message) or t(f"stage.{job.state}.hint")
    look = "vs-bad" if job.state == "failed" else ""
    return (
        f'<div class="vs-screen">{icon("film")}</div>'
        f'<div class="vs-now {look}"><div><strong>{esc(t(f"state.{job.state}"))}</strong>'
        f"<span>{esc(message)}</span>"
        f'<span class="vs-muted">{esc(kept)}</span></div>{_buttons(t, job)}</div>'
    )


def _buttons(t: Texts, job: Job) -> str:
    return f'<div class="vs-actions">{job_buttons(t, job, look="")}</div>'


def job_buttons(t: Texts, job: Job, *, look: str) -> str:
    """What can be done to a job in its state."""
    offers: tuple[str, ...] = {
        "queued": ("cancel",),
        "running": ("force",) if job.stop else ("pause", "cancel"),
        "paused": ("resume", "cancel"),
        "interrupted": ("resume", "cancel"),
        "failed": ("retry",),
        "canceled": ("retry",),
        "done": (),
    }[job.state]
    if job.segments and job.state in ("paused", "failed", "canceled"):
        offers += ("assemble",)
    return "".join(button("act", do, job.id, t(f"do.{do}"), look=look) for do in offers)


def clip_stage(t: Texts, links: Links, clip: Clip, *, below: str = "") -> str:
    """A finished clip: it plays, with its prompt, its seed and what can be done with it."""
    facts = clip_facts(t, clip)
    url, poster = esc(links.clip(clip.id)), esc(links.poster(clip.id))
    label = esc(t("stage.video", prompt=shorten(clip.prompt, 120)))
    quiet = "" if clip.summary.get("mode") == "avatar" else "muted"
    return (
        f'<section class="vs-stage" data-state="done" data-clip="{esc(clip.id)}" '
        f'data-title="{esc(t("state.done"))}">'
        f'<div class="vs-screen"><video src="{url}" poster="{poster}" aria-label="{label}" '
        f'controls autoplay loop {quiet} playsinline preload="auto"></video></div>'
        f'<p class="vs-prompt">{esc(shorten(clip.prompt, 600))}</p>'
        f'<div class="vs-facts">{facts}</div>'
        f'<div class="vs-actions">{clip_buttons(t, links, clip, look="")}'
        f"{_plain_link(t, links, clip)}{button('act', 'again', clip.id, t('do.again'))}</div>"
        f"{below}</section>"
    )


def _plain_link(t: Texts, links: Links, clip: Clip) -> str:
    said = esc(t("do.plain"))
    return (
        f'<a class="vs-button" href="{esc(links.clip(clip.id))}?download=1&amp;plain=1" download '
        f'title="{esc(t("do.plain.hint"))}" aria-label="{said}">{said}</a>'
    )


def clip_facts(t: Texts, clip: Clip) -> str:
    """Seed, length, size and how it was made, as chips."""
    summary, plan = clip.summary, clip.plan
    facts = [chip(t("seed"), clip.seed)]
    if clip.seconds:
        facts.append(chip(t("fact.length"), f"{number(clip.seconds)} s"))
    if summary.get("width"):
        facts.append(chip(t("fact.size"), f"{summary['width']}×{summary['height']}"))
    if plan.get("num_inference_steps"):
        facts.append(chip(t("steps"), plan["num_inference_steps"]))
    if "guidance_scale" in plan:
        facts.append(chip(t("guidance"), number(float(plan["guidance_scale"]))))
    total = summary.get("timings", {}).get("total")
    if isinstance(total, int | float):
        facts.append(chip(t("fact.made"), duration(total)))
    facts += [chip(t(f"fact.{name}"), said) for name, said in _measures(summary).items()]
    return "".join(facts)


def _measures(summary: Mapping[str, Any]) -> dict[str, str]:
    """What was measured on the finished clip, as far as it was."""
    quality = summary.get("quality")
    units = {"seam_ratio": "", "first_psnr": " dB", "end_psnr": " dB", "sync_corr": ""}
    if not isinstance(quality, Mapping):
        return {}
    return {
        name: f"{number(quality[name], 2)}{unit}"
        for name, unit in units.items()
        if isinstance(quality.get(name), int | float)
    }


def clip_buttons(t: Texts, links: Links, clip: Clip, *, look: str) -> str:
    """What can be done with a clip."""
    star = "unstar" if clip.starred else "star"
    load = (
        f'<a class="vs-button {look}" href="{esc(links.clip(clip.id))}?download=1" download '
        f'title="{esc(t("do.download"))}" aria-label="{esc(t("do.download"))}">'
        f"{icon('download')}<span>{esc(t('do.download'))}</span></a>"
    )
    return (
        button("reuse", "reuse", clip.id, t("do.reuse"), look=look, mark="reuse")
        + button("reuse", "continue", clip.id, t("do.continue"), look=look, mark="continue")
        + button("edit", "edit", clip.id, t("do.edit"), look=look, mark="edit")
        + button("frame", "first", clip.id, t("do.first"), look=look, mark="first")
        + button("frame", "last", clip.id, t("do.last"), look=look, mark="last")
        + button("act", star, clip.id, t(f"do.{star}"), look=f"{look} vs-{star}", mark="star")
        + load
        + button("act", "trash", clip.id, t("do.trash"), look=f"{look} vs-danger", mark="delete")
    )
