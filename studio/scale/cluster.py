"""Everything that touches Ray: the connection, its nodes, and one detached actor a device."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from studio.core.errors import BackendError
from studio.core.settings import Settings
from studio.scale.actor import DeviceActor, Seat

NAMESPACE = "studio"
PREFIX = "studio-"
EXTRA = "requirements-ray.txt"
QUICK_S = 5.0
"""An actor answers within milliseconds, even while it works."""


@dataclass(frozen=True)
class Place:
    """One device of the cluster."""

    name: str
    """The actor's name: the node's id and the device."""
    node_id: str
    address: str
    device: str
    """"cuda" or "cpu"."""
    memory_bytes: int
    """What the node lets tasks take."""


def ray_version() -> str | None:
    """The installed version, None without Ray; nothing is imported."""
    try:
        return version("ray")
    except PackageNotFoundError:
        return None


class Cluster:
    """A connection to a Ray cluster."""

    def __init__(self, settings: Settings, *, namespace: str = NAMESPACE) -> None:
        self.settings = settings
        self.namespace = namespace
        self._ray: Any = None
        self._joined = False

    def connect(self) -> None:
        """Join the cluster at `settings.ray_address`; again after it was lost.

        Raises:
            BackendError: if Ray is not installed or the cluster does not answer.
        """
        ray = _import_ray()
        if ray.is_initialized():
            # One process is in one cluster at most; whoever joined it leaves it.
            self._ray = ray
            return
        self._joined = True
        try:
            ray.init(
                address=self.settings.ray_address,
                namespace=self.namespace,
                log_to_driver=False,
                configure_logging=False,
                logging_level=logging.ERROR,
            )
        except Exception as error:  # Ray raises what its many layers raise.
            raise BackendError(
                f"the Ray cluster at {self.settings.ray_address} does not answer "
                f"({_first_line(error)}); start it with `ray start`, "
                "or correct STUDIO_RAY_ADDRESS"
            ) from error
        self._ray = ray

    def close(self) -> None:
        """Leave the cluster; its actors stay."""
        if self._joined and self._ray is not None and self._ray.is_initialized():
            self._ray.shutdown()
        self._ray, self._joined = None, False

    def places(self) -> list[Place]:
        """The devices of the nodes that are alive: every GPU, or the processor of a node without.

        A node started with no CPUs and no GPUs is a front end and gives none.
        """
        found = []
        for node in self._ray.nodes():
            if not node["Alive"]:
                continue
            have = node["Resources"]
            gpus, memory = int(have.get("GPU", 0)), int(have.get("memory", 0))
            devices = [f"gpu{k}" for k in range(gpus)] or (["cpu"] if have.get("CPU") else [])
            found += [
                Place(
                    name=f"{PREFIX}{node['NodeID'][:12]}-{device}",
                    node_id=node["NodeID"],
                    address=node["NodeManagerAddress"],
                    device="cuda" if device.startswith("gpu") else "cpu",
                    memory_bytes=memory,
                )
                for device in devices
            ]
        return sorted(found, key=lambda p: p.name)

    def alive_nodes(self) -> set[str]:
        """Ids of the nodes that are alive."""
        return {node["NodeID"] for node in self._ray.nodes() if node["Alive"]}

    def seat(self, place: Place, seat: Seat) -> Any:
        """The actor of `place`: the one that is there, or a new one. Waits for nothing."""
        strategies = self._ray.util.scheduling_strategies
        remote = self._ray.remote(DeviceActor)
        return remote.options(
            name=place.name,
            namespace=self.namespace,
            get_if_exists=True,
            lifetime="detached",
            max_restarts=-1,
            max_task_retries=0,
            max_concurrency=4,
            num_gpus=1 if place.device == "cuda" else 0,
            num_cpus=0 if place.device == "cuda" else 1,
            scheduling_strategy=strategies.NodeAffinitySchedulingStrategy(
                node_id=place.node_id, soft=False
            ),
        ).remote(seat)

    def find(self, name: str) -> Any | None:
        """The actor of that name, None if there is none."""
        try:
            return self._ray.get_actor(name, namespace=self.namespace)
        except ValueError:
            return None

    def ask(self, reference: Any, timeout_s: float = QUICK_S) -> Any:
        """What a call gives.

        Raises:
            BackendError: if the actor is gone, starting again, or silent.
        """
        try:
            return self._ray.get(reference, timeout=timeout_s)
        except (self._ray.exceptions.RayError, ConnectionError, OSError) as error:
            raise BackendError(f"an actor does not answer ({_first_line(error)})") from error

    def replace(self, handle: Any) -> None:
        """End the actor's process; Ray starts a fresh one."""
        self._ray.kill(handle, no_restart=False)

    def remove(self, handles: Sequence[Any]) -> None:
        """End actors for good."""
        for handle in handles:
            self._ray.kill(handle, no_restart=True)


def scratch_of(settings: Settings, place: Place) -> str:
    """The scratch folder of an actor, below the same folder on every machine."""
    return str(Path(settings.scratch_dir) / place.name)


def _import_ray() -> Any:
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError as error:
        raise BackendError(
            f"the executor ray needs Ray, which is not installed; pip install -r {EXTRA}"
        ) from error
    return ray


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}"
