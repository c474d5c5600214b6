"""The Models tab: what is on this machine, what fits it, and fetching the rest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from studio.core.errors import StudioError
from studio.core.preset import Preset
from studio.models.weights import find_folder
from studio.ui.downloads import Download
from studio.ui.engine import Engine
from studio.ui.markup import button, chip, esc, icon, size


@dataclass(frozen=True)
class Model:
    """A preset as this machine has it."""

    preset: Preset
    here: bool
    fits: bool | None
    """None: nobody can say."""
    advice: str
    memory_bytes: int
    download: Download | None


def look_at(engine: Engine, preset: Preset) -> Model:
    """Where the preset's weights are and whether its usual clip fits this machine."""
    try:
        here = bool(find_folder(preset))
    except StudioError:
        here = False
    need = engine.usual_need(preset)
    return Model(
        preset=preset,
        here=here,
        fits=None if need is None else need.fits,
        advice="" if need is None else need.advice,
        memory_bytes=0 if need is None else max(need.device_bytes, need.host_bytes),
        download=engine.downloads.state(preset),
    )


def models_panel(engine: Engine) -> str:
    """Every preset as a card: here first, then what fits, then the rest."""
    models = [look_at(engine, preset) for preset in engine.presets.values()]
    models.sort(key=lambda m: (not m.here, m.fits is False, m.memory_bytes))
    t = engine.t
    usable = "".join(_card(engine, m) for m in models if m.here or m.fits is not False)
    large = [_card(engine, m) for m in models if not m.here and m.fits is False]
    folded = ""
    if large:
        said = esc(t("models.large", n=len(large)))
        folded = (
            f'<details class="vs-large"><summary class="vs-button">{said}</summary>'
            f"<ul>{''.join(large)}</ul></details>"
        )
    return (
        f'<section class="vs-models" aria-label="{esc(t("models"))}">'
        f"{machine_line(engine)}<ul>{usable}</ul>{folded}"
        f'<p class="vs-muted vs-note">{esc(t("models.own"))}</p></section>'
    )


def machine_line(engine: Engine) -> str:
    """What this machine has free, as chips."""
    t, machine = engine.t, engine.machine()
    facts = [chip(t("machine.memory"), size(machine.host_free_bytes))]
    if machine.device_free_bytes is not None:
        facts.append(chip(t("machine.device"), size(machine.device_free_bytes)))
    else:
        facts.append(chip(t("machine.device"), t("machine.none")))
    facts.append(chip(t("machine.disk"), size(machine.disk_free_bytes)))
    return (
        f'<div class="vs-machine"><h3>{esc(t("machine"))}</h3>'
        f'<div class="vs-facts">{"".join(facts)}</div></div>'
    )


def _card(engine: Engine, model: Model) -> str:
    t, preset = engine.t, model.preset
    modes = "".join(f'<span class="vs-chip">{esc(t(f"tab.{m}"))}</span>' for m in preset.modes)
    if model.here:
        state = f'<span class="vs-badge vs-good">{icon("check")} {esc(t("models.here"))}</span>'
    else:
        state = f'<span class="vs-badge">{esc(t("models.away"))}</span>'
    described = t.words.get(f"model.{preset.id}") or t.said(preset.description)
    return (
        f'<li class="vs-model" data-preset="{esc(preset.id)}" data-here="{int(model.here)}">'
        f"<header><h3>{esc(preset.title)}</h3>{state}</header>"
        f'<p class="vs-muted">{esc(described)}</p><div class="vs-facts">{modes}</div>'
        f'<div class="vs-facts">{"".join(_facts(engine, model))}</div>'
        f"{_fit(engine, model)}{_get(engine, model)}</li>"
    )


def _facts(engine: Engine, model: Model) -> Iterable[str]:
    t, weights = engine.t, model.preset.weights
    if weights.licence_url.startswith("https://"):
        yield (
            f'<span class="vs-chip"><b>{esc(t("models.licence"))}</b> '
            f'<a href="{esc(weights.licence_url)}" target="_blank" rel="noreferrer">'
            f"{esc(weights.licence)}</a></span>"
        )
    else:
        yield chip(t("models.licence"), weights.licence)
    if model.memory_bytes:
        yield chip(t("models.memory"), size(model.memory_bytes))
    if weights.download_bytes:
        yield chip(t("models.download"), size(weights.download_bytes))


def _fit(engine: Engine, model: Model) -> str:
    t = engine.t
    if model.fits is None:
        return ""
    if model.fits:
        return f'<p class="vs-fits vs-good">{icon("check")} {esc(t("models.fits"))}</p>'
    return f'<p class="vs-warn">{esc(t("models.tight"))} {esc(t.said(model.advice))}</p>'


def _get(engine: Engine, model: Model) -> str:
    """The download: its progress, or the licence to accept first."""
    t, preset, download = engine.t, model.preset, model.download
    if download is not None and download.running:
        done = round(100 * download.share)
        said = t(
            "models.fetching", done=size(download.done_bytes), total=size(download.total_bytes)
        )
        return (
            f'<div class="vs-bar" role="progressbar" aria-label="{esc(t("models.progress"))}" '
            f'aria-valuemin="0" aria-valuemax="100" aria-valuenow="{done}">'
            f'<i style="width:{done}%"></i></div><div class="vs-now"><span>{esc(said)}</span>'
            f"{button('fetch', 'stop', preset.id, t('models.stop'), look='vs-small')}</div>"
        )
    if model.here or preset.weights.source != "hub":
        return ""
    failed = ""
    if download is not None and download.message:
        failed = f'<p class="vs-alert" role="alert">{esc(t.said(download.message))}</p>'
    if not engine.private:
        return failed + f'<p class="vs-note">{esc(t("models.owner"))}</p>'
    size_said = size(preset.weights.download_bytes) if preset.weights.download_bytes else "?"
    label = t("models.get", size=size_said)
    asked = t("models.accept", licence=preset.weights.licence)
    return (
        f'{failed}<details class="vs-get"><summary class="vs-button">{icon("download")}'
        f"<span>{esc(label)}</span></summary><p>{esc(t('models.terms'))}</p>"
        f"{button('fetch', 'start', preset.id, asked)}</details>"
    )
