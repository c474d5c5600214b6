"""Larger clips, where the optional extra is installed: in a child process, since it needs torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from studio.core.errors import MediaError, RequestError
from studio.core.settings import ROOT, Settings
from studio.media.decode import probe
from studio.media.edit import Edited

LONGEST_S = 3600.0


def upscalers(settings: Settings) -> list[Path]:
    """The upscaling networks in the data folder: safetensors only."""
    return sorted((settings.data_dir / "upscalers").glob("*.safetensors"))


def upscale_clip(settings: Settings, source: Path, out: Path, name: str) -> Edited:
    """`source` through the network called `name`, by `python -m studio upscale`.

    Raises:
        RequestError: if there is no such network; says where to put one.
        MediaError: if it ends badly; the last sentence it said.
    """
    known = {path.name: path for path in upscalers(settings)}
    if name not in known:
        raise RequestError(
            f"there is no upscaling network {name!r}; put a .safetensors file into "
            f"{settings.data_dir / 'upscalers'} and install the extra `upscale`"
        )
    command = [sys.executable, "-m", "studio", "upscale", str(source), "--model", str(known[name])]
    try:
        done = subprocess.run(
            [*command, "--out", str(out)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=LONGEST_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise MediaError("upscaling took more than an hour; trim the clip first") from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"upscaling ended with {done.returncode}"]
        raise MediaError(lines[-1])
    info = probe(out)
    return Edited(out, info.frames, info.seconds)
