"""`bench stream`: blocks from their file beside the loaded model and the stock ways to do it."""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from studio.commands.common import AsJson, guarded, show
from studio.core.errors import StudioError
from studio.models import stream_rival
from studio.models.stream_models import PARTS, write_models

MODES = ("resident", "disk", "group_offload", "accelerate")
FIGURES = ("peak_rss_bytes", "seconds_per_forward", "bytes_read", "bytes_written")
WINDOWS = 4


@guarded
def stream(
    repeats: Annotated[int, typer.Option(min=1, max=50, help="Runs of each mode.")] = 5,
    folder: Annotated[Path | None, typer.Option(help="Where the models lie meanwhile.")] = None,
    as_json: AsJson = False,
) -> None:
    """Wan 1.3B and UMT5-XXL's first layers with random weights: memory, time, bytes."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="studio-bench-") as made:
        folders = _written(Path(made))
        value: dict[str, Any] = {part: _compare(part, folders[part], repeats) for part in PARTS}
        layered = _run("layer_major", str(folders["transformer"]), str(WINDOWS))
        if layered is None:
            raise StudioError("the layer-major run ended early; free some memory and try again")
        layered["weights_bytes"] = value["transformer"]["weights_bytes"]
        value["layer_major"] = layered
    show(value, _text(value), as_json=as_json)


def _written(root: Path) -> dict[str, Path]:
    """The folders of both models, written by another process: this one stays small."""
    if not sys.platform.startswith("linux"):
        raise StudioError("memory is read from /proc; run this bench on Linux")
    stream_rival.warm_imports()
    if _run("write", str(root)) is None:
        raise StudioError(f"the models could not be written to {root}; see the message above")
    return {part: root / part for part in PARTS}


def _compare(part: str, folder: Path, repeats: int) -> dict[str, Any]:
    seen: dict[str, list[dict[str, Any]]] = {mode: [] for mode in MODES}
    for _ in range(repeats):
        for mode in MODES:
            found = _run("measure", part, mode, str(folder))
            if found is not None:
                seen[mode].append(found)
    ours = seen["disk"][-1] if seen["disk"] else {}
    outputs = {run["output"] for mode in ("resident", "disk") for run in seen[mode]}
    return {
        "weights_bytes": sum(path.stat().st_size for path in folder.glob("*.safetensors")),
        "resident_bytes": ours.get("resident_bytes"),
        "block_bytes": ours.get("block_bytes"),
        "equal": bool(ours) and bool(seen["resident"]) and len(outputs) == 1,
        "modes": {mode: _median(runs) for mode, runs in seen.items()},
    }


def _median(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    if not runs:
        return None
    return {figure: statistics.median(run[figure] for run in runs) for figure in FIGURES}


def _run(name: str, *arguments: str) -> dict[str, Any] | None:
    """One measurement in a process of its own; None if it could not run.

    The process is forked from this one, which has imported everything and loaded nothing.
    """
    from multiprocessing import get_context

    fork = get_context("fork")
    here, there = fork.Pipe(duplex=False)
    process = fork.Process(target=_answer, args=(there, name, arguments))
    process.start()
    there.close()
    try:
        found: dict[str, Any] | None = here.recv()
    except EOFError:
        found = None
    process.join()
    if found is None:
        sys.stderr.write(f"{name} {' '.join(arguments[:2])}: ended early, {process.exitcode}\n")
    return found


def write_part(arguments: Sequence[str]) -> dict[str, str]:
    """Write both models into the folder that is the only argument."""
    return {part: str(path) for part, path in write_models(Path(arguments[0])).items()}


def _answer(there: Any, name: str, arguments: Sequence[str]) -> None:
    rival: Any = write_part if name == "write" else stream_rival.RUNS[name]

    there.send(rival(arguments))


def _text(value: Mapping[str, Any]) -> str:
    lines = []
    for part in PARTS:
        lines.append(f"{part}: {value[part]['weights_bytes'] / 2**20:,.0f} MB of weights")
        for mode, run in value[part]["modes"].items():
            lines.append(
                f"  {mode}: cannot run here"
                if run is None
                else f"  {mode}: {run['seconds_per_forward']:.2f} s a forward, "
                f"{run['peak_rss_bytes'] / 2**20:,.0f} MB at the peak, "
                f"{run['bytes_written'] / 2**20:,.0f} MB written"
            )
    layered = value["layer_major"]
    lines.append(
        f"layer-major, {layered['windows']} windows, {layered['branches']} branches: "
        f"{layered['bytes_read_per_step'] / 2**20:,.0f} MB read a step"
    )
    return "\n".join(lines)
