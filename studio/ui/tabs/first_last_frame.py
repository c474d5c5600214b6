"""First and last frame to video: the clip arrives at the second picture."""

from __future__ import annotations

import gradio as gr

from studio.ui.engine import Engine
from studio.ui.form import Form, build_form, picture_path
from studio.ui.pictures import fit_choice, picture
from studio.ui.tab import Tab, offer_example, show_fit
from studio.ui.wire import RAW


def build(engine: Engine) -> Form:
    """Two pictures, how they fit, and what should happen between them."""
    with gr.Row(equal_height=True):
        first = picture(engine.t, "image", "flf2v")
        last = picture(engine.t, "last_image", "flf2v")
    with gr.Row(equal_height=True):
        fit = fit_choice(engine.t, "flf2v")
        swap = gr.Button(f"⇄ {engine.t('swap')}", elem_id="flf2v-swap", elem_classes="vs-swap")
        example = gr.Button(engine.t("example.use"), elem_classes="vs-swap")
    view = gr.HTML("", elem_id="flf2v-fit-view")
    form = build_form(engine, "flf2v", {"image": first, "last_image": last, "fit": fit})
    swap.click(_swapped, [first, last], [first, last], **RAW)
    show_fit(engine, form, view)
    pictures = {"image": "ball-left.png", "last_image": "ball-right.png"}
    offer_example(engine, form, example, pictures)
    return form


def _swapped(first: object, last: object) -> tuple[object, object]:
    return picture_path(last), picture_path(first)


TAB = Tab(kind="flf2v", order=30, build=build)
