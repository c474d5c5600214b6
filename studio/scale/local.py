"""One clip over the devices of one machine, without Ray: follower processes beside this one.

`python -m studio.scale.local --address tcp://... --rank 1 --world 2` is a follower.
"""

from __future__ import annotations

import argparse
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from studio.core.events import Done, Notice
from studio.core.request import Request
from studio.core.settings import Settings
from studio.jobs.context import DEFAULT_RUNNER, RunContext, load_runner, make_models
from studio.jobs.process import die_with, worker_environment

if TYPE_CHECKING:
    from studio.scale.group import Group

log = logging.getLogger("studio.scale")

RUNNER = "studio.scale.local:run"
END_S = 20.0


def runner_for(settings: Settings) -> str:
    """The name of the runner that the settings ask for on this machine."""
    return RUNNER if settings.spread > 1 else DEFAULT_RUNNER


def run(request: Request, ctx: RunContext) -> Done:
    """Make the clip of `request` on several devices; on one if the others are lost.

    Raises:
        StudioError: as `studio.jobs.runner.run`.
    """
    from studio.scale.group import GroupLost

    settings, alone = Settings(), load_runner(DEFAULT_RUNNER)
    if request.loras:
        ctx.emit(Notice("a clip with LoRAs is made on one device"))
        return alone(request, ctx)
    try:
        with local_group(settings, settings.spread, settings.spread_by) as group:
            return alone(request, replace(ctx, spread=group))
    except GroupLost as error:
        log.warning("%s", error)
    ctx.emit(Notice("the other devices are gone; the clip goes on on one"))
    return alone(request, ctx)


@contextmanager
def local_group(settings: Settings, world: int, by: str = "windows") -> Iterator[Group]:
    """A group of this process and `world` - 1 followers, which end with the block.

    Raises:
        GroupLost: if one does not start.
    """
    from studio.scale.group import Group

    address = f"tcp://127.0.0.1:{_free_port()}"
    followers = [_start(settings, address, rank, world) for rank in range(1, world)]
    try:
        with Group(address, world, by) as group:
            yield group
    finally:
        for process in followers:
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _start(settings: Settings, address: str, rank: int, world: int) -> subprocess.Popen[bytes]:
    environment = worker_environment(settings)
    environment["STUDIO_DATA_DIR"] = str(settings.data_dir)
    if settings.device in ("auto", "cuda"):
        # Every process sees one GPU, its own, as the first.
        visible = [d for d in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if d]
        environment["CUDA_VISIBLE_DEVICES"] = visible[rank] if len(visible) > rank else str(rank)
    where = ["--address", address, "--rank", str(rank), "--world", str(world)]
    command = [sys.executable, "-m", "studio.scale.local", *where, "--parent", str(os.getpid())]
    return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def main(arguments: list[str] | None = None) -> int:
    """Follow until the group ends; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m studio.scale.local")
    parser.add_argument("--address", required=True)
    parser.add_argument("--rank", type=int, required=True)
    parser.add_argument("--world", type=int, required=True)
    parser.add_argument("--parent", type=int, default=0)
    given = parser.parse_args(arguments)
    if not die_with(given.parent):
        return 0
    from studio.scale.group import GroupLost, follow

    try:
        follow(given.address, given.rank, given.world, make_models(Settings()))
    except GroupLost as error:
        log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
