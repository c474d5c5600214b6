"""Beside the stage: what is open in the queue in one line, and the newest clips in a row."""

from __future__ import annotations

from collections.abc import Sequence

from studio.jobs.records import Job
from studio.library.clip import Clip
from studio.ui.links import Links
from studio.ui.markup import esc, icon, shorten
from studio.ui.texts import Texts

NEWEST = 6


def aside_panel(t: Texts, links: Links, jobs: Sequence[Job], clips: Sequence[Clip]) -> str:
    """Nothing at all while there is neither a job nor a clip."""
    waiting = [job for job in jobs if not job.ended]
    line = ""
    if waiting:
        running = sum(job.state == "running" for job in waiting)
        said = t("aside.queue", running=running, waiting=len(waiting) - running)
        line = _link("queue", said, t("aside.queue.open"))
    if clips:
        shown = "".join(_thumb(t, links, clip) for clip in clips[:NEWEST])
        link = _link("gallery", t("aside.newest"), t("aside.gallery.open"))
        line += f'<div class="vs-newest">{link}<ul>{shown}</ul></div>'
    return (
        f'<section class="vs-aside" aria-label="{esc(t("aside"))}">{line}</section>' if line else ""
    )


def _link(place: str, said: str, action: str) -> str:
    return (
        f'<p class="vs-way"><span>{esc(said)}</span>'
        f'<button type="button" class="vs-button vs-small" data-go="{place}">'
        f"{esc(action)}</button></p>"
    )


def _thumb(t: Texts, links: Links, clip: Clip) -> str:
    name = esc(t("gallery.open", prompt=shorten(clip.prompt or clip.id, 80)))
    return (
        f'<li><button type="button" class="vs-thumb" data-event="act" data-do="open" '
        f'data-id="{esc(clip.id)}" aria-label="{name}" title="{name}">'
        f'<img alt="" loading="lazy" src="{esc(links.poster(clip.id))}">'
        f"{icon('play')}</button></li>"
    )
