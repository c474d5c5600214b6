"""The director's corner of a form: off, normal or director; the rewrite as a diff and as cards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component
from pydantic import ValidationError

from studio.core.errors import RequestError, StudioError
from studio.core.preset import Preset
from studio.director.cards import (
    MAX_CARDS,
    Cards,
    cards_of,
    change,
    differences,
    edited,
    read_cards,
)
from studio.director.rewrite import Writer, directed_shots, rewrite
from studio.director.shots import CAMERA_MOVES, DirectedShot, Rewrite
from studio.jobs.rewriter import again, rewritten
from studio.ui.engine import Engine
from studio.ui.markup import esc
from studio.ui.texts import ASSETS, Texts

MODES = ("off", "normal", "director")
FIELDS = ("short", "dense", "background", "style", "shot_type", "lighting", "atmosphere")
ACTIONS = ("rewrite", "split", "add", "up", "down", "drop")
SCRIPT = (ASSETS / "cards.js").read_text(encoding="utf-8")
QUIET: dict[str, Any] = {
    **{"queue": False, "show_progress": "hidden", "api_visibility": "private"},
}


@dataclass(frozen=True)
class Corner:
    """The director's components in one form."""

    mode: gr.Radio
    write: gr.Button
    cards: gr.Textbox
    """The shot list as JSON; what is shown is drawn from it."""
    view: gr.HTML


def build_corner(t: Texts, kind: str) -> Corner:
    """The toggle, the button and the cards of one form; call it where they shall stand."""
    with gr.Row(elem_classes="vs-director", equal_height=True):
        mode = gr.Radio(
            [(t(f"director.{name}"), name) for name in MODES],
            value="off",
            label=t("director"),
            elem_id=f"{kind}-director",
            elem_classes="vs-segments",
            scale=3,
        )
        write = gr.Button(
            t("director.write"), size="sm", visible=False, scale=1, elem_id=f"{kind}-rewrite"
        )
    cards = gr.Textbox(visible="hidden", elem_id=f"{kind}-cards")
    view = gr.HTML("", js_on_load=SCRIPT, elem_id=f"{kind}-shots", apply_default_css=False)
    return Corner(mode, write, cards, view)


def wire_corner(
    engine: Engine, corner: Corner, prompt: Component, preset: Component, seed: Component
) -> None:
    """The events of one form's corner."""
    from studio.ui.form import read_seed  # which imports this module

    raw = {**QUIET, "preprocess": False}

    def write(idea: object, mode: object, name: object, seed: object) -> str:
        try:
            number = read_seed(engine.t, seed)
            return directed(engine, str(idea or ""), str(mode), name, number).model_dump_json()
        except StudioError as error:
            gr.Warning(engine.t.said(error), title="")
            return ""

    def press(kept: object, name: object, event: gr.EventData) -> Any:
        try:
            said = getattr(event, "_data", None)
            return pressed(kept, engine.preset(name), said, again(engine.settings))
        except StudioError as error:
            gr.Warning(engine.t.said(error), title="")
            return gr.skip()

    def show(kept: object, mode: object) -> str:
        try:
            cards = read_cards(kept)
        except StudioError:
            return ""
        return view_of(engine.t, cards) if cards is not None and mode != "off" else ""

    shown = [corner.cards, corner.mode]
    corner.mode.change(lambda m: gr.update(visible=m != "off"), corner.mode, corner.write, **raw)
    gr.on([corner.cards.change, corner.mode.change], show, shown, corner.view, **raw)
    corner.write.click(write, [prompt, corner.mode, preset, seed], corner.cards, **raw)
    corner.view.card(press, [corner.cards, preset], corner.cards, **raw)


def written(engine: Engine, idea: str, mode: str, preset: object, seed: int = 0) -> Rewrite:
    """The rewrite of an idea by the back end of the settings."""
    return rewritten(engine.settings, idea, mode, engine.preset(preset), seed)


def directed(engine: Engine, idea: str, mode: str, preset: object, seed: int = 0) -> Cards:
    """The cards of an idea."""
    return cards_of(written(engine, idea, mode, preset, seed))


def pressed(kept: object, preset: Preset, data: object, writer: Writer = rewrite) -> str:
    """The shot list after a card was edited or one of its buttons pressed.

    Raises:
        RequestError: if the browser says what no card can be.
    """
    cards, said = read_cards(kept), data if isinstance(data, dict) else {}
    rows = said.get("shots")
    if cards is None or not isinstance(rows, list) or not 0 < len(rows) <= MAX_CARDS:
        raise RequestError("there is no shot list; rewrite the idea first")
    try:
        names = (*FIELDS, "seconds", "camera", "join", "locked")
        shots = [DirectedShot(**{n: row[n] for n in names if n in row}) for row in rows]
    except (ValidationError, TypeError) as error:
        raise RequestError(
            "a shot needs a text of its own and 0.1 to 600 seconds; correct the card"
        ) from error
    cards = edited(cards, shots, preset)
    what, index = str(said.get("do")), str(said.get("id"))
    if what != "edit":
        cards = change(cards, what, int(index) if index.isdecimal() else -1, preset, writer)
    return cards.model_dump_json()


def director_data(t: Texts, kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """What the shot list adds to a request: idea, prompt and shots; {} when it is off.

    Raises:
        RequestError: if there is no list yet, or the idea is another one now.
    """
    mode, idea = values.get("director", "off"), values["prompt"] or ""
    if mode not in ("normal", "director"):
        return {}
    cards = read_cards(values.get("cards"))
    if cards is None or (idea != "-" and " ".join(idea.split()) != cards.original):
        if idea in ("", "-"):
            return {}
        raise RequestError(t("director.first"))
    said = {"director": mode, "idea": cards.original}
    if len(cards.shots) == 1 or kind == "avatar":
        return {**said, "prompt": " ".join(shot.text for shot in cards.shots)}
    shots = [{"prompt": s.text, "seconds": s.seconds, "join": s.join} for s in cards.shots]
    return {**said, "prompt": "", "seconds": None, "shots": shots}


def corner_values(request: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """A form's idea, toggle and cards from a stored request; {} if nothing was rewritten."""
    mode, idea = request.get("director", "off"), str(request.get("idea") or "")
    if mode not in ("normal", "director") or not idea:
        return {"director": "off", "cards": ""}
    rows = request.get("shots") or [{"prompt": request.get("prompt", ""), "seconds": seconds}]
    try:
        from studio.core.request import Shot

        shots = directed_shots(tuple(Shot(**row) for row in rows))
        cards = Cards(original=idea, mode=mode, backend="none", shots=shots)
    except (ValidationError, TypeError):
        return {"director": "off", "cards": ""}
    return {"prompt": idea, "director": mode, "cards": cards.model_dump_json()}


def view_of(t: Texts, cards: Cards) -> str:
    """The difference to the idea, and a card a shot."""
    looks = {"same": "span", "gone": "del", "new": "ins"}
    said = differences(cards.original, cards.text)
    diff = "".join(f"<{looks[how]}>{esc(text)}</{looks[how]}>" for how, text in said)
    notes = "".join(f'<p class="vs-alert" role="status">{esc(t.said(n))}</p>' for n in cards.notes)
    shots = "".join(_card(t, index, shot) for index, shot in enumerate(cards.shots))
    return (
        f'{notes}<p class="vs-diff" aria-label="{esc(t("director.diff"))}">{diff}</p>'
        f'<div class="vs-shots">{shots}</div>'
    )


def _card(t: Texts, index: int, shot: DirectedShot) -> str:
    number = t("director.shot", number=index + 1)
    fields = "".join(
        f'<label>{esc(t(f"director.{name}"))}<textarea name="{name}" rows="1">'
        f"{esc(getattr(shot, name))}</textarea></label>"
        for name in FIELDS[1:]
    )
    cameras = [(move, t(f"camera.{move.replace(' ', '-')}")) for move in CAMERA_MOVES]
    joins = [(join, t(f"director.join.{join}")) for join in ("continue", "cut")]
    buttons = "".join(
        f'<button type="button" class="vs-button" data-do="{do}" data-id="{index}" '
        f'aria-label="{esc(t(f"director.do.{do}"))}: {esc(number)}">'
        f"{esc(t(f'director.do.{do}'))}</button>"
        for do in ACTIONS
    )
    return (
        f'<fieldset class="vs-shot" data-shot="{index}"><legend>{esc(number)}</legend>'
        f'<label>{esc(t("director.short"))}<textarea name="short" rows="2">{esc(shot.short)}'
        f'</textarea></label><div class="vs-shot-row"><label>{esc(t("seconds"))}<input '
        f'name="seconds" type="number" min="0.1" step="any" value="{shot.seconds:g}"></label>'
        f"{_select(t('director.camera'), 'camera', cameras, shot.camera)}"
        f"{_select(t('director.join'), 'join', joins, shot.join)}"
        f'<label><input name="locked" type="checkbox"{" checked" if shot.locked else ""}>'
        f"{esc(t('director.lock'))}</label></div>"
        f"<details><summary>{esc(t('director.more'))}</summary>{fields}</details>"
        f'<p class="vs-muted">{esc(shot.text)}</p><div class="vs-shot-row">{buttons}</div>'
        "</fieldset>"
    )


def _select(label: str, name: str, choices: Sequence[tuple[str, str]], chosen: str) -> str:
    options = "".join(
        f'<option value="{value}"{" selected" if value == chosen else ""}>{esc(said)}</option>'
        for value, said in choices
    )
    return f'<label>{esc(label)}<select name="{name}">{options}</select></label>'
