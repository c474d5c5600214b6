"""Sounds and faces in the talking portrait's form: read, shown, and kept."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from studio.core.errors import RequestError, StudioError
from studio.core.plan import Plan
from studio.core.request import FaceBox
from studio.media.audio import load_sound
from studio.media.face_finders import local_finder
from studio.media.images import open_image
from studio.media.loudness import envelope
from studio.ui.engine import Engine
from studio.ui.markup import esc, number
from studio.ui.texts import Texts

TRACKS = ("audio_1", "audio_2")
BARS = 240
SHOWN_PX = 512


def avatar_data(t: Texts, values: Mapping[str, Any]) -> dict[str, Any]:
    """The sounds and faces of a request from a form's values; its length is the sounds'.

    Raises:
        RequestError: without a sound, or for a face that cannot be read.
    """
    sounds = [values[name] for name in TRACKS if values.get(name)]
    if not sounds:
        raise RequestError(t("error.audio"))
    faces = read_faces(values.get("faces"))
    data: dict[str, Any] = {"audio": sounds, "seconds": None}
    return {**data, "faces": [face.model_dump() for face in faces]} if faces else data


def read_faces(text: object) -> list[FaceBox]:
    """One face a line: left, top, width, height.

    Raises:
        RequestError: for a line that is none.
    """
    found = []
    for line in str(text or "").splitlines():
        if not line.strip():
            continue
        try:
            x, y, width, height = (int(float(part)) for part in line.split(","))
            found.append(FaceBox(x=x, y=y, width=width, height=height))
        except (ValueError, OverflowError) as error:
            raise RequestError(
                f"a face is left, top, width, height in pixels of the portrait (got "
                f"{line.strip()[:40]!r}), e.g. 40, 30, 54, 68; correct the line"
            ) from error
    return found


def write_faces(faces: list[FaceBox]) -> str:
    """The other direction of `read_faces`."""
    return "\n".join(f"{f.x}, {f.y}, {f.width}, {f.height}" for f in faces)


def kept_values(engine: Engine, request: Mapping[str, Any]) -> dict[str, Any]:
    """The form's sounds and faces from a stored request, as far as its files are still here."""
    values: dict[str, Any] = dict.fromkeys(TRACKS)
    for name, path in zip(TRACKS, request.get("audio") or (), strict=False):
        kept = engine.settings.inputs_dir / Path(str(path)).name
        values[name] = str(engine.lend(kept)) if kept.is_file() else None
    faces = [FaceBox(**face) for face in request.get("faces") or ()]
    return {**values, "faces": write_faces(faces)}


def find_in(engine: Engine, path: object) -> list[FaceBox]:
    """The faces in an uploaded portrait, left first; none where nobody can look."""
    finder = local_finder(engine.settings.data_dir / "faces")
    if not path or finder is None:
        return []
    found = finder.find(open_image(engine.uploaded(path)).pixels)[: len(TRACKS)]
    return sorted(found, key=lambda face: face.x)


def faces_view(engine: Engine, path: object, text: object) -> str:
    """The portrait with the boxes on it; they can be drawn with the pointer."""
    t = engine.t
    if not path:
        return f'<div class="vs-faces"><p class="vs-muted">{esc(t("faces.empty"))}</p></div>'
    try:
        pixels = open_image(engine.uploaded(path)).pixels
        boxes = read_faces(text)
    except StudioError as error:
        return (
            f'<div class="vs-faces"><p class="vs-warn" role="alert">{esc(t.said(error))}</p></div>'
        )
    height, width = pixels.shape[:2]
    rects = "".join(
        f'<rect data-face="{i}" x="{b.x}" y="{b.y}" width="{b.width}" height="{b.height}"/>'
        f'<text x="{b.x + width / 60}" y="{b.y + height / 16}" '
        f'font-size="{height / 18}">{i + 1}</text>'
        for i, b in enumerate(boxes)
    )
    said = t("faces.drawn", n=len(boxes)) if boxes else t("faces.whole")
    return (
        f'<figure class="vs-faces"><div><img alt="" src="{_shown(pixels)}">'
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{esc(said)}">{rects}</svg>'
        f"</div><figcaption>{esc(said)}</figcaption></figure>"
    )


def _shown(pixels: np.ndarray) -> str:
    picture = Image.fromarray(pixels)
    picture.thumbnail((SHOWN_PX, SHOWN_PX))
    held = io.BytesIO()
    picture.save(held, "PNG")
    return f"data:image/png;base64,{base64.b64encode(held.getvalue()).decode('ascii')}"


def sound_view(engine: Engine, paths: list[Any], plan: Plan | None) -> str:
    """Every track as a waveform over the clip's length, the windows drawn over it."""
    t, parts = engine.t, []
    for index, path in enumerate(paths):
        if not path:
            continue
        try:
            levels, seconds, notices = _levels(*_mark(engine.uploaded(path, "sound")))
        except StudioError as error:
            parts.append(f'<p class="vs-warn" role="alert">{esc(t.said(error))}</p>')
            continue
        whole = plan.seconds if plan is not None else seconds
        label = t("audio.track", k=index + 1, seconds=number(seconds, 2))
        parts.append(
            f"<figure><figcaption>{esc(label)}</figcaption>"
            f"{_wave(levels, seconds / max(whole, 1e-6), plan, label)}</figure>"
            + "".join(f'<p class="vs-note">{esc(t.said(note))}</p>' for note in notices)
        )
    return f'<div class="vs-waves">{"".join(parts)}</div>'


def _wave(levels: list[float], share: float, plan: Plan | None, label: str) -> str:
    """An SVG of 1000 x 60: bars of loudness, and a tinted box for each window."""
    step = 1000 * min(1.0, share) / len(levels)
    bars = "".join(
        f"M{i * step:.1f} {30 - 28 * level:.1f}V{30 + 28 * level:.1f}"
        for i, level in enumerate(levels)
    )
    boxes = ""
    if plan is not None and len(plan.windows) > 1:
        total = max(1, plan.latent_frames)
        boxes = "".join(
            f'<rect class="vs-window" x="{1000 * w.start / total:.1f}" y="{2 + 4 * (w.index % 2)}" '
            f'width="{1000 * (min(w.stop, total) - w.start) / total:.1f}" height="52"/>'
            for w in plan.windows[:60]
        )
    return (
        f'<svg viewBox="0 0 1000 60" preserveAspectRatio="none" role="img" '
        f'aria-label="{esc(label)}"><path d="{bars}"/>{boxes}</svg>'
    )


def _mark(path: Path) -> tuple[str, int, int]:
    state = path.stat()
    return str(path), state.st_size, state.st_mtime_ns


@lru_cache(maxsize=32)
def _levels(path: str, size: int, changed: int) -> tuple[list[float], float, tuple[str, ...]]:
    """BARS levels from 0 to 1, the length in seconds, and what was said on reading."""
    del size, changed
    sound = load_sound(path)
    level = envelope(sound, BARS / max(sound.seconds, 1e-3), BARS)
    peak = max(float(level.max()), 1e-4)
    return [float(v) for v in np.sqrt(level / peak)], sound.seconds, sound.notices
