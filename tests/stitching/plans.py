"""A preset like the pocket model's, and plans with it."""

from __future__ import annotations

from studio.core.plan import Plan
from studio.core.preset import Preset
from studio.core.request import parse_request
from studio.stitching.windows import make_plan


def preset(**changes) -> Preset:
    """A preset like the pocket model's: windows of 7 latents, 4k+1, 12.5 fps."""
    data = {
        "id": "pocket",
        "title": "Pocket",
        "family": "wan",
        "modes": ["t2v", "i2v", "flf2v"],
        "frame_rule": "4k+1",
        "spatial_stride": 16,
        "latent_channels": 48,
        "weights": {"source": "embedded", "licence": "Apache-2.0"},
        "defaults": {"seconds": 2, "fps": 12.5, "num_inference_steps": 20, "guidance_scale": 2.5},
        "limits": {"sizes": [[128, 128], [128, 96]], "max_seconds": 120},
        "long": {
            "methods": ["overlap-prefix", "position-shift"],
            "window_frames": 7,
            "overlap_frames": 2,
            "shift_frames": 3,
            "full_windows": True,
        },
        "memory": {"transformer_bytes": 1, "text_encoder_bytes": 1, "vae_bytes": 1},
    }
    for key, value in changes.items():
        data[key] = {**data[key], **value} if isinstance(value, dict) else value
    return Preset.model_validate(data)


POCKET = preset()


def plan(model: Preset = POCKET, **request) -> Plan:
    """The plan of a request for text to video unless `kind` says otherwise."""
    audio = request.pop("audio_seconds", None)
    data = {"kind": "t2v", "prompt": "a red ball", **request}
    return make_plan(parse_request(data), model, audio_seconds=audio)
