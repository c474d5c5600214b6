"""Audio avatar: a portrait that says what is heard, one track a speaker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr
from gradio.components import Component

from studio.core.errors import StudioError
from studio.core.request import parse_request
from studio.ui.engine import Engine
from studio.ui.form import Form, build_form, picture_path, request_data
from studio.ui.markup import esc
from studio.ui.pictures import fit_choice, picture
from studio.ui.sounds import TRACKS, faces_view, find_in, sound_view, write_faces
from studio.ui.tab import EXAMPLES, Tab
from studio.ui.texts import ASSETS, Texts
from studio.ui.wire import RAW

ONE = {"image": "portrait.png", "audio_1": "voice.flac", "audio_2": None}
TWO = {"image": "pair.png", "audio_1": "voice.flac", "audio_2": "voice-2.flac"}
BOXES = {"portrait.png": "36, 28, 54, 68", "pair.png": "15, 49, 36, 45\n77, 48, 36, 45"}
"""Where the faces of the drawn portraits are."""
PLANNED = ("preset", "steps", "guidance", "method", "overlap", "shift", "ends", "size", *TRACKS)


def build(engine: Engine) -> Form:
    """A portrait, its faces, and who says what."""
    t = engine.t
    about = gr.HTML("", elem_id="avatar-about", apply_default_css=False)
    with gr.Row(equal_height=True):
        image = picture(t, "portrait", "avatar")
        with gr.Column(min_width=150):
            boxes = gr.HTML(
                "",
                js_on_load=(ASSETS / "faces.js").read_text(encoding="utf-8"),
                elem_id="avatar-faces-view",
                apply_default_css=False,
            )
            fit = fit_choice(t, "avatar")
    faces = gr.Textbox(
        label=t("faces"), info=t("faces.hint"), lines=2, max_lines=4, elem_id="avatar-faces"
    )
    with gr.Row(equal_height=True):
        tracks = [_track(t, name, k + 1) for k, name in enumerate(TRACKS)]
    waves = gr.HTML("", elem_id="avatar-waves", apply_default_css=False)
    with gr.Row():
        one = gr.Button(t("example.portrait"), size="sm", elem_id="avatar-example")
        two = gr.Button(t("example.pair"), size="sm", elem_id="avatar-example-2")
    given = {"image": image, "fit": fit, "faces": faces, **dict(zip(TRACKS, tracks, strict=True))}
    form = build_form(engine, "avatar", given)
    form.parts["seconds"].visible = False  # the sound's length is the clip's
    _wire(engine, form, boxes, waves, about)
    for button, files in ((one, ONE), (two, TWO)):
        _offer(engine, form, button, files)
    return form


def _track(t: Texts, name: str, number: int) -> gr.Audio:
    return gr.Audio(
        label=t("audio.speaker", k=number),
        sources=["upload", "microphone"],
        type="filepath",
        buttons=[],
        elem_id=f"avatar-{name.replace('_', '-')}",
        min_width=160,
    )


def _wire(engine: Engine, form: Form, boxes: gr.HTML, waves: gr.HTML, about: gr.HTML) -> None:
    image, faces = form.parts["image"], form.parts["faces"]
    quiet = {**RAW, "trigger_mode": "always_last"}
    image.upload(  # type: ignore[attr-defined]
        lambda value: _found(engine, value), image, faces, **quiet
    )
    gr.on(
        [image.change, faces.change],  # type: ignore[attr-defined]
        lambda value, text: faces_view(engine, picture_path(value), text),
        [image, faces],
        boxes,
        **quiet,
    )
    gr.on(
        [form.parts[name].change for name in PLANNED],  # type: ignore[attr-defined]
        lambda data: _sounds(engine, form, data),
        form.inputs,
        waves,
        **quiet,
    )
    gr.on(
        [form.parts["preset"].change],  # type: ignore[attr-defined]
        lambda name: about_model(engine, name),
        form.parts["preset"],
        about,
        **quiet,
    )
    about.value = about_model(engine, form.parts["preset"].value)  # type: ignore[attr-defined]


def about_model(engine: Engine, name: object) -> str:
    """What the chosen model can and cannot do, and its licence."""
    try:
        preset = engine.preset(name)
    except StudioError as error:
        return f'<p class="vs-warn">{esc(engine.t.said(error))}</p>'
    key = f"about.{preset.family}"
    said = engine.t(key) if key in engine.t.words else preset.description
    licence = engine.t("about.licence", licence=preset.weights.licence)
    return f'<p class="vs-note">{esc(said)} {esc(licence)}</p>'


def _found(engine: Engine, value: object) -> str:
    try:
        return write_faces(find_in(engine, picture_path(value)))
    except StudioError:
        return ""  # the view beside says what is wrong with the picture


def _sounds(engine: Engine, form: Form, data: Mapping[Component, Any]) -> str:
    values = {**form.values(data), "prompt": "-", "image": "-"}
    try:
        asked = parse_request(request_data(engine.t, "avatar", values))
        plan = engine.plan(asked)
    except StudioError:
        plan = None  # the plan beside Generate says why there is none
    return sound_view(engine, [values[name] for name in TRACKS], plan)


def _offer(engine: Engine, form: Form, button: gr.Button, files: Mapping[str, Any]) -> None:
    """Let `button` fill the form with a drawn portrait and what it says."""
    names = [*files, "faces", "prompt"]

    def fill() -> dict[Component, Any]:
        lent = {
            name: None if file is None else str(engine.lend(EXAMPLES / file))
            for name, file in files.items()
        }
        values = {**lent, "faces": BOXES[str(files["image"])], "prompt": ""}
        return {form.parts[name]: values[name] for name in names}

    button.click(fill, None, [form.parts[name] for name in names], **RAW)


TAB = Tab(kind="avatar", order=40, build=build)
