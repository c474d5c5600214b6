"""`worker`, and what `doctor` and `plan` say about a cluster."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from studio.commands.common import DataDir, guarded, open_settings, say
from studio.core.errors import BackendError, RequestError, StudioError
from studio.core.plan import Plan
from studio.core.preset import Preset
from studio.core.settings import Settings
from studio.scale.shares import speed_up


@dataclass(frozen=True)
class Device:
    """One device that jobs can go to."""

    name: str
    kind: str
    """cuda or cpu."""
    address: str
    memory_bytes: int
    """What Ray lets tasks of its node take."""


@dataclass(frozen=True)
class SeenCluster:
    """What a cluster has."""

    address: str
    version: str
    devices: tuple[Device, ...]

    @property
    def text(self) -> str:
        """In one line."""
        kinds = [device.kind for device in self.devices]
        parts = [f"{kinds.count(k)} {k}" for k in ("cuda", "cpu") if k in kinds]
        nodes = {device.address for device in self.devices}
        many = (
            f"{len(self.devices)} devices ({', '.join(parts) or 'none'}) on {len(nodes)} addresses"
        )
        return f"Ray {self.version} at {self.address}: {many}"


def seen_cluster(settings: Settings) -> SeenCluster:
    """The cluster as it is now.

    Raises:
        BackendError: if Ray is not installed or nobody answers.
    """
    from studio.scale.cluster import Cluster, ray_version

    cluster = Cluster(settings)
    cluster.connect()
    try:
        places = cluster.places()
    finally:
        cluster.close()
    devices = tuple(Device(p.name, p.device, p.address, p.memory_bytes) for p in places)
    return SeenCluster(settings.ray_address, ray_version() or "", devices)


def cluster_for(settings: Settings, plan: Plan, preset: Preset) -> dict[str, Any] | None:
    """What several devices give this plan; None where one machine's one device is all there is."""
    if settings.executor != "ray" and settings.spread == 1:
        return None
    one_scale = preset.defaults.guidance_scale_2 is None
    can_split = preset.family == "wan" and one_scale
    found: dict[str, Any] = {"devices": settings.spread, "memory_bytes": None}
    if settings.executor == "ray":
        try:
            seen = seen_cluster(settings)
        except BackendError as error:
            return {"error": str(error)}
        found = {
            "address": seen.address,
            "devices": len(seen.devices),
            "memory_bytes": sum(device.memory_bytes for device in seen.devices),
            "found": [asdict(device) for device in seen.devices],
        }
    share = max(1, min(settings.spread, found["devices"]))
    rate = speed_up(plan, share, settings.spread_by, can_split=can_split)
    found["devices_a_clip"] = share
    found["speed_up"] = round(rate, 2)
    found["jobs_at_once"] = max(1, found["devices"] // share)
    return found


def cluster_text(found: dict[str, Any]) -> str:
    """`cluster_for` as a line."""
    if "error" in found:
        return f"cluster: {found['error']}"
    room = found["memory_bytes"]
    memory = "" if room is None else f" with {room / 2**30:,.1f} GB"
    return (
        f"{found['devices']} devices{memory}: {found['jobs_at_once']} clips at once, "
        f"each by {found['devices_a_clip']}, about {found['speed_up']:g} times as fast as one"
    )


@guarded
def worker(
    join: Annotated[
        str, typer.Option(help="Become a node of the Ray cluster at this host:port instead.")
    ] = "",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 ...")] = "auto",
    idle_s: Annotated[
        float, typer.Option(min=0, help="End after so many seconds without a job; 0: never.")
    ] = 0.0,
    data_dir: DataDir = None,
) -> None:
    """Work for a studio: on this machine's job store, or as a node of a cluster."""
    if join:
        raise typer.Exit(_node(join))
    settings = open_settings(data_dir).model_copy(update={"device": device})
    raise typer.Exit(_serve(settings, idle_s or float("inf")))


def _serve(settings: Settings, idle_s: float) -> int:
    import os
    import secrets

    from studio.jobs.backup import open_store
    from studio.jobs.context import load_runner
    from studio.jobs.worker import Options, Worker
    from studio.scale.local import runner_for

    if settings.threads:
        os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(settings.threads)
    store = open_store(settings.jobs_db)
    options = Options(f"own-{os.getpid()}-{secrets.token_hex(4)}", idle_s=idle_s)
    made = Worker(store, settings, load_runner(runner_for(settings)), options)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: made.quit.set())
    say(f"worker {options.worker_id} waits for jobs in {settings.data_dir}; Ctrl+C ends it")
    try:
        return made.serve()
    finally:
        store.close()


def _node(address: str) -> int:
    """Run `ray start` in the foreground: it ends with the node."""
    from studio.scale.cluster import EXTRA, ray_version

    beside = Path(sys.executable).parent / "ray"
    command = str(beside) if beside.is_file() else shutil.which("ray")
    if ray_version() is None or command is None:
        raise RequestError(f"a cluster's node needs Ray; pip install -r {EXTRA}")
    options = ["--disable-usage-stats", "--block"]
    return subprocess.call([command, "start", f"--address={address}", *options])


def examine(settings: Settings) -> Iterator[tuple[str, bool, str, str]]:
    """`doctor`'s checks as (name, good, detail, remedy); none without a cluster."""
    from studio.scale.cluster import EXTRA, ray_version

    if settings.executor != "ray":
        return
    if ray_version() is None:
        yield "cluster", False, "Ray is not installed", f"pip install -r {EXTRA}"
        return
    try:
        seen = seen_cluster(settings)
    except StudioError as error:
        yield "cluster", False, str(error), "start it with `ray start --head`"
        return
    remedy = "" if seen.devices else "start a node with `studio worker --join HOST:PORT`"
    yield "cluster", bool(seen.devices), seen.text, remedy
    for device in seen.devices:
        room = f"{device.memory_bytes / 2**30:.1f} GB for tasks"
        yield f"device {device.name}", True, f"{device.kind} at {device.address}, {room}", ""
    yield _storage(settings)


def _storage(settings: Settings) -> tuple[str, bool, str, str]:
    from studio.scale.depot import Depot

    try:
        kept = len(Depot(settings.depot_url).jobs())
    except StudioError as error:
        return "shared storage", False, str(error), "set STUDIO_SHARED_URL"
    return "shared storage", True, f"{settings.depot_url}, {kept} open jobs", ""
