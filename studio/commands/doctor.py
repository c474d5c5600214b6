"""`doctor`: is this machine ready? Every finding with its remedy; nothing is loaded."""

from __future__ import annotations

import platform
import re
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import typer

from studio.commands.common import FAILED, AsJson, DataDir, show
from studio.core.errors import StudioError
from studio.core.settings import ROOT, Settings, prepare_data_dir
from studio.jobs.backup import is_sound
from studio.jobs.context import all_presets
from studio.jobs.process import kernel_oom_kills
from studio.jobs.space import MIN_FREE_BYTES

PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;#]+)", re.MULTILINE)


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""


def doctor(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Look whether this machine has what the studio needs."""
    chosen: dict[str, Any] = {} if data_dir is None else {"data_dir": data_dir.absolute()}
    settings = Settings(**chosen)
    checks = [check for examine in EXAMINATIONS for check in examine(settings)]
    ok = all(check.ok for check in checks)
    lines = [
        f"{'good' if c.ok else 'BAD '}  {c.name}: {c.detail}"
        + (f"; {c.remedy}" if c.remedy else "")
        for c in checks
    ]
    value = {"ok": ok, "checks": [asdict(check) for check in checks]}
    show(value, "\n".join(lines), as_json=as_json)
    if not ok:
        raise typer.Exit(FAILED)


def _python(settings: Settings) -> Iterator[Check]:
    del settings
    good = (3, 11) <= sys.version_info[:2] <= (3, 12)
    remedy = "" if good else "use Python 3.11 or 3.12"
    yield Check("python", good, platform.python_version(), remedy)
    yield Check("sqlite", sqlite3.sqlite_version_info >= (3, 35), sqlite3.sqlite_version)


def _packages(settings: Settings) -> Iterator[Check]:
    """Versions against requirements.txt; without the file, only whether they are there."""
    del settings
    path = ROOT / "requirements.txt"
    pins = dict(PIN.findall(path.read_text(encoding="utf-8"))) if path.is_file() else {}
    for name, pinned in pins.items():
        try:
            found = version(name)
        except PackageNotFoundError:
            found = "absent"
        same = found.split("+")[0] == pinned
        remedy = "" if same else f"{pinned} was tried; pip install -r requirements.txt"
        yield Check(name, same, found, remedy)


def _encoder(settings: Settings) -> Iterator[Check]:
    del settings
    try:
        import av

        found = "libx264" in av.codecs_available
    except ImportError as error:
        yield Check("h264 encoder", False, str(error), "pip install -r requirements.txt")
        return
    yield Check(
        "h264 encoder",
        found,
        "libx264 in PyAV" if found else "this PyAV has none",
        "" if found else "install PyAV's wheel from PyPI",
    )


def _data_dir(settings: Settings) -> Iterator[Check]:
    try:
        prepare_data_dir(settings)
    except StudioError as error:
        yield Check("data directory", False, str(error))
        return
    free = shutil.disk_usage(settings.data_dir).free
    yield Check("data directory", True, str(settings.data_dir))
    enough = free >= MIN_FREE_BYTES
    yield Check("disk", enough, f"{free / 2**30:.1f} GB free", "" if enough else "free some space")
    if settings.jobs_db.exists():
        sound = _is_sound(settings.jobs_db)
        remedy = "" if sound else "start the studio, it takes the last backup"
        yield Check("job store", sound, "sound" if sound else "broken", remedy)


def _is_sound(path: Path) -> bool:
    try:
        return is_sound(path)
    except StudioError:
        return False


def _presets(settings: Settings) -> Iterator[Check]:
    """Presets parse; those with weights in the package or a local folder have them."""
    try:
        presets = all_presets(settings)
    except StudioError as error:
        yield Check("presets", False, str(error))
        return
    yield Check("presets", bool(presets), f"{len(presets)} usable")
    from studio.models.weights import find_folder

    for preset in presets.values():
        if preset.weights.source == "hub":
            continue
        try:
            yield Check(f"weights of {preset.id}", True, find_folder(preset).name)
        except StudioError as error:
            yield Check(f"weights of {preset.id}", False, str(error))


def _machine(settings: Settings) -> Iterator[Check]:
    import psutil

    memory = psutil.virtual_memory()
    yield Check(
        "memory",
        memory.available >= 2**30,
        f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GB free",
        "" if memory.available >= 2**30 else "close other programs; pocket needs 1 GB",
    )
    devices = sorted(path.name for path in Path("/dev").glob("nvidia[0-9]*"))
    detail = ", ".join(devices) or "no GPU; the pocket model needs none"
    yield Check("device", True, detail if settings.device == "auto" else settings.device)
    told = kernel_oom_kills() is not None
    yield Check("memory reports", True, "the kernel tells" if told else "the kernel does not tell")


def _cluster(settings: Settings) -> Iterator[Check]:
    from studio.commands.cluster import examine

    for name, good, detail, remedy in examine(settings):
        yield Check(name, good, detail, remedy)


EXAMINATIONS: tuple[Callable[[Settings], Iterator[Check]], ...] = (
    _python,
    _packages,
    _encoder,
    _machine,
    _data_dir,
    _presets,
    _cluster,
)
