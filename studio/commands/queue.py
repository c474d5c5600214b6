"""`jobs`: look at the queue of the studio and change it, while it runs or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer

from studio.commands.common import AsJson, DataDir, guarded, open_settings, show
from studio.core.errors import RequestError
from studio.core.events import to_json
from studio.jobs.records import Job, State
from studio.jobs.store import JobStore

app = typer.Typer(help="The studio's jobs.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(help="The job's id; see `jobs list`.")]


@app.command("list")
@guarded
def list_(
    state: Annotated[list[str] | None, typer.Option(help="Only these; repeatable.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Jobs, newest first."""
    with _store(data_dir) as store:
        jobs = store.list(states=_states(state or []) or None, limit=limit)
        held = store.held()
    text = "\n".join(_line(job) for job in jobs) or "there are no jobs"
    if held is not None:
        text = f"no job is started: {held.message}\n{text}"
    show([as_data(job) for job in jobs], text, as_json=as_json)


@app.command("show")
@guarded
def show_(job_id: Id, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """One job and what it said."""
    with _store(data_dir) as store:
        job, story = store.get(job_id), store.events(job_id)
    events = [{"first_s": e.first_s, "last_s": e.last_s, **to_json(e.event)} for e in story]
    lines = [_line(job), *(f"  {_clock(e.first_s)} {to_json(e.event)}" for e in story)]
    show({**as_data(job), "events": events}, "\n".join(lines), as_json=as_json)


@app.command()
@guarded
def cancel(
    job_id: Id,
    force: Annotated[bool, typer.Option(help="Do not wait for the current step.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """End a job; its finished windows are kept."""
    _change(data_dir, as_json, lambda store: store.cancel(job_id, force=force))


@app.command()
@guarded
def pause(job_id: Id, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Set a job aside."""
    _change(data_dir, as_json, lambda store: store.pause(job_id))


@app.command()
@guarded
def resume(job_id: Id, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Let a paused job go on at its next window."""
    _change(data_dir, as_json, lambda store: store.resume(job_id))


@app.command()
@guarded
def retry(job_id: Id, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Queue a failed or canceled job again."""
    _change(data_dir, as_json, lambda store: store.retry(job_id))


def as_data(job: Job) -> dict[str, Any]:
    """A job as plain JSON data."""
    return asdict(job)


@contextmanager
def _store(data_dir: Path | None) -> Iterator[JobStore]:
    store = JobStore(open_settings(data_dir).jobs_db)
    try:
        yield store
    finally:
        store.close()


def _change(data_dir: Path | None, as_json: bool, change: Callable[[JobStore], Job]) -> None:
    with _store(data_dir) as store:
        job = change(store)
    show(as_data(job), _line(job), as_json=as_json)


def _states(names: list[str]) -> list[State]:
    known = get_args(State)
    for name in names:
        if name not in known:
            raise RequestError(f"a state is one of {', '.join(known)} (got {name!r}); choose one")
    return cast(list[State], names)


def _line(job: Job) -> str:
    share = "" if job.progress is None else f" {job.progress.done:4.0%}"
    asked = f" ({job.stop} asked)" if job.stop else ""
    message = f"  {job.message}" if job.message else ""
    return f"{job.id}  {job.state}{asked}{share}  {job.kind}  {job.prompt[:60]}{message}"


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%H:%M:%S")
