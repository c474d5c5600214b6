"""Forms filled from what was made before: a clip's settings, a frame of it, an example, a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from studio.core.errors import RequestError, StudioError
from studio.core.request import dump_request
from studio.media.metadata import read_metadata
from studio.ui.engine import PICTURES, Engine
from studio.ui.form import Form, form_values, picture_path
from studio.ui.live import Page
from studio.ui.pictures import frame_of
from studio.ui.sounds import kept_values
from studio.ui.wire import Panels, Updates, generate, paint, said_by

EXAMPLE_SEED = "1"
Forms = Mapping[str, Form]


def fill(
    engine: Engine,
    forms: Forms,
    panels: Panels,
    request: Mapping[str, Any],
    plan: Mapping[str, Any] | None = None,
) -> Updates:
    """Put a request into the form of its mode and show that form.

    Raises:
        StudioError: if the mode or the preset is not here any more.
    """
    kind = str(request.get("kind", "t2v"))
    if kind not in forms:
        raise RequestError(f"there is no tab for {kind[:20]!r} here; choose another clip")
    form = forms[kind]
    preset = engine.preset(request.get("preset", "pocket"))
    values = form_values(request, preset, plan or {})
    for name in PICTURES:
        kept = engine.settings.inputs_dir / Path(str(request.get(name) or "-")).name
        if kept.is_file():
            values[name] = str(engine.lend(kept))
    if kind == "avatar":
        values |= kept_values(engine, request)
    updates: Updates = {form.parts[name]: values[name] for name in form.parts if name in values}
    if "continue_from" in form.parts:
        source = str(request.get("continue_from") or "")
        updates[form.parts["continue_from"]] = gr.update(value=source, visible=bool(source))
    return {panels.modes: gr.Tabs(selected=kind), **updates}


def reuse(
    engine: Engine, forms: Forms, panels: Panels, owner: object, event: gr.EventData
) -> Updates:
    """A clip's settings again, or a clip that goes on where it ends."""
    said = said_by(event)
    try:
        clip = engine.clip(said["id"], engine.owner(owner))
        if said["do"] == "continue":
            request = {**clip.request, "kind": "t2v", "continue_from": clip.id}
            return _told(engine, "said.continue", fill(engine, forms, panels, request, clip.plan))
        updates = fill(engine, forms, panels, clip.request, clip.plan)
    except StudioError as error:
        return _warned(engine, panels, error)
    return _told(engine, "said.reused", updates)


def use_frame(
    engine: Engine, forms: Forms, panels: Panels, owner: object, event: gr.EventData
) -> Updates:
    """Put a frame of a clip into the form as the first or the last picture."""
    said = said_by(event)
    last = said["do"] == "last"
    kind = "flf2v" if last or said["mode"] == "flf2v" else "i2v"
    try:
        clip = engine.clip(said["id"], engine.owner(owner))
        path = str(frame_of(engine, clip.path, said["at"], end=not last))
    except StudioError as error:
        return _warned(engine, panels, error)
    part = forms[kind].parts["last_image" if last else "image"]
    return _told(engine, "said.frame", {panels.modes: gr.Tabs(selected=kind), part: path})


def read_file(engine: Engine, forms: Forms, panels: Panels, file: object) -> Updates:
    """The settings that an uploaded clip carries; it is not believed, but judged like a form."""
    try:
        found = read_metadata(engine.uploaded(picture_path(file), "clip"))
        updates = fill(engine, forms, panels, dump_request(found.request))
    except StudioError as error:
        return _warned(engine, panels, error)
    for notice in found.notices[:3]:
        gr.Info(engine.t.said(notice), title="")
    return _told(engine, "said.reused", updates)


def try_example(
    engine: Engine, form: Form, panels: Panels, data: Mapping[Component, Any], event: gr.EventData
) -> Updates:
    """One click: the example's prompt goes into the form and is made."""
    number = said_by(event)["id"]
    prompt = engine.t.words.get(f"example.{number}", engine.t("example.0"))
    values = {"prompt": prompt, "seed": EXAMPLE_SEED}
    filled: Updates = {form.parts[name]: value for name, value in values.items()}
    made = generate(engine, form, panels, {**data, **filled, form.parts["lock"]: True})
    return {panels.modes: gr.Tabs(selected=form.kind), **filled, **made}


def search(
    engine: Engine, panels: Panels, owner: object, page: Page, query: object, starred: object
) -> Updates:
    """The gallery with only the clips that are looked for."""
    page = replace(page, query=str(query or "")[:200], starred=starred is True)
    return paint(engine, panels, engine.owner(owner), page) or {panels.stage: gr.skip()}


def _told(engine: Engine, word: str, updates: Updates) -> Updates:
    gr.Info(engine.t(word), title="", duration=3)
    return updates


def _warned(engine: Engine, panels: Panels, error: StudioError) -> Updates:
    gr.Warning(engine.t.said(error), title="")
    return {panels.modes: gr.skip()}
