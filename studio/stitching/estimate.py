"""What a planned run needs: memory, disk, time. Arithmetic on the preset's figures, no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from studio.core.machine import Machine
from studio.core.plan import Estimate, Plan
from studio.core.preset import Preset
from studio.core.request import Offload

PROCESS_BYTES = 700 * 2**20
"""A worker with torch and diffusers imported and nothing loaded."""

STREAMED_SHARE = 8
"""With blocks streamed, about an eighth of the transformer is there at a time."""

CODED_BYTES_A_PIXEL = 0.06
"""H.264 at the writer's setting, measured generously."""


@dataclass(frozen=True)
class Pace:
    """How fast this machine was before, with this preset and size."""

    seconds_a_forward: float
    seconds_a_frame: float = 0.0


def pace_of(summaries: Iterable[Mapping[str, Any]], plan: Plan) -> Pace | None:
    """The median pace of finished clips (their stored summaries) that are like `plan`.

    None if there was none of this preset and size.
    """
    forwards, frames = [], []
    for summary in summaries:
        same = (summary.get("model"), summary.get("width"), summary.get("height"))
        timings = summary.get("timings", {})
        spent = summary.get("forwards_spent") or summary.get("forwards")
        if same != (plan.preset, plan.width, plan.height) or not spent:
            continue
        if "sampling_s" in timings:
            forwards.append(timings["sampling_s"] / spent)
            frames.append(timings.get("decoding_s", 0.0) / max(1, summary.get("frames", 1)))
    return Pace(median(forwards), median(frames)) if forwards else None


def estimate(
    plan: Plan,
    preset: Preset,
    machine: Machine,
    *,
    offload: Offload = "auto",
    pace: Pace | None = None,
    missing_bytes: int = 0,
) -> Estimate:
    """Memory at the peak, disk and time of a run, and whether it fits.

    `missing_bytes` of weights must be downloaded first. What is loaded at a time follows
    `offload`: everything, one part after another, or a transformer streamed block by block.
    """
    need = _need(plan, preset, machine, offload, missing_bytes)
    lack = _lacks(machine, *need)
    device, host, disk = need
    seconds = None
    if pace is not None:
        seconds = plan.forwards * pace.seconds_a_forward + plan.frames * pace.seconds_a_frame
    return Estimate(
        device_bytes=device,
        host_bytes=host,
        disk_bytes=disk,
        seconds=seconds,
        fits=not lack,
        advice=_advice(lack, plan, preset, offload, machine, missing_bytes),
    )


def _need(
    plan: Plan, preset: Preset, machine: Machine, offload: Offload, missing_bytes: int
) -> tuple[int, int, int]:
    """Bytes on the device, on the host and on disk."""
    on_host_only = machine.device_free_bytes is None
    if offload == "block" and on_host_only:
        # There is nowhere to move blocks to: it does what model does.
        offload = "model"
    compute = _resident(preset, offload) + _activations(plan, preset)
    if machine.device_free_bytes is None:
        device, host = 0, PROCESS_BYTES + compute
    else:
        on_host = 0 if offload in ("none", "disk") else preset.memory.weights_bytes
        device, host = compute, PROCESS_BYTES + on_host
    return device, host, missing_bytes + _disk(plan, preset)


def within(machine: Machine, budget_bytes: int) -> Machine:
    """The machine with no more for models than the budget; 0 is no budget."""
    if not budget_bytes:
        return machine
    device = machine.device_free_bytes
    if device is not None:
        return replace(machine, device_free_bytes=min(device, budget_bytes))
    host = min(machine.host_free_bytes, budget_bytes + PROCESS_BYTES)
    return replace(machine, host_free_bytes=host)


def _resident(preset: Preset, offload: Offload) -> int:
    """Bytes of weights that are loaded at once at the peak."""
    memory = preset.memory
    if offload == "none":
        return memory.weights_bytes
    parts = [memory.text_encoder_bytes, memory.vae_bytes, memory.other_bytes]
    transformer = memory.transformer_bytes
    if offload in ("block", "disk"):
        transformer = -(-transformer // STREAMED_SHARE)
        parts = [max(-(-memory.text_encoder_bytes // STREAMED_SHARE), *parts[1:])]
    return max(transformer, *parts)


def _activations(plan: Plan, preset: Preset) -> int:
    """The preset's figure is for its first size and one full window; it grows with the tokens."""
    width, height = preset.limits.sizes[0]
    frames = max((w.stop - w.start for w in plan.windows), default=plan.window_frames)
    share = plan.width * plan.height * frames / (width * height * plan.window_frames)
    latents = plan.latent_frames * _latent_bytes(plan, preset)
    return round(preset.memory.activation_bytes * share) + 4 * latents


def _latent_bytes(plan: Plan, preset: Preset) -> int:
    """Bytes of one latent frame, float32."""
    rows, columns = plan.height // preset.spatial_stride, plan.width // preset.spatial_stride
    return 4 * preset.latent_channels * rows * columns


def _disk(plan: Plan, preset: Preset) -> int:
    """Segments, the finished clip beside them, and the latents that make a run resumable."""
    clip = round(plan.frames * plan.width * plan.height * CODED_BYTES_A_PIXEL)
    return 2 * clip + 2 * plan.latent_frames * _latent_bytes(plan, preset)


def _lacks(machine: Machine, device: int, host: int, disk: int) -> dict[str, int]:
    """What is missing, in bytes."""
    free = machine.device_free_bytes
    short = {
        "device memory": 0 if free is None else device - free,
        "memory": host - machine.host_free_bytes,
        "disk": disk - machine.disk_free_bytes,
    }
    return {name: value for name, value in short.items() if value > 0}


STRONGER: dict[Offload, tuple[Offload, ...]] = {
    "none": ("auto", "block", "disk"),
    "auto": ("block", "disk"),
    "model": ("block", "disk"),
    "block": ("disk",),
    "disk": (),
}


def changes(preset: Preset, plan: Plan, offload: Offload) -> list[tuple[Offload, tuple[int, int]]]:
    """(offload, size) that need less, the nearest first: stronger offloads, then smaller sizes."""
    stronger, size = STRONGER[offload], (plan.width, plan.height)
    smaller = [s for s in preset.limits.sizes if s[0] * s[1] < plan.width * plan.height]
    smaller.sort(key=lambda s: s[0] * s[1], reverse=True)
    found = [(mode, size) for mode in stronger]
    return found + [(mode, other) for other in smaller for mode in (offload, *stronger)]


def _fitting(
    plan: Plan, preset: Preset, machine: Machine, offload: Offload, missing_bytes: int
) -> str:
    """The nearest change with which the run fits, or ""."""
    for mode, (width, height) in changes(preset, plan, offload):
        if mode == "block" != offload and machine.device_free_bytes is None:
            continue
        other = replace(plan, width=width, height=height)
        if _lacks(machine, *_need(other, preset, machine, mode, missing_bytes)):
            continue
        said = [] if width == plan.width and height == plan.height else [f"{width}x{height}"]
        return " and ".join([*said, *([] if mode == offload else [f"offload: {mode}"])])
    return ""


def _advice(
    lack: dict[str, int],
    plan: Plan,
    preset: Preset,
    offload: Offload,
    machine: Machine,
    missing_bytes: int,
) -> str:
    """The nearest change that helps, as a sentence; "" when nothing is missing."""
    if not lack:
        return ""
    name = max(lack, key=lambda key: lack[key])
    said = f"{lack[name] / 2**30:.1f} GiB of {name} are missing"
    if name == "disk":
        return f"{said}; free some, or choose another data directory."
    fitting = _fitting(plan, preset, machine, offload, missing_bytes)
    if fitting:
        return f"{said}; choose {fitting}."
    # Nothing fits alone: the next step down, of several.
    smaller = [s for s in preset.limits.sizes if s[0] * s[1] < plan.width * plan.height]
    ladder: dict[str, str] = {"none": "auto", "auto": "block", "model": "block", "block": "disk"}
    if offload in ladder:
        return f"{said}; choose offload: {ladder[offload]}."
    if smaller:
        width, height = max(smaller, key=lambda size: size[0] * size[1])
        return f"{said}; choose {width}x{height}."
    return f"{said}; close other programs, or choose a smaller preset."
