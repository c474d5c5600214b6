"""The gallery: every clip with its picture, prompt and seed; hovering plays it."""

from __future__ import annotations

from collections.abc import Sequence

from studio.library.clip import Clip
from studio.ui.links import Links
from studio.ui.markup import button, esc, icon, number, shorten
from studio.ui.player import clip_buttons
from studio.ui.texts import Texts


def gallery_panel(
    t: Texts, links: Links, clips: Sequence[Clip], *, more: bool, undo: str = ""
) -> str:
    """Cards, newest first; `more` offers older ones, `undo` takes back the last deletion."""
    back = ""
    if undo:
        back = (
            f'<p class="vs-note">{esc(t("gallery.deleted"))} '
            f"{button('act', 'restore', undo, t('do.undo'), look='vs-small')}</p>"
        )
    if not clips:
        inside = f'<div class="vs-nothing">{icon("film")}<p>{esc(t("gallery.empty"))}</p></div>'
    else:
        cards = "".join(_card(t, links, clip) for clip in clips)
        inside = f'<ul class="vs-cards">{cards}</ul>'
    older = button("act", "more", "", t("gallery.more")) if more else ""
    return (
        f'<section class="vs-gallery" aria-label="{esc(t("gallery"))}">'
        f"<h2>{esc(t('gallery'))}</h2>{back}{inside}<p class='vs-more'>{older}</p></section>"
    )


def _card(t: Texts, links: Links, clip: Clip) -> str:
    prompt = clip.prompt or t(f"tab.{clip.mode or 't2v'}")
    name = esc(t("gallery.open", prompt=shorten(prompt, 80)))
    return (
        f'<li class="vs-card" data-clip="{esc(clip.id)}">'
        f'<button type="button" class="vs-thumb" data-event="act" data-do="open" '
        f'data-id="{esc(clip.id)}" aria-label="{name}">'
        f'<video src="{esc(links.clip(clip.id))}" poster="{esc(links.poster(clip.id))}" muted loop '
        f'playsinline preload="none" tabindex="-1" aria-hidden="true"></video></button>'
        f'<p class="vs-prompt" title="{esc(prompt)}">{esc(shorten(prompt, 90))}</p>'
        f'<p class="vs-muted">{esc(t("seed"))} {esc(clip.seed)} · {number(clip.seconds)} s</p>'
        f'<div class="vs-actions">{clip_buttons(t, links, clip, look="vs-only-icon")}</div></li>'
    )
