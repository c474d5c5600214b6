"""An order in a pipeline's own words, and what it gives as frames."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from studio.core.errors import NumericError, PresetError
from studio.core.preset import Preset

if TYPE_CHECKING:
    from studio.models.families.pipeline import Order
    from studio.models.family import Frames

LENGTHS = ("num_frames", "video_length", "frames")
SCALES = ("guidance_scale", "max_guidance_scale")
RATES = ("frame_rate", "fps")


def call_arguments(kind: Any, preset: Preset, order: Order) -> dict[str, Any]:
    """What `kind`'s call is given for `order`.

    Raises:
        PresetError: if options.call names something that the pipeline does not take.
    """
    import torch

    known = inspect.signature(kind.__call__).parameters
    extra = dict(preset.options.get("call", {}))
    unknown = sorted(set(extra) - set(known))
    if unknown:
        raise PresetError(
            f"preset {preset.id!r}: {kind.__name__} does not take {', '.join(unknown)}; "
            "correct options.call"
        )
    plan = order.plan
    wanted: dict[str, Any] = {
        "prompt": order.prompt,
        "negative_prompt": plan.negative_prompt,
        "height": plan.height,
        "width": plan.width,
        "num_inference_steps": plan.num_inference_steps,
        "generator": torch.Generator("cpu").manual_seed(order.seed),
        "output_type": "np",
        **dict.fromkeys(LENGTHS, order.frames),
        **dict.fromkeys(SCALES, plan.guidance_scale),
        # The rate that the model moves at; showing the clip faster or slower is the studio's.
        **dict.fromkeys(RATES, round(preset.defaults.fps)),
        **_pictures(known, order),
    }
    return {k: v for k, v in {**wanted, **extra}.items() if k in known}


def _pictures(known: Mapping[str, Any], order: Order) -> dict[str, Any]:
    from PIL import Image

    if order.image is None:
        return {}
    first = Image.fromarray(order.image)
    if order.last_image is None:
        return {"image": first}
    last = Image.fromarray(order.last_image)
    if "conditions" not in known:
        return {"image": first, "last_image": last}
    from diffusers.pipelines.ltx.pipeline_ltx_condition import LTXVideoCondition

    ends = ((first, 0), (last, order.frames - 1))
    return {"conditions": [LTXVideoCondition(image=p, frame_index=at) for p, at in ends]}


def with_guidance(parts: dict[str, Any], scale: float) -> dict[str, Any]:
    """`parts` with the scale in the guider, for pipelines that have one instead of an argument."""
    guider = parts.get("guider")
    if guider is None:
        return parts
    return {**parts, "guider": guider.new(guidance_scale=scale)}


def to_frames(made: Any, size: tuple[int, int]) -> Frames:
    """uint8 [n, H, W, 3] of `size` (width, height) from a pipeline's output in [0, 1].

    Raises:
        NumericError: if there is a value that is no number.
    """
    from studio.media.images import fit_image

    video = made.frames if hasattr(made, "frames") else made[0]
    array = np.asarray(video, dtype=np.float32)
    while array.ndim > 4:
        array = array[0]
    if array.shape[1] == 3 and array.shape[-1] != 3:
        array = array.transpose(0, 2, 3, 1)
    if not np.isfinite(array).all():
        raise NumericError(
            "the clip came out as not-a-number; lower the guidance, or set dtype = "
            '"float32" in the preset\'s options'
        )
    frames: Frames = (np.clip(array, 0.0, 1.0) * 255).round().astype(np.uint8)
    if (frames.shape[2], frames.shape[1]) != size:
        # Some pipelines choose the nearest size that they were trained on.
        frames = np.stack([fit_image(frame, *size) for frame in frames])
    return frames
