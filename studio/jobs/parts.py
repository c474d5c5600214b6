"""What a finished clip was made of, kept beside the library so that one window can be made anew.

A clip's parts lie under a name that its windows' hashes give, which is in the clip's own settings:
they are found again for a clip that was written elsewhere or renamed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from studio.core.errors import MediaError
from studio.core.plan import Plan
from studio.core.request import Request, dump_request, parse_request
from studio.media.publish import write_bytes

FOLDER = ".parts"
RECORD = "run.json"
SOURCE = "source.mp4"
LIMIT_BYTES = 4 * 2**30


@dataclass(frozen=True)
class Parts:
    """The parts of one clip."""

    folder: Path
    request: Request
    plan: Mapping[str, Any]
    seeds: tuple[int, ...]
    prompts: tuple[str, ...]

    @property
    def source(self) -> Path | None:
        """The clip that was continued, if any."""
        path = self.folder / SOURCE
        return path if path.is_file() else None


def parts_name(hashes: Sequence[str]) -> str:
    """The folder name for windows with these hashes."""
    return hashlib.sha256("".join(hashes).encode()).hexdigest()[:32]


def keep_parts(
    outputs_dir: Path, work_dir: Path, request: Request, plan: Plan, source: Path | None
) -> None:
    """Keep the published windows in `work_dir`; the oldest clips' parts make room."""
    records = [
        json.loads((work_dir / f"window-{w.index:03d}.json").read_text(encoding="utf-8"))
        for w in plan.windows
    ]
    root = outputs_dir / FOLDER
    folder = root / parts_name([record["clip_sha256"] for record in records])
    folder.mkdir(parents=True, exist_ok=True)
    for window in plan.windows:
        for suffix in (".mp4", ".safetensors", ".json"):
            name = f"window-{window.index:03d}{suffix}"
            link(work_dir / name, folder / name)
    if source is not None:
        link(source, folder / SOURCE)
    record = {
        "request": dump_request(request.model_copy(update={"retake": None})),
        "plan": asdict(plan),
        "seeds": [r["seed"] for r in records],
        "prompts": [r["prompt"] for r in records],
    }
    write_bytes(folder / RECORD, json.dumps(record).encode())
    _make_room(root, folder)


def find_parts(clip: Path, outputs_dir: Path) -> Parts:
    """The parts of `clip`.

    Raises:
        MediaError: if the clip does not say what it was made of, or that is not here any more.
    """
    from studio.media.metadata import read_metadata

    windows = read_metadata(clip).summary.get("windows")
    hashes = [w.get("sha256") for w in windows] if isinstance(windows, list) else []
    if not hashes or not all(isinstance(h, str) for h in hashes):
        raise MediaError(
            f"{clip.name} does not name its windows, so none can be made anew; "
            "take a clip that this studio made"
        )
    folder = outputs_dir / FOLDER / parts_name([str(h) for h in hashes])
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return Parts(
            folder=folder,
            request=parse_request(record["request"]),
            plan=record["plan"],
            seeds=tuple(record["seeds"]),
            prompts=tuple(record["prompts"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MediaError(
            f"the windows of {clip.name} are not kept here any more; "
            "generate the clip again with the same settings, then take the window anew"
        ) from error


def link(source: Path, target: Path) -> None:
    """`target` with the content of `source`: one file under two names, or a copy."""
    if target.exists():
        target.unlink()
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _make_room(root: Path, kept: Path) -> None:
    """Delete the oldest parts above the limit."""
    folders = sorted((p for p in root.iterdir() if p.is_dir()), key=lambda p: p.stat().st_mtime)
    sizes = {p: sum(f.stat().st_size for f in p.iterdir()) for p in folders}
    total = sum(sizes.values())
    for folder in folders:
        if total <= LIMIT_BYTES:
            break
        if folder != kept:
            shutil.rmtree(folder, ignore_errors=True)
            total -= sizes[folder]
