"""Editing what was made: trim, loop, join, sound, GIF, still, larger. Always a new clip or file."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from studio.core.errors import MediaError, RequestError, StudioError
from studio.library.clip import Clip, new_clip_id
from studio.media import edit
from studio.media.edit import Edited
from studio.media.export import export_gif, export_still
from studio.ui.engine import Engine
from studio.ui.form import picture_path
from studio.ui.markup import esc, number, shorten
from studio.ui.texts import Texts
from studio.ui.upscaling import upscale_clip, upscalers

KINDS = ("trim", "loop", "join", "sound", "gif", "still", "larger")
NEEDS: dict[str, tuple[str, ...]] = {
    "trim": ("start", "stop"),
    "loop": ("style", "times", "fade"),
    "join": ("others", "fade"),
    "sound": ("sound", "keep"),
    "gif": ("side",),
    "still": ("at",),
    "larger": ("model",),
}
"""Which fields an edit shows."""
LISTED = 200


@dataclass(frozen=True)
class Editor:
    """The components of the editor."""

    room: gr.Accordion
    clip: gr.Dropdown
    kind: gr.Radio
    fields: dict[str, Component]
    go: gr.Button
    said: gr.HTML
    file: gr.File

    @property
    def inputs(self) -> set[Component]:
        """All that an edit reads."""
        return {self.clip, self.kind, *self.fields.values()}


def build_editor(engine: Engine) -> Editor:
    """The folded editor above the cards."""
    t = engine.t
    with gr.Accordion(t("edit"), open=False, elem_id="edit", elem_classes="vs-edit") as room:
        with gr.Row():
            clip = gr.Dropdown([], label=t("edit.clip"), elem_id="edit-clip", min_width=240)
            kind = gr.Radio(
                [(t(f"edit.{name}"), name) for name in KINDS],
                value="trim",
                label=t("edit.kind"),
                elem_id="edit-kind",
                min_width=280,
            )
        with gr.Row():
            fields = _fields(t, engine)
        with gr.Row():
            go = gr.Button(t("edit.go"), variant="primary", elem_id="edit-go", scale=0)
        said = gr.HTML("", elem_id="edit-said")
        file = gr.File(label=t("edit.file"), visible=False, elem_id="edit-file")
    return Editor(room, clip, kind, fields, go, said, file)


def _fields(t: Texts, engine: Engine) -> dict[str, Component]:
    seen = {name: name in NEEDS["trim"] for names in NEEDS.values() for name in names}

    def count(name: str, value: float, **more: Any) -> gr.Number:
        return gr.Number(
            value, label=t(f"edit.{name}"), visible=seen[name], elem_id=f"edit-{name}", **more
        )

    styles = [(t(f"edit.style.{name}"), name) for name in ("ping-pong", "ring")]
    models = [(path.stem, path.name) for path in upscalers(engine.settings)]
    return {
        "start": count("start", 0.0, step=0.1),
        "stop": count("stop", 1.0, step=0.1),
        "style": gr.Radio(styles, value="ping-pong", label=t("edit.style"), visible=False),
        "times": count("times", 2, precision=0),
        "others": gr.Dropdown([], multiselect=True, label=t("edit.others"), visible=False),
        "fade": count("fade", 0.4, step=0.1),
        "sound": gr.Audio(
            type="filepath", sources=["upload"], label=t("edit.sound.file"), visible=False
        ),
        "keep": gr.Checkbox(False, label=t("edit.keep"), visible=False),
        "side": count("side", 480, precision=0),
        "at": count("at", 0.0, step=0.1),
        "model": gr.Dropdown(
            models, label=t("edit.model"), info=t("edit.model.hint"), visible=False
        ),
    }


def choices(engine: Engine, owner: str) -> list[tuple[str, str]]:
    """The owner's clips as the editor lists them, newest first."""
    return [
        (f"{shorten(c.prompt or c.id, 60)} · {number(c.seconds)} s · {c.id[-6:]}", c.id)
        for c in engine.clips(owner)[:LISTED]
    ]


def shown_fields(editor: Editor, kind: object) -> dict[Component, Any]:
    """Only the fields that this edit reads."""
    needed = NEEDS.get(str(kind), ())
    return {part: gr.update(visible=name in needed) for name, part in editor.fields.items()}


def make_edit(
    engine: Engine, editor: Editor, owner: str, data: Mapping[Component, Any]
) -> tuple[str, Path | None]:
    """Do what the editor says: the id of the new clip, or a file to take away.

    Raises:
        StudioError: a sentence; nothing was changed.
    """
    values = {name: picture_path(data[part]) for name, part in editor.fields.items()}
    clip = engine.clip(str(data[editor.clip] or ""), owner)
    kind = str(data[editor.kind])
    if kind in ("gif", "still"):
        return "", _export(engine, clip, kind, values)
    work = _work(engine, owner, clip, kind, values)
    clip_id = new_clip_id()
    out = engine.library.path(clip_id)
    edited = work(out)
    publish_edited(engine, clip, clip_id, edited)
    return clip_id, None


def _work(
    engine: Engine, owner: str, clip: Clip, kind: str, values: Mapping[str, Any]
) -> Callable[[Path], Edited]:
    """The edit as a function of where its clip goes."""
    source = clip.path
    match kind:
        case "trim":
            start, stop = _number(values, "start"), _number(values, "stop")
            return lambda out: edit.trim(source, out, start, stop)
        case "loop":
            style, times, fade = (
                values["style"],
                int(_number(values, "times")),
                _number(values, "fade"),
            )
            return lambda out: edit.loop(source, out, style, times, fade)
        case "join":
            others = [engine.clip(str(name), owner).path for name in values["others"] or ()][:19]
            fade = _number(values, "fade")
            return lambda out: edit.join([source, *others], out, fade)
        case "sound":
            if not values["sound"]:
                raise RequestError(engine.t("edit.error.sound"))
            sound = engine.uploaded(values["sound"], "sound")
            return lambda out: edit.set_sound(source, out, sound, keep=values["keep"] is True)
        case "larger":
            name = str(values["model"] or "")
            return lambda out: upscale_clip(engine.settings, source, out, name)
    raise RequestError(f"there is no edit {kind[:20]!r}; choose one of {', '.join(KINDS)}")


def _export(engine: Engine, clip: Clip, kind: str, values: Mapping[str, Any]) -> Path:
    folder = engine.settings.cache_dir / "exports" / secrets.token_hex(8)
    folder.mkdir(parents=True)
    if kind == "gif":
        side = int(_number(values, "side"))
        if not 32 <= side <= 1280:
            raise RequestError(f"a GIF's longer side has 32 to 1280 pixels (got {side}); change it")
        out = folder / f"{clip.id}.gif"
        export_gif(clip.path, out, max_side=side)
        return out
    out = folder / f"{clip.id}.png"
    export_still(clip.path, out, _number(values, "at"))
    return out


def _number(values: Mapping[str, Any], name: str) -> float:
    value = values[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise MediaError(f"{name} is a number (got {str(value)[:20]!r}); correct it")
    if not -1e6 < value < 1e6:
        raise MediaError(f"{name} is an ordinary number (got {value}); correct it")
    return float(value)


def publish_edited(engine: Engine, clip: Clip, clip_id: str, edited: Edited) -> None:
    """List the new clip with the request of the one that it came from."""
    from studio.media.decode import probe

    info = probe(edited.path)
    kept = ("windows", "forwards", "forwards_spent", "timings", "quality", "peak_rss_bytes")
    summary = {k: v for k, v in clip.summary.items() if k not in kept}
    summary |= {
        "path": str(edited.path),
        "frames": edited.frames,
        "seconds": edited.seconds,
        "width": info.width,
        "height": info.height,
        "edited_from": clip.id,
    }
    record = {"request": dict(clip.request), "summary": summary, "plan": dict(clip.plan)}
    engine.library.publish(
        clip_id, {**record, "versions": dict(clip.versions), "owner": clip.owner}
    )


def told(t: Texts, clip_id: str) -> str:
    """What the editor says when it is done."""
    word = t("edit.done") if clip_id else t("edit.exported")
    return f'<p class="vs-note" role="status">{esc(word)}</p>'


def warned(t: Texts, error: StudioError) -> str:
    """What it says when it could not."""
    return f'<p class="vs-alert" role="alert">{esc(t.said(error))}</p>'
