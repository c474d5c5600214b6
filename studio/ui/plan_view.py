"""The plan beside Generate: what will be made, in how many pieces, at what cost."""

from __future__ import annotations

from studio.core.plan import Plan
from studio.ui.markup import chip, duration, esc, number, size
from studio.ui.texts import Texts

MAX_DRAWN = 60
"""Windows that are drawn; more would be thinner than a pixel."""


def plan_panel(t: Texts, plan: Plan) -> str:
    """Length, size, windows on a strip of time, forwards, and every notice as a sentence."""
    method = t(f"method.{plan.method}")
    facts = (
        chip(t("plan.length"), f"{number(plan.seconds, 2)} s")
        + chip(t("plan.frames"), f"{plan.frames} · {number(plan.fps)} fps")
        + chip(t("fact.size"), f"{plan.width}×{plan.height}")
        + chip(t("plan.windows"), f"{len(plan.windows)} · {method}")
        + chip(t("plan.forwards"), plan.forwards)
    )
    estimate = plan.estimate
    if estimate is not None and estimate.seconds is not None:
        facts += chip(t("plan.time"), "~ " + duration(estimate.seconds))
    if estimate is not None:
        need = max(estimate.device_bytes, estimate.host_bytes)
        facts += chip(t("plan.memory"), "~ " + size(need))
    notes = list(plan.notices)
    bad = ""
    if estimate is not None and not estimate.fits:
        bad = f'<p class="vs-warn">{esc(t.said(estimate.advice))}</p>'
    said = "".join(f"<p class='vs-note'>{esc(t.said(note))}</p>" for note in notes)
    return (
        f'<div class="vs-plan"><div class="vs-facts">{facts}</div>'
        f"{_strip(t, plan)}{bad}{said}</div>"
    )


def plan_error(message: str) -> str:
    """Why there is no plan, as the sentence that says so."""
    return f'<div class="vs-plan"><p class="vs-warn">{esc(message)}</p></div>'


def _strip(t: Texts, plan: Plan) -> str:
    windows = plan.windows[:MAX_DRAWN]
    if len(windows) < 2:
        return ""
    total = max(plan.latent_frames, *(w.stop for w in windows))
    bars = []
    for w in windows:
        left, width = 100 * w.start / total, 100 * (w.stop - w.start) / total
        given = 100 * w.pinned / max(1, w.stop - w.start)
        bars.append(
            f'<i style="left:{left:.2f}%;width:{width:.2f}%;top:{(w.index % 2) * 50}%">'
            f'<b style="width:{given:.1f}%"></b></i>'
        )
    label = esc(t("plan.strip", n=len(plan.windows)))
    return f'<div class="vs-strip" role="img" aria-label="{label}">{"".join(bars)}</div>'
