"""A torch-free runner that honours the protocol: windows are published, checked and adopted.

One window a second of clip. The prompt says what goes wrong: "segv", "abort", "oserror", "memory",
"deaf" (never looks whether it should stop), "full" (no space while the file FULL exists in the
data directory), "bug". Every computed window is written to `computed.log` in the work folder.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import time
from pathlib import Path

from studio.core.errors import Cancelled, MediaError
from studio.core.events import Done, Preview, Progress, SegmentDone
from studio.core.request import Request
from studio.jobs.context import RunContext

FRAMES = 24
STEPS = 6
STEP_S = 0.02


def run(request: Request, ctx: RunContext) -> Done:
    """Make the toy clip."""
    windows = int(request.seconds or 1)
    parts = [_window(request, ctx, k, windows) for k in range(windows)]
    clip = ctx.out or ctx.outputs_dir / f"{ctx.job_id}.mp4"
    _publish(clip, b"".join(path.read_bytes() for path in parts))
    summary = {"path": str(clip), "frames": FRAMES * windows, "offload": request.offload}
    return Done(ctx.job_id, str(clip), summary)


def expected(seed: int, windows: int) -> bytes:
    """The bytes of an unbroken run."""
    return b"".join(_content(seed, k) for k in range(windows))


def computed(work_dir: Path) -> list[int]:
    """The windows that were computed to their end, in order."""
    log = work_dir / "computed.log"
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def _content(seed: int, window: int) -> bytes:
    return hashlib.sha256(f"{seed} {window}".encode()).digest() * 1000


def _window(request: Request, ctx: RunContext, k: int, windows: int) -> Path:
    path = ctx.work_dir / f"window-{k:03d}.mp4"
    note = path.with_suffix(".json")
    if not _is_whole(path, note):
        for step in range(STEPS):
            if "deaf" not in request.prompt and ctx.should_stop():
                raise Cancelled("the job was stopped; finished windows are kept")
            ctx.emit(Progress("sampling", k, windows, step, STEPS, done=k / windows))
            time.sleep(30 if "deaf" in request.prompt else STEP_S)
            if step == STEPS // 2:
                _go_wrong(request.prompt, ctx)
        content = _content(request.seed, k)
        _publish(path, content)
        _publish(note, json.dumps({"sha256": hashlib.sha256(content).hexdigest()}).encode())
        with (ctx.work_dir / "computed.log").open("a") as log:
            log.write(f"{k}\n")
    sha = json.loads(note.read_text())["sha256"]
    ctx.emit(Preview(str(path), k))
    ctx.emit(SegmentDone(k, str(path), FRAMES * k, FRAMES, sha))
    return path


def _is_whole(path: Path, note: Path) -> bool:
    if not (path.exists() and note.exists()):
        return False
    return json.loads(note.read_text())["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def _publish(path: Path, content: bytes) -> None:
    half = path.with_name(path.name + ".tmp")
    with half.open("wb") as file:
        for start in range(0, len(content), 4096):
            file.write(content[start : start + 4096])
        file.flush()
        os.fsync(file.fileno())
    half.replace(path)


def _go_wrong(prompt: str, ctx: RunContext) -> None:
    if "segv" in prompt:
        ctypes.string_at(0)
    if "abort" in prompt:
        os.abort()
    if "memory" in prompt:
        raise MemoryError
    if "bug" in prompt:
        raise ValueError("a bug of ours")
    if "broken picture" in prompt:
        raise MediaError("the picture is broken; choose another")
    if "full" in prompt and (ctx.cache_dir.parent / "FULL").exists():
        raise OSError(errno.ENOSPC, "No space left on device")
