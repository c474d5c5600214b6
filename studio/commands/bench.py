"""`bench`: one measurement a command, rivals beside ours, medians of alternating repeats."""

from __future__ import annotations

import json
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, get_args

import psutil
import typer

from studio.commands import bench_stream
from studio.commands.bench_director import director
from studio.commands.common import AsJson, DataDir, guarded, open_settings, show
from studio.commands.make import Kitchen
from studio.commands.scale import scale
from studio.core.errors import StudioError
from studio.core.preset import find_preset
from studio.core.request import Cache, parse_request
from studio.core.settings import ROOT, Settings
from studio.jobs.context import all_presets, make_models

app = typer.Typer(help="Measure this machine.", no_args_is_help=True)
app.command()(bench_stream.stream)
app.command()(scale)
app.command()(director)

Repeats = Annotated[int, typer.Option(min=1, max=50, help="Runs of each rival.")]
PROMPT = "a red ball moves right over the meadow at day, static camera"
START_LIMIT_S = 120.0

Rival = Callable[[Callable[[], None]], Any]
"""Does the work once; calls what it is given when the first result is there."""


@app.command()
@guarded
def start(repeats: Repeats = 3, as_json: AsJson = False) -> None:
    """Seconds from the start of `python app.py` to its first page, and its memory."""
    runs = [_start_once() for _ in range(repeats)]
    value: dict[str, Any] = {
        "seconds": statistics.median(run["seconds"] for run in runs),
        "rss_bytes": max(run["rss_bytes"] for run in runs),
        "torch_loaded": any(run["torch_loaded"] for run in runs),
        "runs": runs,
    }
    text = (
        f"first page after {value['seconds']:.1f} s, {value['rss_bytes'] / 2**20:.0f} MB, "
        f"{'with' if value['torch_loaded'] else 'without'} torch"
    )
    show(value, text, as_json=as_json)


@app.command()
@guarded
def decode(
    preset: Annotated[str, typer.Option(help="Whose VAE.")] = "pocket",
    latent_frames: Annotated[int, typer.Option(min=2, max=400)] = 25,
    repeats: Repeats = 3,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Our streamed decoder beside the VAE's own whole decode: time, first frame, memory."""
    import numpy as np
    import torch

    from studio.models.families.wan_vae import statistics as latent_statistics
    from studio.models.families.wan_vae import video_to_frames
    from studio.models.family import family_for

    settings = open_settings(data_dir)
    chosen = find_preset(all_presets(settings), preset)
    family, models = family_for(chosen), make_models(settings)
    width, height = chosen.limits.sizes[0]
    stride, draw = chosen.spatial_stride, torch.Generator().manual_seed(0)
    shape = (1, chosen.latent_channels, latent_frames, height // stride, width // stride)
    latents = torch.randn(shape, generator=draw)
    rule = chosen.rule

    def streamed(mark: Callable[[], None]) -> Any:
        # A real consumer keeps nothing: only the last frames stay for the comparison.
        with family.decoder(models) as decoder:
            frames = decoder.push(latents[:, :, :1])
            mark()
            for k in range(1, latent_frames):
                frames = decoder.push(latents[:, :, k : k + 1])
        return frames

    def whole(mark: Callable[[], None]) -> Any:
        with models.use(family.components()["vae"]) as vae, torch.no_grad():
            mean, inverse = latent_statistics(vae)
            video = vae.decode(latents.to(vae.dtype) / inverse + mean).sample
            mark()
            return video_to_frames(video)[-rule.stride :]

    rivals: dict[str, Rival] = {"stream": streamed, "whole": whole}
    first = {name: run(lambda: None) for name, run in rivals.items()}
    value: dict[str, Any] = {
        "preset": preset,
        "frames": rule.pixel_frames(latent_frames),
        "largest_difference": int(
            np.abs(first["stream"].astype(int) - first["whole"].astype(int)).max()
        ),
        **alternate(rivals, repeats),
    }
    text = "\n".join(
        f"{name}: {value[name]['seconds']:.2f} s, first frames after "
        f"{value[name]['first_s']:.2f} s, {value[name]['extra_bytes'] / 2**20:.0f} MB more"
        for name in rivals
    )
    show(value, text, as_json=as_json)


@app.command()
@guarded
def stitch(
    preset: Annotated[str, typer.Option(help="The model.")] = "pocket",
    seconds: Annotated[float, typer.Option(help="Length of the clip.")] = 6.0,
    repeats: Repeats = 1,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """The methods for long clips beside one another: time, forwards, seams, drift."""
    settings = open_settings(data_dir)
    chosen = find_preset(all_presets(settings), preset)
    wishes: dict[str, dict[str, Any]] = {
        m: {"method": m, "seconds": seconds} for m in chosen.long.methods
    }
    _compare(settings, preset, wishes, repeats, as_json=as_json)


@app.command()
@guarded
def cache(
    preset: Annotated[str, typer.Option(help="The model.")] = "pocket",
    repeats: Repeats = 1,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Skipped steps beside all steps: time, forwards, and how far the picture moves."""
    settings = open_settings(data_dir)
    wishes: dict[str, dict[str, Any]] = {name: {"cache": name} for name in get_args(Cache)}
    _compare(settings, preset, wishes, repeats, as_json=as_json)


def _compare(
    settings: Settings,
    preset: str,
    wishes: Mapping[str, dict[str, Any]],
    repeats: int,
    *,
    as_json: bool,
) -> None:
    """Make one clip a wish, in turns; the first wish is what the others are compared with."""
    requests = {
        name: parse_request({"kind": "t2v", "preset": preset, "prompt": PROMPT, **wish})
        for name, wish in wishes.items()
    }
    kitchen, seen = Kitchen.open(settings), {name: list[dict[str, Any]]() for name in requests}
    with tempfile.TemporaryDirectory() as folder, kitchen.stoppable():
        files = {name: Path(folder, f"{name}.mp4") for name in requests}
        # The first run of all loads the model and is not counted.
        kitchen.make(next(iter(requests.values())), Path(folder, "warm.mp4"))
        for _ in range(repeats):
            for name, request in requests.items():
                seen[name].append(kitchen.make(request, files[name]))
        base = next(iter(files.values()))
        value = {name: _summed(runs, files[name], base) for name, runs in seen.items()}
    lines = [f"{name}: {json.dumps(found)}" for name, found in value.items()]
    show(value, "\n".join(lines), as_json=as_json)


def _summed(runs: list[dict[str, Any]], file: Path, base: Path) -> dict[str, Any]:
    from studio.media.decode import read_clip
    from studio.quality.colour import psnr

    last, quality = runs[-1], runs[-1]["quality"]
    ours, first = read_clip(file), read_clip(base)
    return {
        "frames": last["frames"],
        "sampling_s": statistics.median(run["timings"]["sampling_s"] for run in runs),
        "total_s": statistics.median(run["timings"]["total_s"] for run in runs),
        "forwards": last["forwards_spent"],
        "seam_ratio": quality.get("seam_ratio"),
        "colour_drift": quality.get("colour_drift"),
        "psnr": None if file == base or ours.shape != first.shape else psnr(ours, first),
    }


def alternate(rivals: Mapping[str, Rival], repeats: int) -> dict[str, dict[str, Any]]:
    """Medians of each rival's time, time to its mark and extra memory; they take turns."""
    seen: dict[str, list[tuple[float, float, int]]] = {name: [] for name in rivals}
    for _ in range(repeats):
        for name, run in rivals.items():
            seen[name].append(_measured(run))
    return {
        name: {
            "seconds": statistics.median(s for s, _, _ in runs),
            "first_s": statistics.median(f for _, f, _ in runs),
            "extra_bytes": max(b for _, _, b in runs),
            "runs": [s for s, _, _ in runs],
        }
        for name, runs in seen.items()
    }


def _measured(run: Rival) -> tuple[float, float, int]:
    marks: list[float] = []
    with _watching_memory() as peak:
        begin = time.perf_counter()
        run(lambda: marks.append(time.perf_counter()))
        end = time.perf_counter()
    return end - begin, (marks[0] if marks else end) - begin, peak[-1] - peak[0]


@contextmanager
def _watching_memory() -> Iterator[list[int]]:
    """[bytes at the start, ..., highest]: this process's memory inside the block."""
    process, over = psutil.Process(), threading.Event()
    seen = [process.memory_info().rss]

    def watch() -> None:
        while not over.wait(0.005):
            rss = process.memory_info().rss
            if rss > seen[-1]:
                seen.append(rss)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def _start_once() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        port = _free_port()
        command = [sys.executable, str(ROOT / "app.py"), "--port", str(port)]
        begin = time.perf_counter()
        process = subprocess.Popen(
            [*command, "--data-dir", folder],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
        )
        try:
            _wait_for_page(port, process)
            seconds = time.perf_counter() - begin
            rss = psutil.Process(process.pid).memory_info().rss
            return {"seconds": seconds, "rss_bytes": rss, "torch_loaded": _has_torch(process.pid)}
        finally:
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(15)
            process.kill()
            process.wait()


def _wait_for_page(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.perf_counter() + START_LIMIT_S
    while time.perf_counter() < end:
        if process.poll() is not None:
            raise StudioError(
                f"the studio ended with status {process.returncode} before its first page; "
                "run `python app.py` to see why"
            )
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise StudioError(f"the studio showed no page within {START_LIMIT_S:.0f} s; run `doctor`")


def _has_torch(pid: int) -> bool:
    maps = Path("/proc", str(pid), "maps")
    return maps.exists() and "libtorch" in maps.read_text(encoding="utf-8", errors="replace")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
