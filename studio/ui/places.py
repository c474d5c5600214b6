"""The tabs beside the making of clips: Gallery, Queue, Models and Settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from studio.core.errors import RequestError, StudioError
from studio.ui import fill
from studio.ui.editing import (
    Editor,
    build_editor,
    choices,
    make_edit,
    shown_fields,
    told,
    warned,
)
from studio.ui.engine import Engine
from studio.ui.form import Form
from studio.ui.markup import esc
from studio.ui.models_view import models_panel
from studio.ui.settings_view import settings_panel
from studio.ui.texts import ASSETS, Texts
from studio.ui.wire import QUIET, RAW, Panels, Updates, paint, said_by

CLICKS = (ASSETS / "clicks.js").read_text(encoding="utf-8")
FETCHING_S, STILL_S = 2.0, 3600.0


@dataclass(frozen=True)
class Places:
    """What stands in the tabs beside the first."""

    query: gr.Textbox
    starred: gr.Checkbox
    read: gr.UploadButton
    gallery: gr.HTML
    queue: gr.HTML
    models: gr.HTML
    settings: gr.HTML
    clock: gr.Timer
    """Runs fast while weights are being fetched."""
    editor: Editor
    gallery_tab: gr.Tab
    models_tab: gr.Tab
    settings_tab: gr.Tab


def panel(value: str, name: str) -> gr.HTML:
    """HTML whose buttons are events."""
    return gr.HTML(value, js_on_load=CLICKS, elem_id=name, apply_default_css=False)


def build_places(engine: Engine) -> Places:
    """The tabs; call it inside the `gr.Tabs` of the page."""
    t = engine.t
    with gr.Tab(t("gallery"), id="gallery", elem_id="place-gallery") as gallery_tab:
        query, starred, read = _gallery_tools(t)
        editor = build_editor(engine)
        gallery = panel("", "gallery")
    with gr.Tab(t("queue"), id="queue", elem_id="place-queue"):
        gr.HTML(f'<h2 class="vs-title">{esc(t("queue"))}</h2>', apply_default_css=False)
        queue = panel("", "queue")
        empty = f'<div class="vs-nothing vs-idle"><p>{esc(t("queue.empty"))}</p></div>'
        gr.HTML(empty, elem_id="queue-empty", apply_default_css=False)
    with gr.Tab(t("models"), id="models", elem_id="place-models") as models_tab:
        gr.HTML(f'<h2 class="vs-title">{esc(t("models"))}</h2>', apply_default_css=False)
        models = panel("", "models")
    with gr.Tab(t("settings"), id="settings", elem_id="place-settings") as settings_tab:
        gr.HTML(f'<h2 class="vs-title">{esc(t("settings"))}</h2>', apply_default_css=False)
        settings = panel("", "settings")
    return Places(
        query=query,
        starred=starred,
        read=read,
        gallery=gallery,
        queue=queue,
        models=models,
        settings=settings,
        clock=gr.Timer(STILL_S),
        editor=editor,
        gallery_tab=gallery_tab,
        models_tab=models_tab,
        settings_tab=settings_tab,
    )


def _gallery_tools(t: Texts) -> tuple[gr.Textbox, gr.Checkbox, gr.UploadButton]:
    """What stands beside the gallery's title."""
    with gr.Row(elem_classes="vs-tools", equal_height=True):
        gr.HTML(f"<h2>{esc(t('gallery'))}</h2>", apply_default_css=False)
        query = gr.Textbox(
            placeholder=t("gallery.search"),
            label=t("gallery.search"),
            show_label=False,
            max_lines=1,
            container=False,
            elem_id="gallery-search",
        )
        starred = gr.Checkbox(
            False, label=t("gallery.starred"), container=False, elem_id="gallery-starred"
        )
        read = gr.UploadButton(
            t("gallery.read"), file_types=[".mp4", ".json"], size="sm", elem_id="gallery-read"
        )
    return query, starred, read


def wire_places(
    demo: gr.Blocks, engine: Engine, forms: Mapping[str, Form], panels: Panels, places: Places
) -> None:
    """Every event of these tabs that is not a panel's of the first."""
    gr.on(
        [places.query.change, places.starred.change],
        lambda owner, page, text, only: fill.search(engine, panels, owner, page, text, only),
        [panels.owner, panels.page, places.query, places.starred],
        panels.live,
        **{**RAW, "trigger_mode": "always_last"},
    )
    parts = [part for form in forms.values() for part in form.parts.values()]
    places.read.upload(
        lambda file: _shown(panels, fill.read_file(engine, forms, panels, file)),
        places.read,
        [panels.modes, panels.places, *parts],
        **RAW,
    )

    wire_editor(engine, panels, places)

    def models() -> Updates:
        pace = FETCHING_S if engine.downloads.busy else STILL_S
        return {places.models: models_panel(engine), places.clock: gr.Timer(value=pace)}

    def fetch(event: gr.EventData) -> Updates:
        said = said_by(event)
        try:
            fetch_or_stop(engine, said["do"], said["id"])
        except StudioError as error:
            gr.Warning(engine.t.said(error), title="")
        return {**models(), places.settings: settings_panel(engine)}

    seen = [places.models, places.clock]
    gr.on([demo.load, places.models_tab.select, places.clock.tick], models, None, seen, **QUIET)
    gr.on(
        [demo.load, places.settings_tab.select],
        lambda: settings_panel(engine),
        None,
        places.settings,
        **QUIET,
    )
    for html in (places.models, places.settings):
        html.fetch(fetch, None, [*seen, places.settings], **QUIET)


def wire_editor(engine: Engine, panels: Panels, places: Places) -> None:
    """The editor's events; a new clip comes onto the stage."""
    editor = places.editor

    def listed(owner: object, now: object) -> list[Any]:
        found = choices(engine, engine.owner(owner))
        known = [value for _, value in found]
        chosen = now if now in known else next(iter(known), None)
        return [gr.update(choices=found, value=chosen), gr.update(choices=found)]

    def begin(owner: object, event: gr.EventData) -> Updates:
        found = choices(engine, engine.owner(owner))
        chosen = said_by(event)["id"]
        known = chosen if chosen in [value for _, value in found] else None
        return {
            editor.room: gr.Accordion(open=True),
            editor.clip: gr.update(choices=found, value=known),
            editor.fields["others"]: gr.update(choices=found),
            editor.said: "",
        }

    def make(data: dict[Any, Any]) -> Updates:
        owner, page = engine.owner(data[panels.owner]), data[panels.page]
        try:
            clip_id, file = make_edit(engine, editor, owner, data)
        except StudioError as error:
            return {editor.said: warned(engine.t, error)}
        updates: Updates = {
            editor.said: told(engine.t, clip_id),
            editor.file: gr.update(value=str(file) if file else None, visible=file is not None),
        }
        if clip_id:
            found = choices(engine, owner)
            updates[editor.clip] = gr.update(choices=found, value=clip_id)
            updates[editor.fields["others"]] = gr.update(choices=found)
            page = replace(page, focus=f"clip:{clip_id}", stamp=())
        return {**updates, **paint(engine, panels, owner, page)}

    both = [editor.clip, editor.fields["others"]]
    places.gallery_tab.select(listed, [panels.owner, editor.clip], both, **RAW)
    editor.kind.change(
        lambda kind: shown_fields(editor, kind), editor.kind, list(editor.fields.values()), **QUIET
    )
    opened = [editor.room, *both, editor.said]
    for html in (panels.stage, panels.gallery):
        html.edit(begin, panels.owner, opened, **QUIET)
    editor.go.click(
        make,
        {*editor.inputs, panels.owner, panels.page},
        [editor.said, editor.file, *both, *panels.live],
        **{**RAW, "queue": True, "concurrency_limit": 2, "trigger_mode": "once"},
    )


def fetch_or_stop(engine: Engine, do: str, preset_id: str) -> None:
    """What the buttons of Models and Settings do; only for whoever owns the machine.

    Raises:
        StudioError: if it is not theirs, or for another word.
    """
    if not engine.private:
        raise RequestError(engine.t("models.owner"))
    if do == "empty":
        engine.library.empty_trash()
    elif do == "start":
        engine.downloads.start(engine.preset(preset_id), engine.settings)
    elif do == "stop":
        engine.downloads.stop(engine.preset(preset_id))
    else:
        raise RequestError(f"there is no action {do[:40]!r}; reload the page")


def _shown(panels: Panels, updates: dict[Any, Any]) -> dict[Any, Any]:
    """The tab with the forms comes to the front when one was filled."""
    return {**updates, panels.places: gr.Tabs(selected="create")} if len(updates) > 1 else updates
