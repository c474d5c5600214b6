"""What this machine has free, read from the operating system; no torch."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True)
class Machine:
    """Free bytes. `device_free_bytes` None: models compute on the host."""

    host_free_bytes: int
    disk_free_bytes: int
    device_free_bytes: int | None = None


def read_machine(data_dir: Path, device_free_bytes: int | None = None) -> Machine:
    """The machine now; the disk is the one that holds `data_dir` or its nearest parent."""
    folder = data_dir
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return Machine(free_memory(), shutil.disk_usage(folder).free, device_free_bytes)


def free_memory(meminfo: Path = MEMINFO, cgroup: Path = CGROUP) -> int:
    """Bytes of memory that a new process may take: the kernel's estimate, within the container."""
    free = _available(meminfo)
    try:
        limit = (cgroup / "memory.max").read_text(encoding="ascii").strip()
        used = int((cgroup / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return free
    return free if limit == "max" else max(0, min(free, int(limit) - used))


def _available(meminfo: Path) -> int:
    try:
        for line in meminfo.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        # Not Linux: half of what is built in is a cautious guess.
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return 0
