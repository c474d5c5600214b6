"""Handlers: form values -> request -> submit -> the parts of the page that changed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr
from gradio.components import Component

from studio.core.errors import StudioError
from studio.core.request import parse_request
from studio.ui.actions import act
from studio.ui.batch import submit_lines
from studio.ui.compare import submit_both
from studio.ui.director import wire_corner
from studio.ui.engine import Engine
from studio.ui.form import (
    PLANNING,
    Form,
    new_seed,
    preset_updates,
    request_data,
    usable_draft,
)
from studio.ui.live import PARTS, Page, look
from studio.ui.markup import esc
from studio.ui.plan_view import plan_error, plan_panel

QUIET: dict[str, Any] = {
    "queue": False,
    "show_progress": "hidden",
    "api_visibility": "private",
}
"""How every event of the page is listened to: at once, without a spinner, not an API."""
RAW: dict[str, Any] = {**QUIET, "preprocess": False}
"""Forms are read as they were sent: the request judges the values, and pictures are opened only
under our limits (Gradio's own preprocessing would open any file)."""
MAX_POSITION_S = 36_000.0
Updates = dict[Any, Any]
"""New values by component; parts that are not in it stay."""


@dataclass(frozen=True)
class Panels:
    """What is on the page beside the forms."""

    owner: gr.BrowserState
    page: gr.State
    stage: gr.HTML
    queue: gr.HTML
    gallery: gr.HTML
    announce: gr.HTML
    aside: gr.HTML
    timer: gr.Timer
    modes: gr.Tabs
    places: gr.Tabs

    @property
    def live(self) -> list[Component]:
        """What `paint` paints, in its order."""
        shown = [self.stage, self.queue, self.gallery, self.announce, self.aside]
        return [self.page, *shown, self.timer]

    def all(self) -> list[Component]:
        """The memory, too."""
        return [self.owner, *self.live]


def paint(engine: Engine, panels: Panels, owner: str, page: Page) -> Updates:
    """Updates for the parts that changed since `page` was painted, and the page's new memory."""
    fresh, changed = look(engine, owner, page)
    targets = dict(zip(PARTS, panels.live[1:], strict=True))
    updates: Updates = {panels.page: fresh} if fresh is not page else {}
    for name, text in changed.items():
        updates[targets[name]] = gr.Timer(value=float(text)) if name == "pace" else text
    return updates


def alert(message: str) -> str:
    """An error beside the button that caused it; read aloud at once."""
    return f'<p class="vs-alert" role="alert">{esc(message)}</p>'


def wire_form(engine: Engine, form: Form, panels: Panels) -> None:
    """Generate, the dice, the preset and the plan of one form."""
    outputs = [*panels.all(), form.error, form.parts["seed"]]
    went = form.go.click(
        lambda data: generate(engine, form, panels, data),
        {*form.inputs, panels.owner, panels.page},
        outputs,
        **{**RAW, "trigger_mode": "once"},
    )
    follow(engine, panels, went)
    for button, how in ((form.both, _both), (form.lines, _lines)):
        went = button.click(
            lambda data, how=how: generate(engine, form, panels, data, how),
            {*form.inputs, panels.owner, panels.page},
            outputs,
            **{**RAW, "trigger_mode": "once"},
        )
        follow(engine, panels, went)
    asked = (form.parts[name] for name in ("prompt", "preset", "seed"))
    wire_corner(engine, form.corner, *asked)
    form.dice.click(
        lambda: [new_seed(), True], None, [form.parts["seed"], form.parts["lock"]], **QUIET
    )
    names = list(preset_updates(engine.t, next(iter(engine.presets.values()))))
    form.parts["preset"].input(  # type: ignore[attr-defined]
        lambda name: list(preset_updates(engine.t, engine.preset(name)).values()),
        form.parts["preset"],
        [form.parts[name] for name in names],
        **QUIET,
    )
    parts = [form.parts[name] for name in PLANNING if name in form.parts]
    planning = [part.change for part in parts]  # type: ignore[attr-defined]
    gr.on(
        planning,
        lambda data: plan_text(engine, form, data),
        form.inputs,
        form.plan,
        **{**RAW, "trigger_mode": "always_last"},
    )


def generate(
    engine: Engine,
    form: Form,
    panels: Panels,
    data: Mapping[Component, Any],
    queue: Callable[[Engine, Mapping[str, Any], str, bool], str] | None = None,
) -> Updates:
    """Queue what the form says, once or as `queue` does; a sentence beside the button otherwise.

    `queue` takes the request, its owner and whether the seed is free, and gives what to show.
    """
    values = form.values(data)
    if not values["lock"]:
        values["seed"] = new_seed()
    owner = engine.owner(data[panels.owner])
    try:
        asked = request_data(engine.t, form.kind, values)
        focus = (queue or _one)(engine, asked, owner, not values["lock"])
    except StudioError as error:
        return {form.error: alert(engine.t.said(error))}
    page = replace(data[panels.page], focus=focus)
    return {
        panels.owner: owner,
        form.error: "",
        form.parts["seed"]: values["seed"],
        **paint(engine, panels, owner, page),
    }


def _one(engine: Engine, data: Mapping[str, Any], owner: str, free: bool) -> str:
    del free
    return f"job:{engine.submit(data, owner)}"


def _both(engine: Engine, data: Mapping[str, Any], owner: str, free: bool) -> str:
    del free
    return submit_both(engine, data, owner)


def _lines(engine: Engine, data: Mapping[str, Any], owner: str, free: bool) -> str:
    return f"jobs:{','.join(submit_lines(engine, data, owner, fresh=free))}"


def follow(engine: Engine, panels: Panels, event: Any) -> None:
    """After `event`, make the job on the stage inside this visitor's own event (ZeroGPU only)."""
    if engine.drive is None:
        return

    def made(owner: object, page: Page) -> Iterator[Updates]:
        known, (kind, _, ids) = engine.owner(owner), page.focus.partition(":")
        for job_id in ids.split(",") if kind in ("job", "jobs", "pair") else ():
            engine.job(job_id, known)
            for _ in engine.drive(job_id) if engine.drive else ():
                updates = paint(engine, panels, known, page)
                page = updates.get(panels.page, page)
                yield updates or {panels.stage: gr.skip()}

    inside = {**QUIET, "queue": True, "concurrency_limit": None}
    event.then(made, [panels.owner, panels.page], panels.live, **inside)


def plan_text(engine: Engine, form: Form, data: Mapping[Component, Any]) -> str:
    """The plan of the form as it stands; prompt and pictures do not matter to it."""
    values = {**form.values(data), "prompt": "-"}
    values.update({name: "-" for name in ("image", "last_image") if name in values})
    try:
        return plan_panel(
            engine.t, engine.estimated(parse_request(request_data(engine.t, form.kind, values)))
        )
    except StudioError as error:
        return plan_error(engine.t.said(error))


def poll(engine: Engine, panels: Panels, owner: object, page: Page) -> Updates:
    """What changed since the last look; gr.skip() when nothing did."""
    updates = paint(engine, panels, engine.owner(owner), page)
    return updates or {panels.stage: gr.skip()}


def arrive(engine: Engine, panels: Panels, owner: object, request: gr.Request) -> Updates:
    """A page was opened: find the visitor's jobs again; `/?job=ID` puts that job on the stage."""
    known = engine.owner(owner)
    wanted = str(dict(request.query_params).get("job", ""))[:80]
    page = Page(focus=f"job:{wanted}" if wanted else "")
    return {panels.owner: known, **paint(engine, panels, known, page)}


def pressed(
    engine: Engine, panels: Panels, owner: object, page: Page, event: gr.EventData
) -> Updates:
    """A button of a panel; what cannot be done is said as a warning."""
    known, said = engine.owner(owner), said_by(event)
    try:
        page = act(engine, known, page, said["do"], said["id"])
    except StudioError as error:
        gr.Warning(engine.t.said(error), title="")
    return paint(engine, panels, known, page) or {panels.stage: gr.skip()}


def keep_draft(form: Form, draft: gr.BrowserState) -> None:
    """Keep the form in the browser when it changes, and take back its error; no request is made.

    Nothing is kept before a person did something: the values that a page begins with would
    overwrite what is about to be restored.
    """
    parts = list(form.parts.values())
    named = f"Object.fromEntries({json.dumps(list(form.parts))}.map((name, i) => [name, v[i]]))"
    touched = "(!navigator.userActivation || navigator.userActivation.hasBeenActive)"
    script = f"(...v) => [{touched} ? {named} : v[v.length - 1]]"
    events = [part.change for part in parts]  # type: ignore[attr-defined]
    gr.on(events, None, [*parts, draft], draft, js=script, **QUIET)
    gr.on(events, None, None, form.error, js="() => ['']", **QUIET)


def restore_draft(engine: Engine, form: Form, draft: object) -> Updates:
    """A form as it was left, as far as what the browser kept makes sense."""
    updates: Updates = {
        form.parts[name]: value for name, value in usable_draft(draft, form.parts).items()
    }
    source = form.parts.get("continue_from")
    if updates.get(source):
        updates[source] = gr.update(value=updates[source], visible=True)
    for name in ("image", "last_image"):
        kept = draft.get(name) if isinstance(draft, dict) else None
        if name in form.parts and isinstance(kept, dict) and kept.get("path"):
            try:
                updates[form.parts[name]] = str(engine.uploaded(kept["path"]))
            except StudioError:
                continue
    return updates or {form.error: gr.skip()}


def said_by(event: gr.EventData) -> dict[str, Any]:
    """What a panel's script says, as far as it can be believed."""
    data = getattr(event, "_data", None)
    data = data if isinstance(data, dict) else {}
    at = data.get("at")
    number = float(at) if isinstance(at, int | float) and not isinstance(at, bool) else -1.0
    return {
        "do": str(data.get("do", ""))[:40],
        "id": str(data.get("id", ""))[:80],
        "mode": str(data.get("mode", ""))[:10],
        "at": number if math.isfinite(number) and 0 <= number < MAX_POSITION_S else None,
    }
