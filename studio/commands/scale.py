"""`bench scale`: two workers beside one, what a job costs beside its sampling, a thousand workers.

Everything is measured here and now: real clips by worker processes, a real clip through an actor's
outbox and the depot, and the store under as many simulated workers as it is asked for.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from studio.commands.common import AsJson, guarded, show
from studio.commands.timed import TimedDepot, TimedStore
from studio.core.errors import RequestError, StudioError
from studio.core.events import Done, Progress, SegmentDone
from studio.core.request import TextToVideo, parse_request
from studio.core.settings import Settings, prepare_data_dir
from studio.jobs.context import DEFAULT_RUNNER, load_runner
from studio.jobs.process import worker_command, worker_environment
from studio.jobs.store import JobStore
from studio.jobs.worker import PROGRESS_S, Options, Worker
from studio.scale.actor import DeviceActor, Seat, Task
from studio.scale.front import BEAT_S
from studio.scale.mail import Mail

PROMPT = "a red ball moves right over the meadow at day, static camera"
LIMIT_S = 3600.0
OWNERS = 50
CROWD = 8
"""Threads that use the store at once in the contended measurement."""


@guarded
def scale(
    jobs: Annotated[int, typer.Option(min=2, help="Clips of each throughput run.")] = 8,
    workers: Annotated[str, typer.Option(help="Worker counts to compare, with commas.")] = "1,2",
    steps: Annotated[int, typer.Option(min=1, max=100, help="Denoising steps a clip.")] = 20,
    simulated: Annotated[str, typer.Option(help="Simulated workers.")] = "1,10,100,1000",
    preset: Annotated[str, typer.Option(help="The model.")] = "pocket",
    as_json: AsJson = False,
) -> None:
    """Workers beside one another, a job's cost beside its sampling, and the store's limit."""
    wish = {"kind": "t2v", "preset": preset, "prompt": PROMPT, "num_inference_steps": steps}
    request = parse_request(wish)
    counts, crowds = _numbers(workers, "--workers"), _numbers(simulated, "--simulated")
    value: dict[str, Any] = {"cores": len(os.sched_getaffinity(0)), "threads_a_worker": 1}
    if counts:
        runs = {str(n): throughput(request, n, jobs) for n in counts}
        first = runs[str(counts[0])]["clips_a_minute"]
        value["throughput"] = runs
        value["speed_up"] = {n: round(run["clips_a_minute"] / first, 2) for n, run in runs.items()}
    value["overhead"] = {"local": local_overhead(request), "cluster": far_overhead(request)}
    value["store"] = {str(n): store_operations(n) for n in crowds}
    if crowds:
        value["saturation"] = saturation(value["store"][str(max(crowds))])
    show(value, _text(value), as_json=as_json)


def throughput(request: Any, count: int, jobs: int) -> dict[str, Any]:
    """`jobs` clips by `count` worker processes of one thread that hold their model already."""
    with _data_dir() as settings, _store(settings) as store, _workers(settings, count):
        _warm(store, request, count)
        begun = time.monotonic()
        for k in range(jobs):
            store.submit(request.model_copy(update={"seed": k}), f"owner{k}")
        _until(lambda: _all_ended(store))
        seconds = time.monotonic() - begun
        bad = [job.message for job in store.list(states=["failed"])]
        if bad:
            raise StudioError(f"a clip of the measurement failed: {bad[0]}")
        return {
            "workers": count,
            "clips": jobs,
            "seconds": round(seconds, 2),
            "clips_a_minute": round(60 * jobs / seconds, 3),
        }


def local_overhead(request: Any) -> dict[str, Any]:
    """What the store costs one clip by a worker with its own store, beside its sampling."""
    with _data_dir() as settings:
        store = TimedStore(settings.jobs_db)
        worker = Worker(store, settings, load_runner(DEFAULT_RUNNER), Options("bench"))
        for _ in range(2):
            # The second one, whose model is in memory.
            job_id = store.submit(request, "bench")
            store.seconds, store.operations = 0.0, 0
            job = store.claim("bench", 60.0)
            assert job is not None
            worker.run(job)
        spent, operations = store.seconds, store.operations
        found = _beside(store, job_id, spent)
        store.close()
        return {**found, "store_operations": operations}


def far_overhead(request: Any) -> dict[str, Any]:
    """What store, outbox and depot cost one clip by an actor of a cluster; Ray's calls not."""
    with _data_dir() as settings:
        store, url = TimedStore(settings.jobs_db), settings.depot_url
        depot = TimedDepot(url)
        actor = DeviceActor(Seat("bench", str(settings.data_dir / "scratch"), settings.device))
        for _ in range(2):
            store.seconds, store.operations = 0.0, 0
            depot.seconds = 0.0
            job_id = store.submit(request, "bench")
            _far_once(store, settings, depot, actor)
        found = _beside(store, job_id, store.seconds + depot.seconds)
        moved = {"store_s": round(store.seconds, 4), "depot_s": round(depot.seconds, 4)}
        operations = store.operations
        store.close()
        return {**found, **moved, "store_operations": operations}


def _far_once(store: TimedStore, settings: Settings, depot: TimedDepot, actor: DeviceActor) -> None:
    worker_id = secrets.token_hex(8)
    job = store.claim(worker_id, 60.0)
    assert job is not None
    mail = Mail(store, settings, depot, job.id, worker_id)
    task = Task(job, worker_id, time.time(), depot.url, {}, {}, {})
    actor.open_depot = lambda _url: depot
    thread = threading.Thread(target=actor.run, args=(task,))
    thread.start()
    while not mail.ended:
        time.sleep(0.25)
        mail.apply(actor.collect(mail.acknowledged, store.get(job.id).stop).letters)
    thread.join()
    actor.collect(mail.acknowledged, "")


def store_operations(count: int) -> dict[str, Any]:
    """Operations a second of a store in which `count` workers have a job each."""
    with _data_dir() as settings, _store(settings) as store:
        request, cpu = TextToVideo(prompt="a ball"), time.process_time()
        names = [f"worker{k}" for k in range(count)]
        ids = [store.submit(request, f"owner{k % OWNERS}") for k in range(count)]
        claimed: list[tuple[str, str]] = []

        def claim(name: str) -> None:
            job = store.claim(name, 60.0)
            assert job is not None
            claimed.append((job.id, name))

        rates = {"claim": _rate(claim, names)}
        step = Progress("sampling", 0, 1, 3, 20, done=0.15)
        part = SegmentDone(0, "/nowhere/window-000.mp4", 0, 25, "0" * 64)
        rates["heartbeat"] = _rate(lambda c: store.heartbeat(c[0], c[1], 60.0), claimed)
        rates["progress"] = _rate(lambda c: store.report(c[0], c[1], step), claimed)
        rates["window"] = _rate(lambda c: store.report(c[0], c[1], part), claimed)
        rates["mixed_by_8_threads"] = _crowd_rate(store, claimed, step)
        begun = time.perf_counter()
        lost = store.heartbeats(claimed, 60.0)
        rates["heartbeat_all_at_once"] = round(count / (time.perf_counter() - begun), 1)
        assert not lost
        assert len(claimed) == len(ids) == count
        end = Done("clip", "/nowhere/clip.mp4", {"frames": 25})
        rates["finish"] = _rate(lambda c: store.finish(c[0], c[1], end), claimed)
        # Eight a worker: submitted, claimed, four things said, one beat of all, the end.
        spent_ms = 1000 * (time.process_time() - cpu) / (8 * count)
        return {"workers": count, "a_second": rates, "cpu_ms_an_operation": round(spent_ms, 4)}


def saturation(measured: dict[str, Any]) -> dict[str, Any]:
    """How many workers the measured store serves, by what each of them says a second."""
    rates, beat_s = measured["a_second"], Options("x").beat_s
    beat, note = 1 / rates["heartbeat"], 1 / rates["progress"]
    shared, fast, slow = 1 / rates["heartbeat_all_at_once"], 1 / PROGRESS_S, 0.5
    busy = {
        "local, a step every 0.1 s": beat / beat_s + note * fast,
        "local, a step every 2 s": beat / beat_s + note * slow,
        "cluster, asked every 2 s": shared / BEAT_S + note * slow,
    }
    return {name: int(1 / seconds) for name, seconds in busy.items()}


def _beside(store: JobStore, job_id: str, spent: float) -> dict[str, Any]:
    job = store.get(job_id)
    if job.summary is None:
        raise StudioError(f"the clip of the measurement failed: {job.message}")
    sampling = float(job.summary["timings"]["sampling_s"])
    return {
        "sampling_s": sampling,
        "spent_s": round(spent, 4),
        "percent": round(100 * spent / sampling, 3),
    }


def _rate(act: Callable[[Any], Any], things: Iterable[Any]) -> float:
    listed = list(things)
    begun = time.perf_counter()
    for thing in listed:
        act(thing)
    return round(len(listed) / (time.perf_counter() - begun), 1)


def _crowd_rate(store: JobStore, claimed: list[tuple[str, str]], step: Progress) -> float:
    """Heartbeats and reports by several threads at once."""

    def work(mine: list[tuple[str, str]]) -> None:
        for job_id, name in mine:
            store.heartbeat(job_id, name, 60.0)
            store.report(job_id, name, replace(step, step=4))

    groups = [claimed[k::CROWD] for k in range(CROWD)]
    threads = [threading.Thread(target=work, args=(group,)) for group in groups]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return round(2 * len(claimed) / (time.perf_counter() - begun), 1)


def _warm(store: JobStore, request: Any, count: int) -> None:
    """Clips until every worker has made one, so that all hold the model."""
    seen: set[str] = set()
    ended = False

    def look() -> bool:
        nonlocal ended
        seen.update(j.worker for j in store.list(states=["running"]) if j.worker)
        ended = _all_ended(store)
        return ended

    number = 0
    while len(seen) < count or not ended:
        for _ in range(count):
            number += 1
            store.submit(request.model_copy(update={"seed": number}), f"warm{number}")
        _until(look)
        ended = True


def _all_ended(store: JobStore) -> bool:
    return not {"queued", "running", "interrupted"} & store.counts().keys()


def _until(what: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT_S
    while not what():
        if time.monotonic() > end:
            raise StudioError(
                f"the measurement was not over after {LIMIT_S:.0f} s; make fewer clips"
            )
        time.sleep(0.05)


@contextmanager
def _data_dir() -> Iterator[Settings]:
    with tempfile.TemporaryDirectory(prefix="studio-bench-") as folder:
        settings = Settings(data_dir=Path(folder), threads=1)
        prepare_data_dir(settings)
        yield settings


@contextmanager
def _store(settings: Settings) -> Iterator[JobStore]:
    store = JobStore(settings.jobs_db)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def _workers(settings: Settings, count: int) -> Iterator[None]:
    environment = {**worker_environment(settings), "STUDIO_THREADS": "1"}
    processes = []
    for k in range(count):
        command = worker_command(settings, f"bench{k}", runner=DEFAULT_RUNNER, idle_s=LIMIT_S)
        processes.append(
            subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _numbers(text: str, option: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        numbers = [0]
    if any(not 1 <= n <= 10_000 for n in numbers):
        raise RequestError(f"{option} takes numbers from 1 to 10000 with commas (got {text!r})")
    return numbers


def _text(value: dict[str, Any]) -> str:
    lines = [
        f"{n} workers: {run['clips_a_minute']:g} clips a minute, {value['speed_up'][n]:g} x"
        for n, run in value.get("throughput", {}).items()
    ]
    lines += [
        f"a job beside its sampling, {where}: {found['percent']:g} %"
        for where, found in value["overhead"].items()
    ]
    lines += [
        f"store, {n} workers: "
        + ", ".join(f"{what} {rate:,.0f}/s" for what, rate in found["a_second"].items())
        for n, found in value["store"].items()
    ]
    limits = value.get("saturation", {}).items()
    return "\n".join([*lines, *(f"{name}: up to {n:,} workers" for name, n in limits)])
