"""A clip from the windows that a job finished before it was canceled or failed."""

from __future__ import annotations

from dataclasses import asdict
from itertools import takewhile
from pathlib import Path
from typing import Any

from studio.core.errors import JobError
from studio.core.events import SegmentDone
from studio.core.request import Request, parse_request
from studio.jobs.records import Job


def usable(job: Job) -> tuple[SegmentDone, ...]:
    """The job's finished windows from the first on, without a gap, whose files are still there."""
    whole = takewhile(
        lambda pair: pair[0] == pair[1].window and Path(pair[1].path).is_file(),
        enumerate(job.segments),
    )
    return tuple(segment for _, segment in whole)


def assemble(job: Job, outputs_dir: Path) -> str:
    """Join what is there of an ended job into a clip of the library; the clip's id.

    Raises:
        JobError: if the job still works, or no window was finished.
        StudioError: if the windows cannot be read or the clip cannot be written.
    """
    from studio.library.clip import new_clip_id
    from studio.library.library import Library
    from studio.media.decode import probe
    from studio.media.metadata import clip_tags
    from studio.media.mux import concat_segments

    parts = usable(job)
    if job.state not in ("canceled", "failed", "paused"):
        raise JobError(f"job {job.id} is {job.state}; only a job that stands still is assembled")
    if not parts:
        raise JobError(f"job {job.id} finished no window; retry it to get a clip")
    request = parse_request(job.request)
    library, clip_id = Library(outputs_dir), new_clip_id()
    path = library.path(clip_id)
    about = probe(parts[0].path)
    frames = sum(part.frames for part in parts)
    summary: dict[str, Any] = {
        "path": str(path),
        "frames": frames,
        "fps": about.fps,
        "width": about.width,
        "height": about.height,
        "seconds": frames / about.fps,
        "mode": job.kind,
        "model": job.preset,
        "seed": request.seed,
        "partial": True,
        "windows": [asdict(part) for part in parts],
    }
    sound = _sound(request, frames / about.fps)
    files = [part.path for part in parts]
    concat_segments(files, path, clip_tags(request, summary), sound)
    library.publish(
        clip_id,
        {
            "request": job.request,
            "summary": summary,
            "plan": {},
            "versions": {},
            "owner": job.owner,
        },
    )
    return clip_id


def _sound(request: Request, seconds: float) -> Any:
    names: tuple[str, ...] = getattr(request, "audio", ())
    if not names:
        return None
    from studio.media.audio import load_sound
    from studio.media.sound import mix

    return mix([load_sound(name) for name in names]).fitted(seconds)
