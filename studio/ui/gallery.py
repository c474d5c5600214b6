"""The gallery: every clip with its picture, prompt and seed; hovering plays it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from studio.library.clip import Clip
from studio.ui.links import Links
from studio.ui.markup import button, esc, icon, number, shorten, size
from studio.ui.player import clip_buttons
from studio.ui.texts import Texts


@dataclass(frozen=True)
class Shown:
    """What the gallery shows, and of how much."""

    clips: Sequence[Clip]
    more: bool
    """Whether older ones are left."""
    all: int
    bytes: int
    """How many clips there are, and what they take."""
    undo: str = ""
    """The clip that was deleted last."""
    free: int = 0
    """Bytes that are left on the disk."""
    owner: str = ""
    """Whose clips these are."""


def gallery_panel(t: Texts, links: Links, shown: Shown) -> str:
    """Cards, newest first, or a sentence why there are none."""
    back = ""
    if shown.undo:
        back = (
            f'<p class="vs-note" role="status">{esc(t("gallery.deleted"))} '
            f"{button('act', 'restore', shown.undo, t('do.undo'), look='vs-small')}</p>"
        )
    if not shown.clips:
        said = t("gallery.none" if shown.all else "gallery.empty")
        inside = f'<div class="vs-nothing">{icon("film")}<p>{esc(said)}</p></div>'
    else:
        cards = "".join(_card(t, links, clip) for clip in shown.clips)
        inside = f'<ul class="vs-cards">{cards}</ul>'
    older = button("act", "more", "", t("gallery.more")) if shown.more else ""
    return (
        f'<section class="vs-gallery" aria-label="{esc(t("gallery"))}">{back}{inside}'
        f'<p class="vs-more">{older}</p>{_storage(t, links, shown)}</section>'
    )


def _storage(t: Texts, links: Links, shown: Shown) -> str:
    """How much the clips take of what there is, and a way to take them all along."""
    if not shown.all:
        return ""
    said = t("gallery.meter", clips=shown.all, size=size(shown.bytes))
    free = t("gallery.free", size=size(shown.free))
    there = max(1, shown.bytes + shown.free)
    url = esc(links.archive(shown.owner))
    loads = "".join(
        f'<a class="vs-button vs-small" href="{url}{query}" download>{esc(t(f"do.{word}"))}</a>'
        for word, query in (("all", ""), ("all.plain", "?plain=1"))
    )
    return (
        f'<div class="vs-meter vs-muted"><span>{esc(said)} · {esc(free)}</span> '
        f'<meter min="0" max="{there}" value="{shown.bytes}" aria-label="{esc(said)}"></meter> '
        f"{loads}</div>"
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
