"""`generate`, `plan` and `compare`: from a wish to clips, in this process, without a job store."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from studio.commands.cluster import cluster_for, cluster_text
from studio.commands.common import (
    FAILED,
    AsJson,
    DataDir,
    check_folder,
    check_output,
    guarded,
    open_settings,
    say,
    show,
    takes,
)
from studio.commands.needs import estimated
from studio.commands.wishes import Ready, Wish, make_ready
from studio.core.errors import Cancelled, RequestError, StorageError, StudioError
from studio.core.events import Event, Notice, Progress, SegmentDone
from studio.core.plan import Plan
from studio.core.request import Request, dump_request, parse_request
from studio.core.settings import Settings
from studio.jobs.context import RunContext, all_presets, load_runner, make_models
from studio.jobs.process import return_freed_memory
from studio.jobs.space import Space
from studio.scale.local import runner_for

MIN_FREE_BYTES = 64 * 2**20

Out = Annotated[Path | None, typer.Option(help="The clip's file; without it, the library.")]
OutDir = Annotated[Path | None, typer.Option(help="A folder for several clips.")]
SaveLatents = Annotated[Path | None, typer.Option(help="Also save the latents (.safetensors).")]


@guarded
@takes(Wish)
def generate(
    wish: Wish, out: Out = None, out_dir: OutDir = None, save_latents: SaveLatents = None
) -> None:
    """Make a clip, or with --prompts-file one clip a line."""
    settings = open_settings(wish.data_dir)
    batch = wish.prompts_file is not None
    if batch and out_dir is None:
        raise RequestError("--prompts-file needs --out-dir; say where the clips shall go")
    if batch and (out is not None or save_latents is not None):
        raise RequestError("--out and --save-latents name one file; drop them or --prompts-file")
    if not batch and out_dir is not None:
        raise RequestError("--out-dir belongs to --prompts-file; use --out for one clip")
    ready = make_ready(wish, settings)
    folder = check_folder(out_dir) if out_dir is not None else None
    target = check_output(out, ".mp4") if out is not None else None
    latents = check_output(save_latents, ".safetensors") if save_latents is not None else None
    kitchen = Kitchen.open(settings)
    with kitchen.stoppable():
        if folder is None:
            summary = kitchen.make(ready[0].request, target, latents)
            show(summary, str(summary["path"]), as_json=wish.as_json)
            return
        results = [_one(kitchen, r, folder / f"{k:03d}.mp4") for k, r in enumerate(ready)]
    paths = "\n".join(str(r.get("path") or r["error"]) for r in results)
    show(results, paths, as_json=wish.as_json)
    if any("error" in result for result in results):
        raise typer.Exit(FAILED)


@guarded
@takes(Wish)
def plan(wish: Wish) -> None:
    """Say what a clip would need and how it would be made; nothing is loaded."""
    settings = open_settings(wish.data_dir)
    value, texts = [], []
    for ready in make_ready(wish, settings):
        cluster = cluster_for(settings, ready.plan, ready.preset)
        needed = estimated(ready, settings)
        value.append(asdict(needed) | ({} if cluster is None else {"cluster": cluster}))
        more = "" if cluster is None else f"\n{cluster_text(cluster)}"
        texts.append(describe(needed) + more)
    text = "\n\n".join(texts)
    show(value if wish.prompts_file else value[0], text, as_json=wish.as_json)


@guarded
@takes(Wish)
def compare(
    wish: Wish, out_dir: Annotated[Path, typer.Option(help="Where both clips shall go.")]
) -> None:
    """Make a long clip by both methods with one seed."""
    if wish.prompts_file is not None:
        raise RequestError("a comparison takes one prompt; use --prompt")
    settings = open_settings(wish.data_dir)
    [ready] = make_ready(wish, settings)
    methods = ready.preset.long.methods
    if len(methods) < 2:
        raise RequestError(
            f"preset {ready.preset.id} has one method for long clips; choose another preset"
        )
    requests = {m: ready.request.model_copy(update={"method": m}) for m in methods}
    folder = check_folder(out_dir)
    kitchen = Kitchen.open(settings)
    with kitchen.stoppable():
        made = {m: kitchen.make(r, folder / f"{m}.mp4") for m, r in requests.items()}
    text = "\n".join(f"{m}: {summary['path']}" for m, summary in made.items())
    show(made, text, as_json=wish.as_json)


@guarded
def retake(
    clip: Annotated[Path, typer.Argument(help="A clip that this studio made.")],
    window: Annotated[int, typer.Option(help="Which window, from 0; see `inspect`.")],
    seed: Annotated[int, typer.Option(help="Another seed, another take.")] = 1,
    prompt: Annotated[str | None, typer.Option(help="What it shows instead.")] = None,
    out: Out = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make one window of a clip anew; the others stay as they are."""
    from studio.jobs.inputs import find_clip
    from studio.jobs.parts import find_parts

    settings = open_settings(data_dir)
    target = check_output(out, ".mp4") if out is not None else None
    found = find_clip(str(clip), settings.outputs_dir)
    parts = find_parts(found, settings.outputs_dir)
    wish = {"clip": str(found), "window": window, "seed": seed, "prompt": prompt}
    request = parse_request({**dump_request(parts.request), "retake": wish})
    if not 0 <= window < len(parts.seeds):
        raise RequestError(
            f"the clip has windows 0 to {len(parts.seeds) - 1} (got {window}); choose one of them"
        )
    kitchen = Kitchen.open(settings)
    with kitchen.stoppable():
        summary = kitchen.make(request, target)
    show(summary, str(summary["path"]), as_json=as_json)


def _one(kitchen: Kitchen, ready: Ready, out: Path) -> dict[str, Any]:
    """One clip of a batch; a failure that is not about the machine does not end the others."""
    try:
        return {"prompt": ready.request.prompt, **kitchen.make(ready.request, out)}
    except (Cancelled, StorageError):
        raise
    except StudioError as error:
        say(f"{out.name}: {error}")
        return {"prompt": ready.request.prompt, "path": None, "error": str(error)}


@dataclass
class Kitchen:
    """Models that are loaded once, and where clips are made."""

    settings: Settings
    models: Any
    stopping: bool = False

    @classmethod
    def open(cls, settings: Settings) -> Kitchen:
        """Nothing is loaded yet.

        Raises:
            StorageError: if the disk is full.
        """
        lacking = Space(settings.data_dir, MIN_FREE_BYTES).lacking()
        if lacking:
            raise StorageError(lacking.replace("the queue goes on by itself", "try again"))
        if settings.threads:
            os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(settings.threads)
        return_freed_memory()
        return cls(settings, make_models(settings))

    def make(
        self, request: Request, out: Path | None = None, latents: Path | None = None
    ) -> dict[str, Any]:
        """Make one clip; what `--json` prints. Its work folder is gone afterwards."""
        job_id = f"cli-{os.getpid()}-{secrets.token_hex(4)}"
        work_dir = self.settings.work_dir / job_id
        work_dir.mkdir(parents=True)
        reporter = Line()
        try:
            context = RunContext(
                job_id=job_id,
                work_dir=work_dir,
                outputs_dir=self.settings.outputs_dir,
                cache_dir=self.settings.cache_dir,
                models=self.models,
                presets=all_presets(self.settings),
                emit=reporter.emit,
                should_stop=lambda: self.stopping,
                save_latents=latents,
                out=out,
            )
            return load_runner(runner_for(self.settings))(request, context).summary
        finally:
            reporter.end()
            shutil.rmtree(work_dir, ignore_errors=True)

    @contextmanager
    def stoppable(self) -> Iterator[None]:
        """Ctrl+C and SIGTERM end the run after its step; a second one ends it at once."""

        def ask(number: int, frame: FrameType | None) -> None:
            del number, frame
            if self.stopping:
                raise KeyboardInterrupt
            self.stopping = True
            sys.stderr.write("\nending after this step; press Ctrl+C again to end at once\n")

        old = {n: signal.signal(n, ask) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)


class Line:
    """Progress on stderr: one line that changes on a terminal, one a stage elsewhere."""

    def __init__(self) -> None:
        self.live = sys.stderr.isatty()
        self.last: tuple[object, ...] = ()
        self.open = False

    def emit(self, event: Event) -> None:
        """Show an event."""
        match event:
            case Progress():
                self._progress(event)
            case Notice():
                self.end()
                say(event.message)
            case SegmentDone() if not self.live:
                say(f"window {event.window + 1} is done ({event.frames} frames)")

    def end(self) -> None:
        """Leave the line."""
        if self.open:
            sys.stderr.write("\n")
            self.open = False

    def _progress(self, event: Progress) -> None:
        if self.live:
            left = "" if event.eta_s is None else f", {event.eta_s:.0f} s left"
            text = f"{event.done:4.0%} {event.stage} {event.step}/{event.steps}{left}"
            sys.stderr.write(f"\r{text:<70}")
            sys.stderr.flush()
            self.open = True
        elif (event.stage, event.window) != self.last:
            self.last = (event.stage, event.window)
            many = event.windows > 1 and event.stage in ("sampling", "decoding", "publishing")
            say(event.stage + (f" (window {event.window + 1} of {event.windows})" if many else ""))


def describe(plan: Plan) -> str:
    """A plan in a few lines."""
    lines = [
        f"{plan.frames} frames, {plan.seconds:.2f} s at {plan.fps:g} fps, "
        f"{plan.width}x{plan.height}, preset {plan.preset}",
        f"{plan.method}, {plan.num_inference_steps} steps, {plan.forwards} forwards",
        *(
            f"  window {w.index}: frames {w.first_frame}-{w.first_frame + w.frames - 1}, "
            f"seed {w.seed}, {w.prompt[:60]}"
            for w in plan.windows
        ),
        *plan.notices,
    ]
    if plan.estimate is not None:
        lines.append(_estimate(plan))
    return "\n".join(lines)


def _estimate(plan: Plan) -> str:
    need = plan.estimate
    assert need is not None
    time = "unknown time" if need.seconds is None else f"about {need.seconds:.0f} s"
    room = max(need.device_bytes, need.host_bytes) / 2**20
    fits = "fits" if need.fits else f"does not fit; {need.advice}"
    return f"memory {room:,.0f} MB, disk {need.disk_bytes / 2**20:,.0f} MB, {time}: {fits}"
