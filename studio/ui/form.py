"""The left side: one form a mode. Built here, read here; what the values mean is the request's."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from studio.core.errors import RequestError
from studio.core.preset import Preset
from studio.core.request import MAX_PROMPT_CHARS, MAX_SEED, Mode
from studio.ui.director import Corner, build_corner, corner_values, director_data
from studio.ui.engine import Engine
from studio.ui.recipes import Recipes, build_recipes, quality_choice
from studio.ui.texts import Texts

SEED_RANGE = 2**31
LENGTH = ("seconds", "continue_from")
PLANNING = (
    *("preset", *LENGTH, "steps", "guidance", "size", "method", "overlap", "shift", "ends"),
    *("audio_1", "audio_2", "cards", "director"),
)
"""Parts that the plan depends on."""


@dataclass(frozen=True)
class Form:
    """The components of one mode by name, and those that only show."""

    kind: Mode
    parts: dict[str, Component]
    go: gr.Button
    dice: gr.Button
    plan: gr.HTML
    error: gr.HTML
    both: gr.Button
    """Makes the clip by both long-video methods."""
    lines: gr.Button
    """Makes a clip of every line of the prompt."""
    recipes: Recipes
    corner: Corner

    @property
    def inputs(self) -> set[Component]:
        """All parts, as handlers take them: in one dict."""
        return set(self.parts.values())

    def values(self, data: Mapping[Component, Any]) -> dict[str, Any]:
        """What a handler got, by name."""
        return {name: picture_path(data[part]) for name, part in self.parts.items()}


def picture_path(value: Any) -> Any:
    """The path in a file that a browser names; other values as they are."""
    return value.get("path") if isinstance(value, dict) else value


def request_data(t: Texts, kind: Mode, values: Mapping[str, Any]) -> dict[str, Any]:
    """The plain data of a request from a form's values; `parse_request` judges it.

    Raises:
        RequestError: for a seed or a size that cannot be read.
    """
    data: dict[str, Any] = {
        "kind": kind,
        "preset": values["preset"],
        "prompt": values["prompt"] or "",
        "negative_prompt": values["negative"] or "",
        "seconds": values["seconds"],
        "seed": read_seed(t, values["seed"]),
        "num_inference_steps": values["steps"],
        "guidance_scale": values["guidance"],
        "method": values["method"],
        "overlap_frames": values["overlap"] or None,
        "shift_frames": values["shift"] or None,
        "carry": values["carry"],
        "ends": values["ends"],
        "cache": values["cache"],
        **_size(values["size"]),
    }
    if values.get("continue_from"):
        data["continue_from"] = str(values["continue_from"]).strip()
    for name in ("image", "last_image"):
        if name in values:
            if not values[name]:
                raise RequestError(t(f"error.{name}"))
            data[name] = values[name]
    if "fit" in values:
        data["fit"] = values["fit"]
    if kind == "avatar":
        from studio.ui.sounds import avatar_data

        data |= avatar_data(t, values)
    return data | director_data(t, kind, values)


def form_values(
    request: Mapping[str, Any], preset: Preset, plan: Mapping[str, Any]
) -> dict[str, Any]:
    """A form's values from a stored request: the other direction of `request_data`."""
    d = preset.defaults

    def said(name: str, otherwise: Any) -> Any:
        value = request.get(name)
        return otherwise if value is None else value

    frames, fps = request.get("frames"), request.get("fps") or d.fps
    seconds = said("seconds", round(frames / fps, 3) if frames else d.seconds)
    width = said("width", plan.get("width") or preset.limits.sizes[0][0])
    height = said("height", plan.get("height") or preset.limits.sizes[0][1])
    return {
        "preset": preset.id,
        "prompt": request.get("prompt", ""),
        "negative": request.get("negative_prompt", ""),
        "seconds": seconds,
        "seed": str(request.get("seed", 0)),
        "lock": True,
        "steps": said("num_inference_steps", d.num_inference_steps),
        "guidance": said("guidance_scale", d.guidance_scale),
        "method": request.get("method", "auto"),
        "overlap": said("overlap_frames", 0),
        "shift": said("shift_frames", 0),
        "carry": request.get("carry", "auto"),
        "ends": request.get("ends", "clamped"),
        "cache": request.get("cache", "none"),
        "size": size_name(width, height),
        "fit": request.get("fit", "crop"),
        **corner_values(request, seconds),
    }


def read_seed(t: Texts, value: object) -> int:
    """The seed that was typed; text, because a number of JavaScript's loses digits."""
    text = str(value).strip() if value is not None else ""
    if not text.isascii() or not text.isdigit() or len(text) > 19 or int(text) > MAX_SEED:
        raise RequestError(t("error.seed", largest=MAX_SEED, value=repr(text[:40])))
    return int(text)


def new_seed() -> str:
    """A seed from the dice."""
    return str(secrets.randbelow(SEED_RANGE))


def size_name(width: int, height: int) -> str:
    """How a size is called in the form."""
    return f"{width}×{height}"


def _size(value: object) -> dict[str, int]:
    if not value:
        return {}
    width, _, height = str(value).partition("×")
    if not (width.isascii() and width.isdigit() and height.isascii() and height.isdigit()):
        raise RequestError(f"a size looks like 128×128 (got {str(value)[:20]!r}); choose one")
    return {"width": int(width), "height": int(height)}


def build_form(engine: Engine, kind: Mode, pictures: Mapping[str, Component]) -> Form:
    """The components of a mode, in reading order; `pictures` stand above and were built before."""
    t = engine.t
    usable = [p for p in engine.presets.values() if kind in p.modes]
    preset = next((p for p in usable if p.id in ("pocket", "pocket-avatar")), usable[0])
    optional = kind != "t2v"
    prompt = gr.Textbox(
        label=t("prompt"),
        placeholder=t("prompt.optional" if optional else "prompt.hint"),
        lines=2 if optional else 4,
        max_lines=10,
        max_length=MAX_PROMPT_CHARS,
        elem_id=f"{kind}-prompt",
    )
    corner = build_corner(t, kind)
    source = gr.Textbox(
        label=t("continue"), visible=False, max_lines=1, elem_id=f"{kind}-continue-from"
    )
    model = gr.Dropdown(
        [(p.title, p.id) for p in usable],
        value=preset.id,
        label=t("preset"),
        elem_id=f"{kind}-preset",
    )
    quality = quality_choice(engine, kind)
    numbers, dice = _numbers(t, kind, preset)
    with gr.Accordion(t("advanced"), open=False, elem_classes="vs-advanced") as room:
        more = _advanced(t, preset)
        lines = gr.Button(t("batch.go"), size="sm", elem_id=f"{kind}-lines")
        both = gr.Button(t("compare.go"), size="sm", elem_id=f"{kind}-compare")
        recipes = build_recipes(engine, kind, quality, room)
    error = gr.HTML("", elem_classes="vs-error", elem_id=f"{kind}-error")
    with gr.Row(elem_classes="vs-go", equal_height=False):
        plan = gr.HTML("", elem_id=f"{kind}-plan", min_width=200, scale=3)
        go = gr.Button(
            t("generate"), variant="primary", elem_id=f"{kind}-generate", min_width=130, scale=1
        )
    parts = {**pictures, "prompt": prompt, "preset": model, **numbers, **more}
    parts |= {"director": corner.mode, "cards": corner.cards}
    if kind == "t2v":
        parts["continue_from"] = source
    return Form(
        kind=kind,
        parts=parts,
        go=go,
        dice=dice,
        plan=plan,
        error=error,
        both=both,
        lines=lines,
        recipes=recipes,
        corner=corner,
    )


def _numbers(t: Texts, kind: Mode, preset: Preset) -> tuple[dict[str, Component], gr.Button]:
    d = preset.defaults
    with gr.Row():
        seconds = gr.Number(
            label=t("seconds"), value=d.seconds, step=0.5, min_width=110, elem_id=f"{kind}-seconds"
        )
        with gr.Column(min_width=200, scale=2, elem_classes="vs-seed"), gr.Row():
            seed = gr.Textbox(
                label=t("seed"), value="0", max_lines=1, min_width=90, elem_id=f"{kind}-seed"
            )
            dice = gr.Button(
                t("seed.roll"), min_width=44, elem_classes="vs-dice", elem_id=f"{kind}-dice"
            )
            lock = gr.Checkbox(False, label=t("seed.lock"), container=False, min_width=64)
    with gr.Row():
        steps = gr.Slider(
            1,
            preset.limits.max_steps,
            value=d.num_inference_steps,
            step=1,
            label=t("steps"),
            elem_id=f"{kind}-steps",
        )
        guidance = gr.Slider(0, 15, value=d.guidance_scale, step=0.1, label=t("guidance"))
    parts: dict[str, Component] = {"seconds": seconds, "seed": seed, "lock": lock}
    return {**parts, "steps": steps, "guidance": guidance}, dice


def _advanced(t: Texts, preset: Preset) -> dict[str, Component]:
    sizes = [size_name(*size) for size in preset.limits.sizes]
    negative = gr.Textbox(
        label=t("negative"), placeholder=t("negative.hint"), value=preset.defaults.negative_prompt
    )
    with gr.Row():
        size = gr.Dropdown(sizes, value=sizes[0], label=t("size"), allow_custom_value=True)
        ends = gr.Radio(_choices(t, "ends", ("clamped", "ring")), value="clamped", label=t("ends"))
    method = gr.Radio(
        methods(t, preset), value="auto", label=t("method"), info=preset.long.reason or None
    )
    with gr.Row():
        overlap = gr.Number(label=t("overlap"), info=t("overlap.hint"), value=0, precision=0)
        shift = gr.Number(label=t("shift"), info=t("shift.hint"), value=0, precision=0)
    with gr.Row():
        kinds = ("auto", "latent", "reencode", "reencode-warm")
        carry = gr.Dropdown(_choices(t, "carry", kinds), value="auto", label=t("carry"))
        cache = gr.Dropdown(
            _choices(t, "cache", ("none", "fast", "faster")), value="none", label=t("cache")
        )
    return {
        "negative": negative,
        "size": size,
        "ends": ends,
        "method": method,
        "overlap": overlap,
        "shift": shift,
        "carry": carry,
        "cache": cache,
    }


def _choices(t: Texts, group: str, names: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(t(f"{group}.{name}"), name) for name in names]


def methods(t: Texts, preset: Preset) -> list[tuple[str, str]]:
    """The long-video methods that the preset allows."""
    return _choices(t, "method", ("auto", *preset.long.methods))


def preset_updates(t: Texts, preset: Preset) -> dict[str, Any]:
    """What other parts become when this preset is chosen."""
    d = preset.defaults
    sizes = [size_name(*size) for size in preset.limits.sizes]
    return {
        "seconds": gr.update(value=d.seconds),
        "steps": gr.update(maximum=preset.limits.max_steps, value=d.num_inference_steps),
        "guidance": gr.update(value=d.guidance_scale),
        "size": gr.update(choices=sizes, value=sizes[0]),
        "method": gr.update(
            choices=methods(t, preset), value="auto", info=preset.long.reason or None
        ),
        "negative": gr.update(value=d.negative_prompt),
    }


def usable_draft(draft: object, parts: Mapping[str, Component]) -> dict[str, Any]:
    """The values of a stored draft that the form can take; a browser may have stored anything."""
    if not isinstance(draft, dict):
        return {}
    return {
        name: draft[name]
        for name, part in parts.items()
        if name in draft and _fits(part, draft[name])
    }


def _fits(part: Component, value: object) -> bool:
    if isinstance(part, gr.Textbox):
        return isinstance(value, str) and len(value) <= MAX_PROMPT_CHARS
    if isinstance(part, gr.Checkbox):
        return isinstance(value, bool)
    if isinstance(part, gr.Dropdown | gr.Radio):
        allowed = [choice[1] for choice in part.choices or []]
        return isinstance(value, str) and value in allowed
    if isinstance(part, gr.Slider | gr.Number):
        low = part.minimum if part.minimum is not None else -math.inf
        high = part.maximum if part.maximum is not None else math.inf
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and math.isfinite(value) and low <= value <= high  # type: ignore[arg-type,operator]
    return False
