"""The one owner of everything that is loaded.

`with models.use(spec) as module:` loads the part if it is absent, makes room, and keeps it from
being evicted until the block ends. Afterwards it stays until somebody else needs the bytes.
"""

from __future__ import annotations

import gc
import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.core.errors import MemoryBudgetError
from studio.models.component import ComponentSpec, Resident, module_bytes
from studio.models.eviction import Candidate, evict

if TYPE_CHECKING:
    import torch

MARGIN_BYTES = 512 * 2**20


class ModelManager:
    """Loads late, counts bytes, and frees what is not in use when room is needed."""

    def __init__(
        self,
        budget_bytes: int = 0,
        device: str = "cpu",
        cache_dir: Path | None = None,
        threads: int = 0,
    ) -> None:
        """`budget_bytes` 0 means: what is free now less a margin; `threads` 0: as torch decides.

        `cache_dir` holds prompt embeddings. Torch is not imported before the first load.
        """
        self._threads = threads
        # Torch's threads spin while they wait for each other. On cores that something else uses
        # too, a clip took 80 s with that and 11 s without; on free cores it makes no difference.
        # OpenMP reads it once, when torch is imported.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        self.budget_bytes = budget_bytes or free_bytes(device)
        self.device_name = device
        self.cache_dir = cache_dir
        self.frugal = False
        """Drop every part as soon as nobody uses it: slower, and the least memory."""
        self.offload = "auto"
        """none, model, block, disk; auto streams a part from its file if it exceeds the budget."""
        self.tile_vae = False
        """Encode and decode pictures in tiles; for parts that are loaded from here on."""
        self.loads: Counter[str] = Counter()
        self._residents: dict[str, Resident] = {}
        self._clock = 0
        self._mutex = threading.RLock()

    @property
    def device(self) -> torch.device:
        """Where models compute."""
        import torch

        return torch.device(self.device_name)

    @contextmanager
    def use(self, spec: ComponentSpec) -> Iterator[Any]:
        """The part of `spec`, loaded, on the device, and not to be evicted inside the block.

        Raises:
            MemoryBudgetError: if it does not fit beside what is in use.
        """
        resident = self._acquire(spec)
        try:
            yield resident.module
        finally:
            with self._mutex:
                resident.locks -= 1
                resident.last_used = self._tick()
                if self.frugal and not resident.locks:
                    self._drop([resident.spec.key])

    def resident_bytes(self) -> int:
        """Bytes of all parts in memory."""
        with self._mutex:
            return sum(r.total_bytes for r in self._residents.values())

    def total_bytes(self) -> dict[str, int]:
        """Bytes of each part in memory, by key."""
        with self._mutex:
            return {key: r.total_bytes for key, r in self._residents.items()}

    def is_resident(self, spec: ComponentSpec) -> bool:
        """Whether the part is in memory."""
        with self._mutex:
            return spec.key in self._residents

    def free(self, spec: ComponentSpec) -> bool:
        """Drop the part unless it is in use; whether it is gone."""
        with self._mutex:
            resident = self._residents.get(spec.key)
            if resident is not None and resident.locks:
                return False
            self._drop([spec.key])
            return True

    def free_all(self) -> None:
        """Drop every part that is not in use."""
        with self._mutex:
            self._drop([key for key, r in self._residents.items() if not r.locks])

    def make_room(self, need_bytes: int, what: str) -> None:
        """Free least recently used parts until `need_bytes` fit into the budget.

        Raises:
            MemoryBudgetError: if they do not even with every unused part gone.
        """
        with self._mutex:
            over = self.resident_bytes() + need_bytes - self.budget_bytes
            leaving = evict(self._candidates(), over)
            if leaving is None:
                self._drop([key for key, r in self._residents.items() if not r.locks])
                free = self.budget_bytes - self.resident_bytes()
                raise MemoryBudgetError(
                    f"{what} needs {_mb(need_bytes)} but only {_mb(max(free, 0))} of "
                    f"{_mb(self.budget_bytes)} can be freed; raise STUDIO_BUDGET_BYTES, "
                    "or pick a smaller model, a smaller size or a stronger offload"
                )
            self._drop(leaving)

    def _acquire(self, spec: ComponentSpec) -> Resident:
        with self._mutex:
            resident = self._residents.get(spec.key)
            if resident is None:
                resident = self._load(spec)
            resident.locks += 1
            resident.last_used = self._tick()
            return resident

    def _load(self, spec: ComponentSpec) -> Resident:
        self._set_threads()
        stream = spec.stream if self._streams(spec) else None
        if stream is None:
            self.make_room(spec.bytes, f"the {spec.kind}")
        # Nothing is registered before load() has returned, so an error leaves no trace.
        module = spec.load(self.device) if stream is None else stream(self.device)
        if self.tile_vae and spec.kind == "vae" and hasattr(module, "enable_tiling"):
            module.enable_tiling()
        self.loads[spec.key] += 1
        measured = module_bytes(module) or spec.bytes
        self.make_room(measured, f"the {spec.kind}")
        resident = Resident(spec, module, measured)
        self._residents[spec.key] = resident
        return resident

    def _streams(self, spec: ComponentSpec) -> bool:
        """Whether the part's blocks stay in their file."""
        if spec.stream is None:
            return False
        too_large = self.offload == "auto" and spec.bytes > self.budget_bytes
        moves = self.offload == "block" and self.device_name != "cpu"
        return self.offload == "disk" or moves or too_large

    def _set_threads(self) -> None:
        if self._threads:
            import torch

            torch.set_num_threads(self._threads)
            self._threads = 0

    def _candidates(self) -> list[Candidate]:
        return [
            Candidate(key, r.total_bytes, r.last_used, r.locks > 0)
            for key, r in self._residents.items()
        ]

    def _drop(self, keys: list[str]) -> None:
        gone = [self._residents.pop(key) for key in keys if key in self._residents]
        if gone:
            gone.clear()
            gc.collect()
            _empty_device_cache(self.device_name)

    def _tick(self) -> int:
        self._clock += 1
        return self._clock


def free_bytes(device: str) -> int:
    """Memory that models may take: free now, container limits included, less a margin."""
    if device.startswith("cuda"):
        import torch

        free, _ = torch.cuda.mem_get_info()
        return max(int(free) - MARGIN_BYTES, MARGIN_BYTES)
    import psutil

    available = int(psutil.virtual_memory().available)
    limit = _cgroup_free()
    free = available if limit is None else min(available, limit)
    return max(free - MARGIN_BYTES, MARGIN_BYTES)


def _cgroup_free(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes left under the control group's limit (version 2), or None without one."""
    try:
        limit = (root / "memory.max").read_text().strip()
        used = int((root / "memory.current").read_text())
    except (OSError, ValueError):
        return None
    return None if limit == "max" else max(int(limit) - used, 0)


def _empty_device_cache(device: str) -> None:
    if device.startswith("cuda"):
        import torch

        torch.cuda.empty_cache()


def _mb(count: int) -> str:
    return f"{count / 2**20:,.0f} MB" if count >= 2**20 else f"{count:,} bytes"
