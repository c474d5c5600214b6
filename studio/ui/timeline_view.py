"""Below the stage: where a job's time went, and whether a clip came out the same again."""

from __future__ import annotations

import time
from collections.abc import Sequence

from studio.core.errors import StudioError
from studio.jobs.records import Job
from studio.jobs.reproduce import Verdict, compare, original_of
from studio.jobs.timeline import Spent, timeline
from studio.ui.engine import Engine
from studio.ui.markup import esc, number, size
from studio.ui.texts import Texts

MOST_ROWS = 40


def below_stage(engine: Engine, owner: str, job: Job | None) -> str:
    """What is known of the job beside its picture; nothing at all without one."""
    if job is None:
        return ""
    spent = timeline(job, engine.store.events(job.id), time.time())
    return _again(engine, owner, job) + timeline_list(engine.t, spent)


def timeline_list(t: Texts, spent: Sequence[Spent]) -> str:
    """The stages as a list, each with its seconds and bytes."""
    if not spent:
        return ""
    several = len({row.window for row in spent}) > 1
    rows = "".join(_row(t, row, several) for row in spent[-MOST_ROWS:])
    total = sum(row.seconds for row in spent)
    title = esc(t("timeline", seconds=number(total)))
    return (
        f'<div class="vs-timeline"><p class="vs-muted">{title}</p>'
        f'<ol aria-label="{title}">{rows}</ol></div>'
    )


def _row(t: Texts, row: Spent, several: bool) -> str:
    name = t(f"stage.{row.stage}")
    windowed = row.stage not in ("loading", "encoding", "finishing", "queued")
    if several and windowed:
        name = f"{name} · {row.window + 1}"
    took = f"{number(row.seconds)} s" + (f" · {size(row.bytes)}" if row.bytes else "")
    return f"<li><span>{esc(name)}</span> <b>{esc(took)}</b></li>"


def _again(engine: Engine, owner: str, job: Job) -> str:
    source = original_of(job)
    if source is None or job.state != "done" or not job.clip_id:
        return ""
    try:
        verdict = compare(engine.clip(source, owner), engine.clip(job.clip_id, owner))
    except StudioError:
        verdict = None
    return f'<p class="vs-note" role="status">{esc(verdict_text(engine.t, verdict))}</p>'


def verdict_text(t: Texts, verdict: Verdict | None) -> str:
    """The verdict as a sentence."""
    if verdict is None:
        return t("again.unknown")
    if verdict.same:
        return t("again.same", n=verdict.windows)
    why = t("again.versions", names=", ".join(verdict.versions)) if verdict.versions else ""
    first = verdict.different[0] + 1
    said = t("again.different", n=len(verdict.different), all=verdict.windows, first=first)
    return f"{said} {why}".strip()
