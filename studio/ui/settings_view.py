"""The Settings tab: look, language, storage, this machine, shortcuts, programs."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from studio.ui.engine import Engine
from studio.ui.markup import button, chip, esc, size
from studio.ui.models_view import machine_line
from studio.ui.texts import LANGUAGES, Texts

NAMES = {"en": "English", "zh": "中文"}
KEYS = (
    ("Ctrl + Enter", "generate"),
    ("Esc", "cancel"),
    ("← →", "arrows"),
    ("1 … 5", "places"),
    ("?", "help"),
)
PACKAGES = ("gradio", "torch", "diffusers", "transformers", "av")


def settings_panel(engine: Engine) -> str:
    """All cards of the tab."""
    t = engine.t
    cards = [
        _card(t("settings.look"), _look(t)),
        _card(t("settings.language"), _language(t)),
        _card(t("settings.storage"), _storage(engine)),
        _card(t("settings.machine"), machine_line(engine)),
        _card(t("settings.keys"), keys_list(t)),
        _card(t("settings.programs"), _programs(engine)),
        _card(t("settings.about"), _about(t)),
    ]
    return (
        f'<section class="vs-settings" aria-label="{esc(t("settings"))}">{"".join(cards)}</section>'
    )


def keys_list(t: Texts) -> str:
    """The shortcuts as a list."""
    rows = "".join(
        f"<dt><kbd>{esc(keys)}</kbd></dt><dd>{esc(t(f'keys.{what}'))}</dd>" for keys, what in KEYS
    )
    return f'<dl class="vs-keys">{rows}</dl>'


def help_dialog(t: Texts) -> str:
    """What `?` opens."""
    title, close = esc(t("settings.keys")), esc(t("close"))
    return (
        f'<dialog id="vs-help" aria-labelledby="vs-help-title"><h2 id="vs-help-title">{title}</h2>'
        f"{keys_list(t)}<form method='dialog'><button class='vs-button'>{close}</button></form>"
        "</dialog>"
    )


def _card(title: str, inside: str) -> str:
    return f'<div class="vs-setting"><h3>{esc(title)}</h3>{inside}</div>'


def _look(t: Texts) -> str:
    choices = "".join(
        f'<button type="button" class="vs-button" data-theme-set="{name}" aria-pressed="false">'
        f"{esc(t(f'look.{name}'))}</button>"
        for name in ("auto", "light", "dark")
    )
    return f'<div class="vs-actions">{choices}</div>'


def _language(t: Texts) -> str:
    choices = "".join(
        f'<button type="button" class="vs-button" lang="{name}" data-language="{name}" '
        f'aria-pressed="{str(name == t.language).lower()}">{NAMES[name]}</button>'
        for name in LANGUAGES
    )
    return f'<div class="vs-actions">{choices}</div>'


def _storage(engine: Engine) -> str:
    t, usage = engine.t, engine.library.usage()
    facts = chip(t("settings.free"), size(usage.free_bytes))
    if not engine.private:
        return f'<div class="vs-facts">{facts}</div>'
    facts = (
        chip(t("settings.clips"), f"{usage.clips} · {size(usage.clips_bytes)}")
        + chip(t("settings.bin"), f"{usage.trash} · {size(usage.trash_bytes)}")
        + facts
    )
    empty = button("fetch", "empty", "", t("settings.empty")) if usage.trash else ""
    place = esc(t("settings.place", folder=engine.settings.data_dir))
    return f'<div class="vs-facts">{facts}</div><p class="vs-muted">{place}</p>{empty}'


def _programs(engine: Engine) -> str:
    t = engine.t
    said = t("settings.mcp.on") if engine.settings.mcp else t("settings.mcp.off")
    backend, server = engine.settings.llm_backend, engine.settings.llm_base_url
    written = backend in ("local", "endpoint") or (backend == "auto" and server)
    rewriter = t("settings.llm.on") if written else t("settings.llm.off")
    link = '<a href="?view=api">' + esc(t("settings.api")) + "</a>"
    return f"<p>{link}</p><p>{esc(said)}</p><p>{esc(rewriter)}</p>"


def _about(t: Texts) -> str:
    facts = chip("Python", platform.python_version())
    for name in PACKAGES:
        try:
            facts += chip(name, version(name).split("+")[0])
        except PackageNotFoundError:
            facts += chip(name, "–")
    return (
        f'<div class="vs-facts">{facts}</div><p class="vs-muted">{esc(t("settings.licence"))}</p>'
    )
