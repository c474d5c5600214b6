"""What accelerators have free, asked of the driver's own tool: the page imports no torch."""

from __future__ import annotations

import shutil
import subprocess
import time

ASK_S = 3.0
KEPT_S = 15.0
_last: dict[str, tuple[float, int | None]] = {}


def device_free_bytes() -> int | None:
    """Free bytes of the emptiest accelerator; None without one. Asked at most every 15 s."""
    known = _last.get("free")
    if known is not None and time.monotonic() - known[0] < KEPT_S:
        return known[1]
    free = _ask()
    _last["free"] = (time.monotonic(), free)
    return free


def _ask() -> int | None:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    command = [tool, "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    numbers = [int(line) for line in done.stdout.split() if line.isdigit()]
    return max(numbers) * 2**20 if numbers and done.returncode == 0 else None
