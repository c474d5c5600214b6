"""Pictures in forms: chosen here, shown exactly as the model will see them, taken from clips."""

from __future__ import annotations

import base64
import io
import secrets
from collections import deque
from itertools import islice
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from studio.core.errors import MediaError, StudioError
from studio.media.decode import probe, read_frames
from studio.media.images import fit_preview
from studio.ui.engine import Engine
from studio.ui.markup import esc
from studio.ui.texts import Texts

FITS = ("crop", "pad", "stretch")


def picture(t: Texts, name: str, kind: str) -> gr.Image:
    """A place for one picture: dropped, pasted or chosen."""
    return gr.Image(
        label=t(name),
        type="filepath",
        image_mode=None,
        sources=["upload", "clipboard"],
        placeholder=t("image.hint"),
        height=190,
        buttons=[],
        elem_id=f"{kind}-{name.replace('_', '-')}",
        elem_classes="vs-picture",
        min_width=150,
    )


def fit_choice(t: Texts, kind: str) -> gr.Radio:
    """How a picture is brought to the clip's size."""
    choices = [(t(f"fit.{name}"), name) for name in FITS]
    return gr.Radio(choices, value="crop", label=t("fit"), elem_id=f"{kind}-fit")


def fit_view(engine: Engine, paths: list[str | None], fit: str, size: tuple[int, int]) -> str:
    """The pictures exactly as the model will see them, or the sentence why it cannot."""
    t = engine.t
    shown, notices = [], list[str]()
    for path in paths:
        if not path:
            continue
        try:
            seen = fit_preview(engine.uploaded(path), *size, fit)  # type: ignore[arg-type]
        except StudioError as error:
            why = esc(t.said(error))
            return f'<div class="vs-fit"><p class="vs-warn" role="alert">{why}</p></div>'
        shown.append(_figure(seen.pixels))
        notices += [note for note in seen.notices if note not in notices]
    if not shown:
        return f'<div class="vs-fit"><p class="vs-muted">{esc(t("fit.empty"))}</p></div>'
    caption = f"{t('fit.preview')} · {t('fit.size', width=size[0], height=size[1])}"
    said = "".join(f"<p class='vs-note'>{esc(t.said(note))}</p>" for note in notices)
    return (
        f'<figure class="vs-fit"><div>{"".join(shown)}</div>'
        f"<figcaption>{esc(caption)}</figcaption>{said}</figure>"
    )


def _figure(pixels: Any) -> str:
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, "PNG")
    data = base64.b64encode(held.getvalue()).decode("ascii")
    return f'<img alt="" src="data:image/png;base64,{data}">'


def frame_of(engine: Engine, clip: Path, at_s: float | None, *, end: bool) -> Path:
    """One frame of a clip as a picture that a form can take.

    `at_s` is where the player stands; without it the last frame (`end`) or the first.
    """
    frames = read_frames(clip)
    if at_s is not None:
        index = max(0, int(at_s * probe(clip).fps))
        found = deque(islice(frames, index + 1), maxlen=1)
    else:
        found = deque(frames if end else islice(frames, 1), maxlen=1)
    if not found:
        raise MediaError(f"{clip.name} has no frame to take; choose another clip")
    folder = engine.settings.cache_dir / "frames" / secrets.token_hex(8)
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"{clip.stem}.png"
    Image.fromarray(found[0]).save(place)
    return place
