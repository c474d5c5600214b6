"""From published windows to a clip in the library, and what is said about it."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from studio import __version__
from studio.core.events import Done
from studio.core.plan import Plan
from studio.core.request import Request, dump_request
from studio.jobs.context import RunContext
from studio.jobs.inputs import Inputs
from studio.jobs.parts import keep_parts
from studio.jobs.reporter import peak_rss_bytes
from studio.jobs.segments import save_tensors, sha256
from studio.jobs.setting import Setting

SOUND_RATE_HZ = 48_000
PACKAGES = ("torch", "diffusers", "transformers", "av")


def finish(setting: Setting, ctx: RunContext, clip_id: str) -> Done:
    """Join the windows, write the clip with its settings, and list it.

    Raises:
        StorageError: if the disk is full; the windows are kept.
    """
    from studio.library.library import Library
    from studio.media.metadata import clip_tags
    from studio.media.mux import concat_segments

    plan, reporter = setting.plan, setting.reporter
    reporter.stage("finishing")
    library = Library(ctx.outputs_dir)
    path = library.path(clip_id) if ctx.out is None else ctx.out
    if ctx.save_latents is not None:
        save_tensors(ctx.save_latents, {"latents": all_latents(setting)})
    with reporter.timed("finishing"):
        summary = summarise(setting, path)
        paths = [setting.store.clip_path(w.index) for w in plan.windows]
        tags = clip_tags(setting.request, summary)
        source = front_of(setting)
        front = [] if source is None else [source]
        frames = concat_segments([*front, *paths], path, tags, _sound(setting))
        assert frames == summary["frames"], f"{frames} frames, {summary['frames']} in the plan"
        keep_parts(ctx.outputs_dir, setting.store.folder, setting.request, plan, source)
    with reporter.timed("measuring"):
        summary["quality"] = measured(setting, path)
    for warning in summary["quality"]["warnings"]:
        reporter.notice(warning)
    summary["timings"] = reporter.summary()
    if ctx.out is None:
        record = sidecar(setting.request, plan, summary)
        library.publish(clip_id, {**record, "owner": ctx.owner})
    return Done(clip_id=clip_id, path=str(path), summary=summary)


def summarise(setting: Setting, path: Path) -> dict[str, Any]:
    """What `generate --json` prints about a clip at `path`."""
    plan, reporter = setting.plan, setting.reporter
    continued = setting.inputs.continued
    front = 0 if continued is None else continued.frames
    return {
        "path": str(path),
        "frames": front + plan.frames,
        "fps": plan.fps,
        "width": plan.width,
        "height": plan.height,
        "seconds": (front + plan.frames) / plan.fps,
        "mode": plan.mode,
        "model": plan.preset,
        "method": plan.method,
        "seed": setting.request.seed,
        "timings": reporter.summary(),
        "forwards": reporter.forwards,
        "forwards_spent": reporter.spent,
        "peak_rss_bytes": peak_rss_bytes(),
        "windows": [
            {
                "start_frame": front + w.first_frame,
                "frames": w.frames,
                "seed": w.seed,
                "prompt": w.prompt,
                "cut": w.cut,
                "sha256": sha256(setting.store.clip_path(w.index)),
            }
            for w in plan.windows
        ],
        "notices": list(plan.notices),
        "quality": {},
    }


def measured(setting: Setting, path: Path) -> dict[str, Any]:
    """Seams, drift and end frames of the clip as it can be seen."""
    from studio.media.decode import read_frames
    from studio.quality.measure import layout_of, measure

    inputs, rule = setting.inputs, setting.family.preset.rule
    front = 0 if inputs.continued is None else inputs.continued.frames
    found = measure(
        read_frames(path),
        layout_of(setting.plan, rule, front),
        first_image=inputs.image,
        last_image=inputs.last_image,
    )
    return found | lips(inputs, setting.plan, path) if inputs.audio else found


def lips(inputs: Inputs, plan: Plan, path: Path) -> dict[str, Any]:
    """How each speaker's mouth follows its track: `sync_corr` and `sync_lag_frames` (the worst
    speaker's), and `speakers` with both for each. Without a box the picture is the face.
    """
    from studio.media.audio import load_sound
    from studio.media.decode import read_frames
    from studio.media.loudness import envelope
    from studio.quality.sync import mouth_opening, smooth, sync

    whole = (0.0, 0.0, float(plan.width), float(plan.height))
    boxes = [(float(f.x), float(f.y), float(f.width), float(f.height)) for f in inputs.faces]
    boxes = boxes or [whole] * len(inputs.audio)
    rows = [[mouth_opening(frame, box) for box in boxes] for frame in read_frames(path)]
    speakers = []
    for opening, track in zip(np.array(rows).T, inputs.audio, strict=False):
        sound = smooth(envelope(load_sound(track), plan.fps, len(rows)).astype(np.float64))
        corr, lag = sync(opening, sound)
        speakers.append({"sync_corr": round(corr, 4), "sync_lag_frames": lag})
    worst = min(speakers, key=lambda speaker: speaker["sync_corr"], default={})
    return {**worst, "speakers": speakers}


def front_of(setting: Setting) -> Path | None:
    """The clip that is continued as it goes in front: itself, or encoded again if it must be."""
    from studio.core.errors import MediaError
    from studio.media.decode import read_frames
    from studio.media.images import fit_image
    from studio.media.mux import ClipWriter, concat_segments

    continued, plan = setting.inputs.continued, setting.plan
    if continued is None:
        return None
    folder = setting.store.folder
    trial = folder / "front-trial.mp4"
    try:
        concat_segments([continued.path, setting.store.clip_path(0)], trial)
    except MediaError:
        again = folder / "front.mp4"
        with ClipWriter(again, plan.fps, (plan.width, plan.height)) as writer:
            for frame in read_frames(continued.path):
                writer.write(fit_image(frame, plan.width, plan.height))
        return again
    finally:
        trial.unlink(missing_ok=True)
    return continued.path


def sidecar(request: Request, plan: Plan, summary: dict[str, Any]) -> dict[str, Any]:
    """The record that makes a file a clip of the library."""
    return {
        "request": dump_request(request),
        "summary": summary,
        "plan": asdict(plan),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """The studio's version and those of what computes."""
    found = {"studio": __version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found


def all_latents(setting: Setting) -> Any:
    """The latents of the whole clip [1, C, T, h, w], float32."""
    import torch

    pieces = [setting.store.tensors(w.index)["latents"] for w in setting.plan.windows]
    return torch.cat(pieces, dim=2).float()


def _sound(setting: Setting) -> Any:
    """The sound of an avatar's clip: all tracks together; None without."""
    if not setting.inputs.audio:
        return None
    from studio.media.audio import load_sound
    from studio.media.sound import mix

    return mix([load_sound(path, SOUND_RATE_HZ, 2) for path in setting.inputs.audio]).fitted(
        setting.plan.seconds
    )
