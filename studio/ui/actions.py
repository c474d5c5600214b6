"""What buttons in the panels do to jobs and clips. Every value comes from a browser: untrusted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from studio.core.errors import RequestError
from studio.jobs.assemble import assemble
from studio.ui.engine import Engine
from studio.ui.live import CARDS, Page


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
    "pause": lambda engine, job_id: engine.store.pause(job_id),
    "resume": lambda engine, job_id: engine.store.resume(job_id),
    "retry": lambda engine, job_id: engine.store.retry(job_id),
    "show": lambda engine, job_id: engine.store.get(job_id),
}
_PAGE: dict[str, Callable[[Engine, str, Page, str], Page]] = {
    "assemble": _assemble,
    "open": _open,
    "star": _star,
    "unstar": _unstar,
    "trash": _trash,
    "restore": _restore,
    "more": _more,
}
