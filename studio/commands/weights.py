"""`models`: which weights are here, fetch them, and look whether they are whole."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from studio.commands.common import (
    FAILED,
    AsJson,
    DataDir,
    check_output,
    guarded,
    open_settings,
    say,
    show,
)
from studio.core.errors import RequestError, StudioError, WeightsError
from studio.core.preset import Preset, find_preset
from studio.core.settings import ROOT
from studio.jobs.context import all_presets

app = typer.Typer(help="Weights of the presets.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="A preset; see `presets`.")]


@app.command("list")
@guarded
def list_(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """All presets' weights: where they come from, their licence, and whether they are here."""
    rows = [about(p) for p in all_presets(open_settings(data_dir)).values()]
    text = "\n".join(
        f"{r['preset']:<24} {'here' if r['here'] else 'not here':<9} {r['licence']}" for r in rows
    )
    show(rows, text, as_json=as_json)


@app.command()
@guarded
def pull(
    preset: Name,
    accept_licence: Annotated[
        bool, typer.Option(help="Say yes to the licence that is shown.")
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Download a preset's weights; what is there already is kept."""
    chosen = find_preset(all_presets(open_settings(data_dir)), preset)
    weights = chosen.weights
    if weights.source != "hub":
        show(about(chosen), f"{preset}: nothing to download", as_json=as_json)
        return
    size = f", {weights.download_bytes / 1e9:.0f} GB" if weights.download_bytes else ""
    say(f"{weights.path}{size}, licence {weights.licence} {weights.licence_url}")
    if not accept_licence:
        raise RequestError("the licence was not accepted; read it, then add --accept-licence")
    from studio.models import hub

    folder = str(hub.pull(chosen))
    show({**about(chosen), "folder": folder}, folder, as_json=as_json)


@app.command()
@guarded
def verify(preset: Name, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Read every weight file of a preset, print its SHA-256, and say what is missing."""
    from studio.models import hub
    from studio.models.weights import find_folder

    chosen = find_preset(all_presets(open_settings(data_dir)), preset)
    folder = find_folder(chosen)
    rows = [_verified(path, folder) for path in sorted(folder.rglob("*.safetensors"))]
    rows += [
        {"file": report.part, "tensors": 0, "sha256": None, "error": report.problem}
        for report in hub.verify(chosen)
        if report.problem
    ]
    if not rows:
        raise WeightsError(f"{folder} holds no safetensors file; download the weights again")
    text = "\n".join(f"{r['sha256'] or r['error']}  {r['file']}" for r in rows)
    show(rows, text, as_json=as_json)
    if any(row["error"] for row in rows):
        raise typer.Exit(FAILED)


@app.command()
@guarded
def convert(
    source: Annotated[Path, typer.Argument(help="A published .pt, .pth, .bin or .ckpt file.")],
    target: Annotated[Path, typer.Argument(help="The .safetensors file to write.")],
    as_json: AsJson = False,
) -> None:
    """Turn a pickled weights file into safetensors, in a process that runs no code of it."""
    if not source.is_file():
        raise RequestError(f"there is no file {source}; check its path")
    target = check_output(target, ".safetensors")
    command = [sys.executable, "-m", "studio.models.convert", str(source.absolute()), str(target)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise WeightsError(lines[-1])
    found = json.loads(done.stdout)
    text = f"{found['tensors']} tensors, {found['bytes'] / 2**20:,.1f} MB"
    show({"path": str(target), **found}, text, as_json=as_json)


def about(preset: Preset) -> dict[str, Any]:
    """Where a preset's weights come from and whether they are on this machine."""
    from studio.models.weights import find_folder

    try:
        folder, why = str(find_folder(preset)), ""
    except StudioError as error:
        folder, why = None, str(error)
    return {
        "preset": preset.id,
        "source": preset.weights.source,
        "path": preset.weights.path,
        "licence": preset.weights.licence,
        "licence_url": preset.weights.licence_url,
        "download_bytes": preset.weights.download_bytes,
        "here": folder is not None,
        "folder": folder,
        "why": why,
    }


def _verified(path: Path, folder: Path) -> dict[str, Any]:
    from studio.models.weights import read_header

    name = str(path.relative_to(folder))
    try:
        tensors = len(read_header(path))
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (StudioError, OSError) as error:
        return {"file": name, "tensors": 0, "sha256": None, "error": str(error)}
    return {"file": name, "tensors": tensors, "sha256": digest, "error": None}
