"""Image to video: the clip begins with a picture."""

from __future__ import annotations

import gradio as gr

from studio.ui.engine import Engine
from studio.ui.form import Form, build_form
from studio.ui.pictures import fit_choice, picture
from studio.ui.tab import Tab, offer_example, show_fit


def build(engine: Engine) -> Form:
    """A picture, how it fits, and what should happen."""
    with gr.Row(equal_height=True):
        image = picture(engine.t, "image", "i2v")
        with gr.Column(min_width=150):
            view = gr.HTML("", elem_id="i2v-fit-view")
            fit = fit_choice(engine.t, "i2v")
            example = gr.Button(engine.t("example.use"), size="sm", elem_classes="vs-quiet")
    form = build_form(engine, "i2v", {"image": image, "fit": fit})
    show_fit(engine, form, view)
    offer_example(engine, form, example, {"image": "star.png"})
    return form


TAB = Tab(kind="i2v", order=20, build=build)
