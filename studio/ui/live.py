"""What the page shows now, and which of its parts have changed since it last asked."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field, replace

from studio.core.errors import StudioError
from studio.jobs.records import Job
from studio.library.clip import Clip
from studio.ui.aside import aside_panel
from studio.ui.compare import compare_stage
from studio.ui.engine import Engine
from studio.ui.gallery import Shown, gallery_panel
from studio.ui.player import clip_stage, empty_stage, job_stage, spoken
from studio.ui.queue import queue_panel
from studio.ui.timeline_view import below_stage

PARTS = ("stage", "queue", "gallery", "announce", "aside", "pace")
BUSY_S, IDLE_S = 1.0, 5.0
CARDS = 12
QUEUE_LENGTH = 20
ENDED_SHOWN_S = 24 * 3600.0


@dataclass(frozen=True)
class Page:
    """What one open page remembers between two looks."""

    focus: str = ""
    """"job:ID" or "clip:ID" on the stage; empty: whatever is newest."""
    cards: int = CARDS
    undo: str = ""
    query: str = ""
    starred: bool = False
    stamp: tuple[object, ...] = ()
    seen: dict[str, str] = field(default_factory=dict)


def look(engine: Engine, owner: str, page: Page) -> tuple[Page, dict[str, str]]:
    """The page's new memory and the parts that changed; an empty dict when nothing did."""
    asked = (page.focus, page.cards, page.undo, page.query, page.starred)
    stamp = (engine.store.rev(), _library_stamp(engine), owner, *asked)
    if stamp == page.stamp:
        return page, {}
    parts = _parts(engine, owner, page)
    marks = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in parts.items()}
    changed = {name: parts[name] for name in PARTS if marks[name] != page.seen.get(name)}
    return replace(page, stamp=stamp, seen=marks), changed


def _library_stamp(engine: Engine) -> int:
    try:
        return engine.settings.outputs_dir.stat().st_mtime_ns
    except OSError:
        return 0


def _parts(engine: Engine, owner: str, page: Page) -> dict[str, str]:
    t = engine.t
    jobs = engine.store.list(owner=owner, limit=200)
    clips = engine.clips(owner)
    hold = engine.store.held()
    held = t("queue.held", message=t.said(hold.message)) if hold else ""
    shown = _queue_jobs(jobs)
    ahead = {job.id: engine.store.ahead(job.id) for job in shown if job.state == "queued"}
    job, clip = _on_stage(engine, owner, page, jobs, clips)
    if clip is not None:
        made_by = next((j for j in jobs if j.clip_id == clip.id), None)
        stage = clip_stage(t, engine.links, clip, below=below_stage(engine, owner, made_by))
    elif job is not None:
        stage = job_stage(
            t,
            engine.links,
            job,
            ahead=ahead.get(job.id, 0),
            held=held,
            below=below_stage(engine, owner, job),
        )
    else:
        stage = empty_stage(t)
    kind, _, target = page.focus.partition(":")
    if kind == "pair":
        stage = compare_stage(engine, owner, target, {c.id: c for c in clips}) or stage
    busy = any(j.state in ("running", "queued", "interrupted") for j in jobs)
    return {
        "stage": stage,
        "queue": queue_panel(t, shown, ahead, held if shown else ""),
        "gallery": _gallery(engine, owner, page, clips),
        "announce": spoken(t, job),
        "aside": aside_panel(t, engine.links, jobs, clips),
        "pace": str(BUSY_S if busy else IDLE_S),
    }


def _gallery(engine: Engine, owner: str, page: Page, clips: list[Clip]) -> str:
    query = page.query.casefold().strip()
    found = [c for c in clips if query in c.prompt.casefold() and (c.starred or not page.starred)]
    shown = Shown(
        clips=found[: page.cards],
        more=len(found) > page.cards,
        all=len(clips),
        bytes=sum(c.size_bytes for c in clips),
        undo=page.undo,
        free=engine.library.usage().free_bytes,
        owner=owner,
    )
    return gallery_panel(engine.t, engine.links, shown)


def _place(job: Job) -> tuple[float, ...]:
    """Waiting jobs in the order of their turns, others by age: open ones first come first."""
    if job.state == "queued":
        return (-job.priority, job.position)
    return (0, job.seq if not job.ended else -job.seq)


def _queue_jobs(jobs: list[Job]) -> list[Job]:
    """Jobs that are not clips: all that are open, and those that ended badly of late."""
    since = time.time() - ENDED_SHOWN_S
    wanted = [
        job
        for job in jobs
        if not job.ended or (job.state != "done" and (job.finished or job.created) > since)
    ]
    order = {"running": 0, "queued": 1}
    wanted.sort(key=lambda job: (order.get(job.state, 2), *_place(job)))
    return wanted[:QUEUE_LENGTH]


def _on_stage(
    engine: Engine, owner: str, page: Page, jobs: list[Job], clips: list[Clip]
) -> tuple[Job | None, Clip | None]:
    """The job whose state is told, and the clip that plays if it is one by now."""
    there = {clip.id: clip for clip in clips}
    kind, _, target = page.focus.partition(":")
    if kind == "clip" and target in there:
        return None, there[target]
    if kind in ("job", "jobs"):
        try:
            # Of a batch the first is shown; the others wait in the queue's list.
            job = engine.job(target.partition(",")[0], owner)
        except StudioError:
            job = None
        if job is not None and (job.state != "done" or job.clip_id in there):
            return job, there.get(job.clip_id or "")
    for job in sorted(jobs, key=lambda j: (j.state != "running", j.ended, -j.seq)):
        if not job.ended:
            return job, None
        if job.state == "done" and job.clip_id in there:
            return job, there[job.clip_id]
    return None, clips[0] if clips else None
