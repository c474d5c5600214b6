"""What a tab is, how tabs are found, and what picture tabs share."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import gradio as gr
from gradio.components import Component

from studio.core.errors import StudioError
from studio.core.request import Mode, parse_request
from studio.ui.engine import Engine
from studio.ui.form import Form, request_data
from studio.ui.pictures import fit_view
from studio.ui.plan_view import plan_error
from studio.ui.texts import ASSETS
from studio.ui.wire import RAW

EXAMPLES = ASSETS / "examples"


@dataclass(frozen=True)
class Tab:
    """One mode of the studio; its title is the word tab.<kind>."""

    kind: Mode
    order: int
    build: Callable[[Engine], Form]


def find_tabs() -> list[Tab]:
    """Every TAB in studio/ui/tabs, in its order."""
    package = import_module("studio.ui.tabs")
    modules = [
        import_module(f"studio.ui.tabs.{m.name}") for m in pkgutil.iter_modules(package.__path__)
    ]
    found = [m.TAB for m in modules if isinstance(getattr(m, "TAB", None), Tab)]
    return sorted(found, key=lambda tab: tab.order)


def show_fit(engine: Engine, form: Form, view: gr.HTML) -> None:
    """Keep `view` what the model will see, whenever a picture, the fit or the size changes."""
    names = [n for n in ("image", "last_image", "fit", "size", "preset") if n in form.parts]
    gr.on(
        [form.parts[name].change for name in names],  # type: ignore[attr-defined]
        lambda data: fit_text(engine, form, data),
        form.inputs,
        view,
        **{**RAW, "trigger_mode": "always_last"},
    )


def offer_example(engine: Engine, form: Form, button: gr.Button, files: Mapping[str, str]) -> None:
    """Let `button` fill the form with drawn pictures and a prompt that goes with them."""
    values = {"prompt": engine.t(f"example.{form.kind}")}

    def fill() -> dict[Component, Any]:
        drawn = {name: str(engine.lend(EXAMPLES / file)) for name, file in files.items()}
        return {form.parts[name]: value for name, value in {**values, **drawn}.items()}

    button.click(fill, None, [form.parts[name] for name in (*values, *files)], **RAW)


def fit_text(engine: Engine, form: Form, data: Mapping[Component, Any]) -> str:
    """The form's pictures at the size that the plan decides."""
    values = form.values(data)
    paths = [values[name] for name in ("image", "last_image") if name in values]
    blank: dict[str, Any] = {name: "-" for name in ("image", "last_image") if name in values}
    try:
        plan = engine.plan(parse_request(request_data(engine.t, form.kind, {**values, **blank})))
    except StudioError as error:
        return plan_error(engine.t.said(error))
    return fit_view(engine, paths, str(values["fit"]), (plan.width, plan.height))
