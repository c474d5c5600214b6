"""The page: making clips (forms left, stage right), gallery, queue, models, settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware

from studio.core.preset import Preset
from studio.core.settings import Settings
from studio.jobs.store import JobStore
from studio.library.library import Library
from studio.ui import fill, wire
from studio.ui.api import public_api
from studio.ui.door import Door
from studio.ui.engine import Engine
from studio.ui.form import Form
from studio.ui.guard import Asgi, Guard
from studio.ui.links import Links, load_key
from studio.ui.live import IDLE_S, Page
from studio.ui.markup import esc, icon
from studio.ui.palette import variables
from studio.ui.places import build_places, panel, wire_places
from studio.ui.player import empty_stage
from studio.ui.policy import policy
from studio.ui.recipes import wire_recipes
from studio.ui.routes import own_routes
from studio.ui.settings_view import NAMES, help_dialog
from studio.ui.tab import find_tabs
from studio.ui.texts import ASSETS, LANGUAGES, Texts, texts
from studio.ui.theme import theme
from studio.ui.tongue import Tongue
from studio.ui.wire import QUIET, RAW, Panels

STORAGE_SECRET = "video-studio"  # not secret: Gradio sends it to every browser
KEPT_S = 2 * 24 * 3600


def make_engine(
    settings: Settings, store: JobStore, library: Library, presets: dict[str, Preset]
) -> Engine:
    """What the page and its routes share."""
    links = Links(load_key(settings.data_dir / "studio.key"))
    return Engine(settings, store, library, presets, texts(settings.language), links)


def build(
    settings: Settings, store: JobStore, library: Library, presets: dict[str, Preset]
) -> gr.Blocks:
    """The studio as Gradio blocks; nothing is served yet."""
    return build_page(make_engine(settings, store, library, presets))


@dataclass(frozen=True)
class Laid:
    """A page and the parts that its handlers know."""

    demo: gr.Blocks
    forms: dict[str, Form]
    panels: Panels


def build_page(engine: Engine) -> gr.Blocks:
    """The page of one engine."""
    return lay_out(engine).demo


def lay_out(engine: Engine) -> Laid:
    """The page, built and wired."""
    t = engine.t
    demo: gr.Blocks = gr.Blocks(
        title=t("app"), analytics_enabled=False, fill_width=True, delete_cache=(3600, KEPT_S)
    )
    with demo:
        gr.HTML(_header(t), elem_id="vs-header")
        with gr.Tabs(elem_id="places") as tabs:
            with (
                gr.Tab(t("create"), id="create", elem_id="place-create"),
                gr.Row(elem_classes="vs-work", equal_height=False),
            ):
                with gr.Column(scale=5, min_width=320, elem_classes="vs-left"):
                    modes, forms = _modes(engine)
                with gr.Column(scale=6, min_width=320, elem_classes="vs-right"):
                    stage = panel(empty_stage(t), "stage")
                    aside = panel("", "aside")
            places = build_places(engine)
        announce = gr.HTML("", elem_id="announce", elem_classes="vs-spoken")
        panels = Panels(
            owner=gr.BrowserState(None, storage_key="studio-owner", secret=STORAGE_SECRET),
            page=gr.State(Page()),
            stage=stage,
            queue=places.queue,
            gallery=places.gallery,
            announce=announce,
            aside=aside,
            timer=gr.Timer(IDLE_S),
            modes=modes,
            places=tabs,
        )
        _wire(demo, engine, forms, panels)
        wire_places(demo, engine, forms, panels, places)
        for endpoint in public_api(engine):
            gr.api(  # type: ignore[attr-defined]
                endpoint, api_name=endpoint.__name__, queue=False
            )
    demo.queue(default_concurrency_limit=8, max_size=128)
    return Laid(demo, forms, panels)


def _modes(engine: Engine) -> tuple[gr.Tabs, dict[str, Form]]:
    """A tab for every mode that some preset offers."""
    offered = {mode for preset in engine.presets.values() for mode in preset.modes}
    forms: dict[str, Form] = {}
    with gr.Tabs(elem_id="modes") as modes:
        for tab in find_tabs():
            if tab.kind in offered:
                with gr.Tab(engine.t(f"tab.{tab.kind}"), id=tab.kind):
                    forms[tab.kind] = tab.build(engine)
    return modes, forms


def _wire(demo: gr.Blocks, engine: Engine, forms: Mapping[str, Form], panels: Panels) -> None:
    """Every event of the page."""
    everything = [part for form in forms.values() for part in form.parts.values()]
    for form in forms.values():
        wire.wire_form(engine, form, panels)
        wire_recipes(demo, engine, form, form.recipes)
        draft = gr.BrowserState(
            None, storage_key=f"studio-draft-{form.kind}", secret=STORAGE_SECRET
        )
        wire.keep_draft(form, draft)
        _restore(demo, engine, form, draft)

    def arrive(owner: Any, request: gr.Request) -> dict[Any, Any]:
        return wire.arrive(engine, panels, owner, request)

    def poll(owner: Any, page: Page) -> dict[Any, Any]:
        return wire.poll(engine, panels, owner, page)

    def pressed(owner: Any, page: Page, event: gr.EventData) -> dict[Any, Any]:
        return wire.pressed(engine, panels, owner, page, event)

    def reuse(owner: Any, event: gr.EventData) -> dict[Any, Any]:
        return fill.reuse(engine, forms, panels, owner, event)

    def use_frame(owner: Any, event: gr.EventData) -> dict[Any, Any]:
        return fill.use_frame(engine, forms, panels, owner, event)

    demo.load(arrive, panels.owner, panels.all(), **QUIET)
    panels.timer.tick(poll, [panels.owner, panels.page], panels.live, **QUIET)
    for html in (panels.stage, panels.queue, panels.gallery, panels.aside):
        done = html.act(pressed, [panels.owner, panels.page], panels.live, **QUIET)
        wire.follow(engine, panels, done)
        html.reuse(reuse, panels.owner, [panels.modes, *everything], **QUIET)
        html.frame(use_frame, panels.owner, [panels.modes, *everything], **QUIET)
    _wire_examples(engine, forms["t2v"], panels)


def _wire_examples(engine: Engine, form: Form, panels: Panels) -> None:
    def example(data: dict[Any, Any], event: gr.EventData) -> dict[Any, Any]:
        return fill.try_example(engine, form, panels, data, event)

    parts = [form.parts[name] for name in ("prompt", "seed")]
    tried = panels.stage.example(
        example,
        {*form.inputs, panels.owner, panels.page},
        [*panels.all(), panels.modes, form.error, *parts],
        **RAW,
    )
    wire.follow(engine, panels, tried)


def _restore(demo: gr.Blocks, engine: Engine, form: Form, draft: gr.BrowserState) -> None:
    parts = [*form.parts.values(), form.error]
    restored = demo.load(lambda kept: wire.restore_draft(engine, form, kept), draft, parts, **QUIET)
    # Changed parts plan by themselves; a form without a draft still needs its first plan.
    restored.then(lambda data: wire.plan_text(engine, form, data), form.inputs, form.plan, **RAW)


def _header(t: Texts) -> str:
    switch, keys = esc(t("theme")), esc(t("settings.keys"))
    other = next(name for name in LANGUAGES if name != t.language)
    return (
        f'<header class="vs-header"><h1>{icon("film")}<span>{esc(t("app"))}</span></h1>'
        f'<p class="vs-muted">{esc(t("tagline"))}</p>'
        f'<button type="button" class="vs-button" lang="{other}" data-language="{other}">'
        f"{NAMES[other]}</button>"
        f'<button type="button" class="vs-button vs-only-icon" data-help title="{keys}" '
        f'aria-label="{keys}">{icon("help")}</button>'
        f'<button type="button" class="vs-button vs-only-icon" data-theme-switch title="{switch}" '
        f'aria-label="{switch}">{icon("theme")}</button></header>{help_dialog(t)}'
    )


def launch_arguments(
    settings: Settings, store: JobStore, library: Library, presets: dict[str, Preset]
) -> dict[str, Any]:
    """How the page is served: closed by default, nothing from other machines."""
    return arguments_for(make_engine(settings, store, library, presets))


def arguments_for(engine: Engine) -> dict[str, Any]:
    """`Blocks.launch` arguments for one engine."""
    settings = engine.settings
    door = Door(settings.password, engine.links.key, engine.t)
    guard = Middleware(Guard, policy=policy(settings), own=own_routes(engine, door), door=door)

    async def other(language: str) -> Asgi:
        speaking = engine.speaking(language)
        page = await run_in_threadpool(build_page, speaking)
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        gr.mount_gradio_app(app, page, path="", **_looks(speaking))
        # Its lifespan would end long after the request that began it: what matters is done here.
        page.run_startup_events()
        await page.run_extra_startup_events()
        return app  # type: ignore[return-value]

    tongue = Middleware(Tongue, usual=engine.t.language, build=other)
    return {
        **_looks(engine),
        "server_name": settings.host,
        "server_port": settings.port or None,
        "share": settings.share,
        "enable_monitoring": False,
        "quiet": True,
        "mcp_server": settings.mcp,
        "prevent_thread_lock": True,
        "app_kwargs": {"middleware": [guard, tongue], "docs_url": None, "redoc_url": None},
    }


def _looks(engine: Engine) -> dict[str, Any]:
    """What every language's application is given."""
    script = (ASSETS / "studio.js").read_text(encoding="utf-8")
    lang = f"document.documentElement.lang={engine.t.language!r};"
    return {
        "ssr_mode": False,
        "run_history": False,
        "pwa": False,
        "footer_links": ["api"],
        "max_file_size": "64mb",
        "allowed_paths": [],
        "blocked_paths": _blocked(engine.settings),
        "show_error": False,
        "theme": theme(),
        "css": variables() + (ASSETS / "studio.css").read_text(encoding="utf-8"),
        "head": f"{(ASSETS / 'head.html').read_text(encoding='utf-8')}"
        f"<script>{lang}{script}</script>",
    }


def _blocked(settings: Settings) -> list[str]:
    names = ("jobs.sqlite", "studio.key", "outputs", "inputs", "work", "presets", "loras")
    return [str(Path(settings.data_dir) / name) for name in (*names, "backups")]
