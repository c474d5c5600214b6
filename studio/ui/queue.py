"""The queue panel: a person's jobs that are not clips yet, with what can be done about each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from studio.jobs.records import Job
from studio.ui.markup import button, esc, shorten
from studio.ui.player import job_buttons, percent
from studio.ui.texts import Texts


def queue_panel(t: Texts, jobs: Sequence[Job], ahead: Mapping[str, int], held: str = "") -> str:
    """The jobs in their given order; nothing at all when there are none."""
    if not jobs:
        return ""
    rows = "".join(_row(t, job, ahead.get(job.id, 0)) for job in jobs)
    note = f'<p class="vs-note">{esc(held)}</p>' if held else ""
    return (
        f'<section class="vs-queue" aria-label="{esc(t("queue"))}"><h2>{esc(t("queue"))}</h2>'
        f"{note}<ul>{rows}</ul></section>"
    )


def _row(t: Texts, job: Job, ahead: int) -> str:
    where = t(f"state.{job.state}")
    if job.state == "running":
        where = f"{percent(job)} %"
    elif job.state == "queued" and ahead:
        where = t("queue.ahead", n=ahead)
    name = shorten(job.prompt or t(f"tab.{job.kind}"), 90)
    look = {"failed": "vs-bad", "running": "vs-good"}.get(job.state, "")
    return (
        f'<li data-job="{esc(job.id)}" data-state="{job.state}">'
        f'<span class="vs-badge {look}">{esc(where)}</span>'
        f"{button('act', 'show', job.id, name, look='vs-link')}"
        f'<span class="vs-actions">{_order_buttons(t, job)}'
        f"{job_buttons(t, job, look='vs-small')}</span></li>"
    )


def _order_buttons(t: Texts, job: Job) -> str:
    """What changes when a waiting job has its turn, and one more of any job."""
    offers: tuple[str, ...] = ("duplicate",)
    if job.state == "queued":
        offers = ("up", "down", "usual" if job.priority else "hurry", *offers)
    return "".join(button("act", do, job.id, t(f"do.{do}"), look="vs-small") for do in offers)
