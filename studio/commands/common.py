"""What all commands share: sentences on stderr, results on stdout, exit codes, options as data."""

from __future__ import annotations

import functools
import inspect
import json
import os
import sys
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, ParamSpec, TypeVar, get_type_hints

import typer

from studio.core.errors import (
    JobError,
    MediaError,
    PresetError,
    RequestError,
    StorageError,
    StudioError,
)
from studio.core.settings import Settings, prepare_data_dir

P = ParamSpec("P")
T = TypeVar("T")

FAILED = 1
BAD_REQUEST = 2
REFUSALS = (RequestError, PresetError, MediaError, JobError)

DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Where clips, jobs and caches are kept.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value on stdout.")]


def say(text: str) -> None:
    """A line for the person, on stderr."""
    typer.echo(text, err=True)


def show(value: Any, text: str, *, as_json: bool) -> None:
    """The result on stdout: `value` as JSON, or `text`."""
    typer.echo(json.dumps(value, ensure_ascii=False, default=str) if as_json else text)


def exit_code(error: StudioError) -> int:
    """2 for what the person can ask differently, 1 for what went wrong."""
    return BAD_REQUEST if isinstance(error, REFUSALS) else FAILED


def guarded(command: Callable[P, T]) -> Callable[P, T]:
    """A command whose StudioErrors become one sentence and an exit code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except StudioError as error:
            say(str(error))
            raise typer.Exit(exit_code(error)) from error

    return run


def takes(options: type[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the fields of the dataclass `options` as its options.

    The command's first parameter receives them as one object; its others stay as they are.
    """
    hints = get_type_hints(options, include_extras=True)

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        first, *others = inspect.signature(command, eval_str=True).parameters.values()
        flat = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if field.default is MISSING else field.default,
                annotation=hints[field.name],
            )
            for field in fields(options)
        ]

        @functools.wraps(command)
        def run(**given: Any) -> None:
            chosen = {p.name: given.pop(p.name) for p in flat}
            command(**{first.name: options(**chosen)}, **given)

        rest = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in others]
        parameters = [*flat, *rest]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return decorate


def open_settings(data_dir: Path | None) -> Settings:
    """The settings, with a data directory that can be written.

    Raises:
        RequestError: if it cannot; nothing was started.
    """
    chosen: dict[str, Any] = {} if data_dir is None else {"data_dir": data_dir.absolute()}
    settings = Settings(**chosen)
    try:
        prepare_data_dir(settings)
    except StorageError as error:
        raise RequestError(str(error)) from error
    return settings


def check_output(path: Path, suffix: str) -> Path:
    """`path`, absolute, once it is sure that a file can be written there.

    Raises:
        RequestError: for another suffix, a folder, or a place that cannot be written.
    """
    if path.suffix.lower() != suffix:
        raise RequestError(f"the file is a {suffix} (got {path.name!r}); end its name with that")
    if path.is_dir():
        raise RequestError(f"{path} is a folder; give the name of a file")
    return check_folder(path.absolute().parent) / path.name


def check_folder(folder: Path) -> Path:
    """`folder`, absolute, made and tried.

    Raises:
        RequestError: if nothing can be written there.
    """
    folder = folder.absolute()
    probe = folder / f".write-test-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        raise RequestError(
            f"nothing can be written to {folder} ({error.strerror}); choose another folder"
        ) from error
    return folder


def explain_crash(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """An exception hook: one sentence; the trace only with STUDIO_DEBUG."""
    if os.environ.get("STUDIO_DEBUG"):
        sys.__excepthook__(kind, error, trace)
    elif issubclass(kind, KeyboardInterrupt):
        sys.stderr.write("ended\n")
    elif issubclass(kind, MemoryError) or kind.__name__ == "OutOfMemoryError":
        sys.stderr.write("memory ran out; make the clip smaller or use a stronger --offload\n")
    else:
        text = " ".join(str(error).split())[:300]
        sys.stderr.write(
            f"something inside went wrong ({kind.__name__}: {text}); "
            "set STUDIO_DEBUG=1 to see where, and report it\n"
        )
