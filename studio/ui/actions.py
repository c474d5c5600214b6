"""What buttons in the panels do to jobs and clips. Every value comes from a browser: untrusted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from studio.core.errors import JobError, RequestError
from studio.jobs.assemble import assemble
from studio.jobs.reproduce import reproduce_key, request_again
from studio.jobs.store import MAX_QUEUED
from studio.ui.engine import Engine
from studio.ui.live import CARDS, Page

HURRY = 10
"""The priority of what should be made before everything else."""


def act(engine: Engine, owner: str, page: Page, do: str, target: str) -> Page:
    """Do it and give the page's new memory.

    Raises:
        StudioError: a sentence, when it cannot be done.
    """
    if do in _JOBS:
        engine.job(target, owner)
        _JOBS[do](engine, target)
        engine.wake()
        return replace(page, focus=f"job:{target}")
    if do in _PAGE:
        return _PAGE[do](engine, owner, page, target)
    raise RequestError(f"there is no action {do[:40]!r}; reload the page")


def _assemble(engine: Engine, owner: str, page: Page, target: str) -> Page:
    job = engine.job(target, owner)
    return replace(page, focus=f"clip:{assemble(job, engine.settings.outputs_dir)}", stamp=())


def _again(engine: Engine, owner: str, page: Page, target: str) -> Page:
    clip = engine.clip(target, owner)
    job_id = engine.submit(request_again(clip), owner, reproduce_key(clip.id))
    return replace(page, focus=f"job:{job_id}")


def _duplicate(engine: Engine, owner: str, page: Page, target: str) -> Page:
    engine.job(target, owner)
    job_id = engine.store.duplicate(target, owner)
    engine.wake()
    return replace(page, focus=f"job:{job_id}")


def _up(engine: Engine, owner: str, page: Page, target: str) -> Page:
    line, at = _line(engine, owner, target)
    if at:
        engine.store.move(target, before=line[at - 1])
    return page


def _down(engine: Engine, owner: str, page: Page, target: str) -> Page:
    line, at = _line(engine, owner, target)
    if at + 1 < len(line):
        engine.store.move(line[at + 1], before=target)
    return page


def _line(engine: Engine, owner: str, target: str) -> tuple[list[str], int]:
    """The owner's waiting jobs of the same priority in their order, and where `target` is."""
    mine = engine.job(target, owner)
    jobs = engine.store.list(owner=owner, states=["queued"], limit=MAX_QUEUED)
    same = sorted((j for j in jobs if j.priority == mine.priority), key=lambda j: j.position)
    line = [job.id for job in same]
    if target not in line:
        raise JobError(f"job {target} is {mine.state}; only queued jobs can be moved")
    return line, line.index(target)


def _hurry(engine: Engine, owner: str, page: Page, target: str) -> Page:
    # Turns among strangers are fair: only whoever the machine belongs to may pass others.
    if not engine.private:
        raise RequestError(engine.t("models.owner"))
    engine.store.prioritise(engine.job(target, owner).id, HURRY)
    return page


def _usual(engine: Engine, owner: str, page: Page, target: str) -> Page:
    engine.store.prioritise(engine.job(target, owner).id, 0)
    return page


def _more(engine: Engine, owner: str, page: Page, target: str) -> Page:
    del engine, owner, target
    return replace(page, cards=page.cards + CARDS)


def _open(engine: Engine, owner: str, page: Page, target: str) -> Page:
    return replace(page, focus=f"clip:{engine.clip(target, owner).id}")


def _star(engine: Engine, owner: str, page: Page, target: str) -> Page:
    engine.library.star(engine.clip(target, owner).id, True)
    return replace(page, stamp=())


def _unstar(engine: Engine, owner: str, page: Page, target: str) -> Page:
    engine.library.star(engine.clip(target, owner).id, False)
    return replace(page, stamp=())


def _trash(engine: Engine, owner: str, page: Page, target: str) -> Page:
    engine.library.trash(engine.clip(target, owner).id)
    return replace(page, undo=target, focus="", stamp=())


def _restore(engine: Engine, owner: str, page: Page, target: str) -> Page:
    del owner
    # Only what this very page deleted can be brought back by it.
    if target != page.undo:
        raise RequestError(engine.t("error.clip"))
    engine.library.restore(target)
    return replace(page, undo="", focus=f"clip:{target}", stamp=())


_JOBS: dict[str, Callable[[Engine, str], Any]] = {
    "cancel": lambda engine, job_id: engine.store.cancel(job_id),
    "force": lambda engine, job_id: engine.store.cancel(job_id, force=True),
    "pause": lambda engine, job_id: engine.store.pause(job_id),
    "resume": lambda engine, job_id: engine.store.resume(job_id),
    "retry": lambda engine, job_id: engine.store.retry(job_id),
    "show": lambda engine, job_id: engine.store.get(job_id),
}
_PAGE: dict[str, Callable[[Engine, str, Page, str], Page]] = {
    "again": _again,
    "assemble": _assemble,
    "down": _down,
    "duplicate": _duplicate,
    "hurry": _hurry,
    "up": _up,
    "usual": _usual,
    "open": _open,
    "star": _star,
    "unstar": _unstar,
    "trash": _trash,
    "restore": _restore,
    "more": _more,
}
