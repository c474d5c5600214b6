"""First and last frame to video: the clip arrives at the second picture."""

from __future__ import annotations

import gradio as gr

from studio.ui.engine import Engine
from studio.ui.form import Form, build_form
from studio.ui.pictures import fit_choice, picture
from studio.ui.tab import Tab, show_fit
from studio.ui.wire import QUIET


def build(engine: Engine) -> Form:
    """Two pictures, how they fit, and what should happen between them."""
    with gr.Row(equal_height=True):
        first = picture(engine.t, "image", "flf2v")
        last = picture(engine.t, "last_image", "flf2v")
    with gr.Row(equal_height=True):
        fit = fit_choice(engine.t, "flf2v")
        swap = gr.Button(f"⇄ {engine.t('swap')}", elem_id="flf2v-swap", elem_classes="vs-swap")
    view = gr.HTML("", elem_id="flf2v-fit-view")
    form = build_form(engine, "flf2v", {"image": first, "last_image": last, "fit": fit})
    swap.click(lambda a, b: (b, a), [first, last], [first, last], **QUIET)
    show_fit(engine, form, view)
    return form


TAB = Tab(kind="flf2v", order=30, build=build)
