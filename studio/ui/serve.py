"""Start the studio, wait, and end it cleanly on SIGTERM and Ctrl+C."""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import sys
import tempfile
import threading
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from studio.core.errors import RequestError, StorageError
from studio.core.preset import load_presets
from studio.core.settings import Settings, prepare_data_dir
from studio.ui.policy import LOOPBACK, on_space

if TYPE_CHECKING:
    import gradio as gr


log = logging.getLogger("studio.web")


def prepare_environment(settings: Settings) -> None:
    """What Gradio reads when it is imported: no telemetry, its files below the data directory."""
    os.environ.update(
        GRADIO_ANALYTICS_ENABLED="False",
        HF_HUB_DISABLE_TELEMETRY="1",
        GRADIO_TEMP_DIR=str(settings.cache_dir),
        GRADIO_NODE_SERVER_NAME="",
    )
    os.environ.pop("GRADIO_VIBE_MODE", None)


def check_open(settings: Settings) -> None:
    """Refuse to let others in without a password.

    Raises:
        RequestError: for another address than this machine's own, or --share, without one.
    """
    alone = settings.host in LOOPBACK and not settings.share
    if not alone and not settings.password and not on_space():
        where = "--share" if settings.share else f"listening on {settings.host}"
        raise RequestError(
            f"{where} lets other people in, which needs a password; "
            "set STUDIO_PASSWORD or use --host 127.0.0.1"
        )


def with_data_dir(settings: Settings) -> Settings:
    """The settings with a data directory that is there; a Space without a home uses /tmp.

    Raises:
        StorageError: if it cannot be written.
    """
    try:
        prepare_data_dir(settings)
    except StorageError:
        if not on_space() or "data_dir" in settings.model_fields_set:
            raise
        place = Path(tempfile.gettempdir()) / "video-studio"
        settings = settings.model_copy(update={"data_dir": place})
        prepare_data_dir(settings)
    return settings


def check_mcp(settings: Settings) -> None:
    """Refuse to start without the tools that were asked for; Gradio would go on without a word.

    Raises:
        RequestError: if mcp is not installed, or in a version that Gradio cannot use.
    """
    if not settings.mcp:
        return
    remedy = "pip install -r requirements-extras.txt, or unset STUDIO_MCP"
    if importlib.util.find_spec("mcp") is None:
        raise RequestError(f"STUDIO_MCP needs the module mcp; {remedy}")
    found = version("mcp")
    if int(found.split(".")[0]) >= 2:
        raise RequestError(f"STUDIO_MCP needs mcp 1.x (got {found}); {remedy}")


def for_space(settings: Settings) -> Settings:
    """On ZeroGPU jobs run inside the visitors' events, unless the settings say otherwise."""
    lent = os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "true", "t")
    if not lent or "executor" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"executor": "zerogpu"})


def serve(settings: Settings) -> None:
    """Run the studio until it is told to end.

    Raises:
        StudioError: if it cannot start; the message is for the person who started it.
    """
    check_open(settings)
    check_mcp(settings)
    settings = with_data_dir(for_space(settings))
    prepare_environment(settings)
    from studio.jobs.backup import open_store
    from studio.jobs.executors import make_executor
    from studio.jobs.log import log_to_file
    from studio.library.library import Library
    from studio.ui.shell import arguments_for, build_page, make_engine

    log_to_file(settings.data_dir / "logs" / "web.log")
    presets = load_presets([settings.presets_dir, settings.user_presets_dir])
    store = open_store(settings.jobs_db)
    executor = make_executor(store, settings)
    library = Library(settings.outputs_dir)
    engine = make_engine(settings, store, library, presets)
    supervisor = getattr(executor, "supervisor", None)
    alive = (lambda: True) if supervisor is None else supervisor.is_alive
    engine = replace(engine, drive=getattr(executor, "drive", None), alive=alive)
    page = build_page(engine)
    signal.signal(signal.SIGTERM, _end)
    try:
        executor.start()
        _, local, shared = _launch(page, arguments_for(engine))
        sys.stderr.write(f"{engine.t('app')}: {shared or local}\n")
        log.info("studio starts", extra={"address": local, "pid": os.getpid()})
        threading.Event().wait()
    except KeyboardInterrupt:
        sys.stderr.write("ending\n")
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        executor.close()
        page.close(verbose=False)
        store.close()
        log.info("studio ends")


def _launch(page: gr.Blocks, arguments: dict[str, Any]) -> tuple[object, str, str | None]:
    try:
        launched: tuple[object, str, str | None] = page.launch(**arguments)
    except OSError as error:
        where = f"{arguments['server_name']}:{arguments['server_port']}"
        raise RequestError(
            f"the studio cannot listen on {where}: it is taken or not allowed; "
            "choose another --port"
        ) from error
    return launched


def _end(number: int, frame: FrameType | None) -> NoReturn:
    del number, frame
    raise KeyboardInterrupt
