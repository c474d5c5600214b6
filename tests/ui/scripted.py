"""A whole studio whose worker is a script: jobs stand where a test wants them to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from studio.core.events import Done, Preview, Progress
from studio.core.preset import load_presets
from studio.core.request import parse_request
from studio.core.settings import ROOT, Settings, prepare_data_dir
from studio.jobs.records import Job
from studio.jobs.store import JobStore
from studio.library.clip import new_clip_id
from studio.library.library import Library
from studio.media.mux import ClipWriter
from studio.media.preview import write_preview
from studio.stitching.windows import make_plan

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
WORKER = "scripted"
COLOURS = {"red": (214, 62, 52), "yellow": (240, 190, 40), "blue": (52, 96, 205)}


@dataclass(frozen=True)
class Studio:
    """Services over one data directory, and a worker that does what it is told."""

    settings: Settings
    store: JobStore
    library: Library
    presets: dict[str, Any]

    def claim(self) -> Job:
        """Begin the next job."""
        job = self.store.claim(WORKER, 600.0)
        assert job is not None, "no job is waiting"
        return job

    def say(self, job: Job, **progress: Any) -> None:
        """The job says where it is."""
        self.store.report(job.id, WORKER, Progress(**progress))

    def preview(self, job: Job, step: int) -> None:
        """The job shows a picture."""
        path = self.settings.work_dir / job.id / "preview.webp"
        path.parent.mkdir(exist_ok=True)
        write_preview(path, next(drawn(job.prompt, 1)))
        self.store.report(job.id, WORKER, Preview(path=str(path), step=step))

    def finish(self, job: Job) -> str:
        """The job makes its clip; the clip's id."""
        clip_id = new_clip_id()
        path = self.library.path(clip_id)
        plan = make_plan(parse_request(job.request), self.presets[job.preset])
        with ClipWriter(path, plan.fps, (plan.width, plan.height), {}) as writer:
            for frame in drawn(job.prompt, plan.frames):
                writer.write(frame[None])
        summary = {
            "path": str(path),
            "frames": plan.frames,
            "fps": plan.fps,
            "width": plan.width,
            "height": plan.height,
            "seconds": plan.seconds,
            "seed": job.request["seed"],
            "forwards": plan.forwards,
            "timings": {"total": 14.2},
            "quality": {"seam_ratio": 1.04, "first_psnr": None},
        }
        sidecar = {"request": job.request, "summary": summary, "plan": asdict(plan)}
        self.library.publish(clip_id, {**sidecar, "owner": job.owner})
        self.store.report(job.id, WORKER, Done(clip_id=clip_id, path=str(path), summary=summary))
        return clip_id


def open_studio(folder: Path, **settings: Any) -> Studio:
    """A studio in an empty folder; nothing runs."""
    chosen = Settings(data_dir=folder / "data", presets_dir=ROOT / "presets", **settings)
    prepare_data_dir(chosen)
    os.environ["GRADIO_TEMP_DIR"] = str(chosen.cache_dir)
    presets = load_presets([chosen.presets_dir])
    return Studio(chosen, JobStore(chosen.jobs_db), Library(chosen.outputs_dir), presets)


def drawn(prompt: str, frames: int, side: int = 128) -> Iterator[np.ndarray]:
    """A disc that crosses a meadow, uint8 [H, W, 3] each."""
    colour = next((rgb for name, rgb in COLOURS.items() if name in prompt), (120, 80, 160))
    rows, columns = np.mgrid[0:side, 0:side]
    sky = np.stack([180 - rows * 0.4, 212 - rows * 0.2, 236 - rows * 0.1], -1)
    sky[rows > side * 0.68] = (112, 164, 84)
    for k in range(frames):
        at = side * (0.18 + 0.64 * (k / max(1, frames - 1)))
        picture = sky.copy()
        picture[(columns - at) ** 2 + (rows - side * 0.55) ** 2 < (side * 0.13) ** 2] = colour
        yield picture.clip(0, 255).astype(np.uint8)
