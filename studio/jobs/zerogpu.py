"""Jobs on ZeroGPU: a GPU is lent for one call at a time, so each call makes one window.

The calls are made inside the visitor's own event: their quota pays for them. When the quota ends or
the visitor leaves, the job is interrupted with its windows kept, and goes on when it is resumed.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.core.errors import Cancelled, RequestError, StudioError
from studio.core.events import Done, Event, SegmentDone
from studio.core.plan import Plan
from studio.core.preset import find_preset
from studio.core.request import parse_request
from studio.core.settings import Settings
from studio.jobs.context import DEFAULT_RUNNER, RunContext, all_presets, load_runner, make_models
from studio.jobs.heartbeat import Heartbeat
from studio.jobs.store import JobStore
from studio.jobs.worker import Options

if TYPE_CHECKING:
    from studio.models.manager import ModelManager

log = logging.getLogger("studio.zerogpu")

LEASE_S = 120.0
SHORTEST_S, LONGEST_S = 15, 120
"""What a call may ask for; the platform refuses more before it begins."""
START_S = 12.0
"""Moving the weights over and the first kernels."""
A_FORWARD_S = 0.35
"""Before anything was measured on the hardware."""
_PINNED: dict[str, ModelManager] = {}


class ZeroGpuExecutor:
    """Runs nothing by itself: the page's event drives its job with `drive`."""

    def __init__(self, store: JobStore, settings: Settings, runner: str = DEFAULT_RUNNER) -> None:
        self.store = store
        self.settings = settings
        self.runner = runner
        self._call = lend_gpu(seconds_for)(one_window)

    def start(self) -> None:
        """What an earlier process left waits to be resumed by its owner; weights are loaded now.

        A worker is forked from this process for every call and would load them each time.
        """
        text = "the studio ended; resume the job and it goes on at its next window"
        for job in self.store.list(states=["running"], limit=1000):
            if job.worker:
                self.store.interrupt(job.worker, text, strike=False)
        pinned_models(self.settings)

    def close(self) -> None:
        """Nothing is running but visitors' events, which end with the process."""

    def is_busy(self) -> bool:
        """Whether some visitor's job runs."""
        return bool(self.store.list(states=["running"], limit=1))

    def drive(self, job_id: str) -> Iterator[str]:
        """Make the job window by window; its state after each call.

        Closing the iterator (the visitor left) interrupts the job; its windows are kept.
        """
        worker_id = f"zerogpu-{job_id}"
        job = self.store.claim(worker_id, LEASE_S, only=job_id)
        if job is None:
            return
        settled = False
        options = Options(worker_id, lease_s=LEASE_S)
        try:
            with Heartbeat(self.store, job_id, options):
                while not settled:
                    place = str(self.settings.data_dir)
                    outcome = self._call(place, job_id, worker_id, self.runner)
                    settled = self._settle(job_id, worker_id, outcome)
                    yield self.store.get(job_id).state
        except Exception as error:
            # The platform's own errors (quota, abort, pickling) have no common class.
            log.warning("the GPU call ended: %s", error)
            self._interrupt(worker_id, sentence(error))
            settled = True
            yield self.store.get(job_id).state
        finally:
            if not settled:
                self._interrupt(worker_id, "you left; resume the job and it goes on")

    def _interrupt(self, worker_id: str, message: str) -> None:
        self.store.interrupt(worker_id, message, strike=False)

    def _settle(self, job_id: str, worker_id: str, outcome: dict[str, Any]) -> bool:
        """Write down how a call ended; whether the job is over."""
        kind = outcome["kind"]
        if kind == "window":
            return False
        if kind == "done":
            done = Done(outcome["clip_id"], outcome["path"], outcome["summary"])
            self.store.finish(job_id, worker_id, done)
        elif kind == "stopped":
            self.store.stopped(job_id, worker_id)
        else:
            self.store.fail(job_id, worker_id, outcome["error"], outcome["message"])
        return True


def one_window(data_dir: str, job_id: str, worker_id: str, runner: str) -> dict[str, Any]:
    """One GPU call: the job's next window, or what is left after the last one.

    Arguments and result are plain data: they are pickled to another process and back.
    """
    settings = Settings(data_dir=Path(data_dir))
    with_store = JobStore(settings.jobs_db)
    try:
        return _run(with_store, settings, (job_id, worker_id), runner)
    finally:
        with_store.close()


def _run(store: JobStore, settings: Settings, mine: tuple[str, str], runner: str) -> dict[str, Any]:
    job = store.get(mine[0])
    known = {segment.window for segment in job.segments}
    seen: dict[str, bool] = {"made": False}
    windows = len(_plan(settings, job.request).windows)

    def emit(event: Event) -> None:
        if isinstance(event, Done):
            return
        store.report(*mine, event)
        if isinstance(event, SegmentDone) and event.window not in known:
            seen["made"] = event.window + 1 < windows

    work_dir = settings.work_dir / job.id
    work_dir.mkdir(parents=True, exist_ok=True)
    context = RunContext(
        job_id=job.id,
        work_dir=work_dir,
        outputs_dir=settings.outputs_dir,
        cache_dir=settings.cache_dir,
        models=pinned_models(settings),
        presets=all_presets(settings),
        emit=emit,
        owner=job.owner,
        should_stop=lambda: seen["made"] or bool(store.get(job.id).stop),
    )
    try:
        done = load_runner(runner)(parse_request(dict(job.request)), context)
    except Cancelled:
        return {"kind": "stopped" if store.get(job.id).stop else "window"}
    except StudioError as error:
        return {"kind": "failed", "error": type(error).__name__, "message": str(error)}
    return {"kind": "done", "clip_id": done.clip_id, "path": done.path, "summary": done.summary}


def seconds_for(data_dir: str, job_id: str, worker_id: str, runner: str) -> int:
    """How long a call of these arguments may take: from the plan, and from clips made before."""
    del worker_id, runner
    from studio.library.library import Library
    from studio.stitching.estimate import pace_of

    settings = Settings(data_dir=Path(data_dir))
    store = JobStore(settings.jobs_db)
    try:
        plan = _plan(settings, store.get(job_id).request)
    finally:
        store.close()
    recent = Library(settings.outputs_dir).list(limit=60)
    pace = pace_of([clip.summary for clip in recent], plan)
    calls = 1 if plan.method == "position-shift" else len(plan.windows)
    forward = A_FORWARD_S if pace is None else pace.seconds_a_forward
    frame = 0.02 if pace is None else pace.seconds_a_frame
    seconds = START_S + 1.5 * (plan.forwards * forward + plan.frames * frame) / max(1, calls)
    return max(SHORTEST_S, min(LONGEST_S, round(seconds)))


def _plan(settings: Settings, request: Any) -> Plan:
    from studio.jobs.inputs import audio_seconds
    from studio.stitching.windows import make_plan

    asked = parse_request(dict(request))
    preset = find_preset(all_presets(settings), asked.preset)
    return make_plan(asked, preset, audio_seconds=audio_seconds(asked))


def pinned_models(settings: Settings) -> ModelManager:
    """The process's one manager; on such hardware nothing is ever unloaded."""
    key = str(settings.data_dir)
    if key not in _PINNED:
        _PINNED[key] = make_models(settings)
    return _PINNED[key]


@cache
def _spaces() -> Any:
    try:
        return importlib.import_module("spaces")
    except ImportError as error:
        raise RequestError(
            "the executor zerogpu needs the module spaces, which a ZeroGPU Space has; "
            "use STUDIO_EXECUTOR=local elsewhere"
        ) from error


def lend_gpu(duration: Callable[..., int]) -> Callable[..., Callable[..., dict[str, Any]]]:
    """`spaces.GPU` with a duration that is a function of the call's arguments."""
    lent: Callable[..., Callable[..., dict[str, Any]]] = _spaces().GPU(duration=duration)
    return lent


def sentence(error: Exception) -> str:
    """What the platform said, and what to do."""
    said = str(getattr(error, "message", "") or error).strip() or type(error).__name__
    return f"the GPU was taken back ({said[:300]}); resume the job later and it goes on"
