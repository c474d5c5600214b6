"""Draft, standard, quality, and settings that a person keeps under a name of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components import Component

from studio.core.preset import Preset
from studio.ui.engine import Engine

if TYPE_CHECKING:
    from studio.ui.form import Form

QUALITIES = ("draft", "standard", "quality")
STEPS = {"draft": 0.5, "standard": 1.0, "quality": 1.75}
CACHE = {"draft": "fast", "standard": "none", "quality": "none"}
MAX_KEPT = 40
MAX_NAME = 60
NOT_KEPT = ("prompt", "seed", "lock", "image", "last_image", "continue_from", "audio", "cards")
SECRET = "video-studio"


@dataclass(frozen=True)
class Recipes:
    """The components of one form's recipes."""

    quality: gr.Radio
    chosen: gr.Dropdown
    name: gr.Textbox
    save: gr.Button
    drop: gr.Button
    room: gr.Accordion
    """What they are folded into."""


def quality_choice(engine: Engine, kind: str) -> gr.Radio:
    """How much time a clip may take, in three words."""
    choices = [(engine.t(f"quality.{name}"), name) for name in QUALITIES]
    return gr.Radio(
        choices,
        value="standard",
        label=engine.t("quality"),
        elem_id=f"{kind}-quality",
        elem_classes="vs-segments",
    )


def quality_values(preset: Preset, quality: object) -> tuple[int, str]:
    """Steps and speed-up for one of QUALITIES."""
    name = quality if quality in QUALITIES else "standard"
    steps = round(preset.defaults.num_inference_steps * STEPS[str(name)])
    return max(1, min(preset.limits.max_steps, steps)), CACHE[str(name)]


def build_recipes(engine: Engine, kind: str, quality: gr.Radio, room: gr.Accordion) -> Recipes:
    """Name, save, choose and forget; built inside the advanced settings."""
    t = engine.t
    with gr.Row(equal_height=False, elem_classes="vs-recipes"):
        chosen = gr.Dropdown(
            [], value=None, label=t("recipes"), info=t("recipes.hint"), elem_id=f"{kind}-recipe"
        )
        name = gr.Textbox(
            label=t("recipes.name"), max_lines=1, max_length=MAX_NAME, elem_id=f"{kind}-recipe-name"
        )
    with gr.Row():
        save = gr.Button(t("recipes.save"), size="sm", elem_id=f"{kind}-recipe-save")
        drop = gr.Button(t("recipes.drop"), size="sm", elem_id=f"{kind}-recipe-drop")
    return Recipes(quality, chosen, name, save, drop, room)


def wire_recipes(demo: gr.Blocks, engine: Engine, form: Form, recipes: Recipes) -> None:
    """Every event of the recipes of one form."""
    from studio.ui.wire import QUIET, RAW

    parts = form.parts
    # At the top of the page: inside a folded part it would not read what the browser kept.
    kept = gr.BrowserState(None, storage_key=f"studio-recipes-{form.kind}", secret=SECRET)
    recipes.quality.input(
        lambda quality, preset: quality_values(engine.preset(preset), quality),
        [recipes.quality, parts["preset"]],
        [parts["steps"], parts["cache"]],
        **QUIET,
    )
    recipes.save.click(
        lambda data: _save(form, recipes, kept, data),
        {*form.inputs, recipes.name, kept},
        [kept, recipes.chosen, recipes.name],
        **RAW,
    )
    recipes.drop.click(
        lambda chosen, known: _drop(recipes, kept, chosen, known),
        [recipes.chosen, kept],
        [kept, recipes.chosen],
        **RAW,
    )
    recipes.chosen.input(
        lambda chosen, known: _take(form, chosen, known),
        [recipes.chosen, kept],
        [*parts.values(), form.error],
        **RAW,
    )
    # What is folded away is not there yet when the page loads.
    gr.on(
        [demo.load, recipes.room.expand],
        lambda known: gr.update(choices=sorted(_read(known)), value=None),
        kept,
        recipes.chosen,
        **QUIET,
    )


def _read(kept: object) -> dict[str, dict[str, Any]]:
    """What a browser stored, as far as it is a table of recipes."""
    if not isinstance(kept, dict):
        return {}
    good = {str(k)[:MAX_NAME]: v for k, v in kept.items() if isinstance(v, dict)}
    return dict(list(good.items())[:MAX_KEPT])


def _save(
    form: Form, recipes: Recipes, kept: gr.BrowserState, data: Mapping[Component, Any]
) -> dict[Component, Any]:
    name = " ".join(str(data[recipes.name] or "").split())[:MAX_NAME]
    if not name:
        return {recipes.chosen: gr.skip()}
    values = {k: v for k, v in form.values(data).items() if k not in NOT_KEPT}
    known = {**_read(data[kept]), name: values}
    return {
        kept: known,
        recipes.chosen: gr.update(choices=sorted(known), value=name),
        recipes.name: "",
    }


def _drop(
    recipes: Recipes, kept: gr.BrowserState, chosen: object, known: object
) -> dict[Component, Any]:
    left = {name: values for name, values in _read(known).items() if name != chosen}
    return {kept: left, recipes.chosen: gr.update(choices=sorted(left), value=None)}


def _take(form: Form, chosen: object, kept: object) -> dict[Component, Any]:
    from studio.ui.form import usable_draft

    values = _read(kept).get(str(chosen), {})
    usable = usable_draft({k: v for k, v in values.items() if k not in NOT_KEPT}, form.parts)
    return {form.parts[name]: value for name, value in usable.items()} or {form.error: gr.skip()}
