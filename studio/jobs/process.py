"""Worker processes: how they start, how they die with their parent, and what an exit means."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from studio.core.settings import ROOT, Settings

EXIT_MEMORY = 75
"""A worker ran out of memory, wrote that down, and wants to be replaced by a fresh process."""
EXIT_STORAGE = 74
"""A worker could not even write to the job store."""
EXIT_START = 73
"""A worker could not start."""

_PR_SET_PDEATHSIG = 1
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_CRASHES: dict[int, str] = {
    signal.SIGSEGV: "it accessed memory wrongly",
    signal.SIGABRT: "it aborted",
    signal.SIGBUS: "it accessed memory wrongly",
    signal.SIGILL: "this processor lacks an instruction",
    signal.SIGFPE: "it divided by zero",
}

Kind = Literal["idle", "memory", "storage", "start", "crash", "killed", "cancelled", "hung"]


@dataclass(frozen=True)
class Exit:
    """How a worker ended, and whether its job is to blame."""

    kind: Kind
    message: str
    strike: bool = False
    rung: bool = False


def classify(returncode: int, *, out_of_memory: bool | None, we_killed: Kind | None = None) -> Exit:
    """What an exit status means.

    `out_of_memory` says whether the kernel's count of processes killed for memory grew, None where
    it cannot be read; `we_killed` why the supervisor ended the worker, if it did.
    """
    if we_killed == "hung":
        return Exit("hung", "the worker did not answer any more and was ended", strike=True)
    if we_killed is not None:
        return Exit(we_killed, "the worker was ended on request")
    if returncode == 0:
        return Exit("idle", "the worker ended because there was nothing to do")
    if returncode == EXIT_MEMORY:
        return Exit("memory", "memory ran out; it goes on with less", strike=True, rung=True)
    if returncode == EXIT_STORAGE:
        return Exit("storage", "the disk is full; free some space and the queue goes on by itself")
    if returncode == EXIT_START:
        return Exit("start", "the worker could not start; see logs/worker.log")
    return _signalled(returncode, out_of_memory)


def _signalled(returncode: int, out_of_memory: bool | None) -> Exit:
    if returncode == -signal.SIGKILL and out_of_memory is not False:
        text = "the system ended the worker, most likely because memory ran out"
        return Exit("memory", text, strike=True, rung=True)
    if returncode in (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP):
        return Exit("killed", "the worker was ended from outside")
    why = _CRASHES.get(-returncode, f"exit status {returncode}")
    return Exit("crash", f"the worker crashed ({why})", strike=True)


def kernel_oom_kills() -> int | None:
    """How many processes the kernel has ended for memory so far; None where nobody says."""
    for path in ("/sys/fs/cgroup/memory.events", "/proc/vmstat"):
        try:
            text = Path(path).read_text(encoding="ascii")
        except OSError:
            continue
        for line in text.splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill" and value.isdigit():
                return int(value)
    return None


def worker_command(settings: Settings, worker_id: str, *, runner: str, idle_s: float) -> list[str]:
    """The command line of a worker."""
    return [
        sys.executable,
        "-m",
        "studio.jobs.worker",
        "--data-dir",
        str(settings.data_dir.resolve()),
        "--worker-id",
        worker_id,
        "--runner",
        runner,
        "--idle-s",
        str(idle_s),
        "--parent",
        str(os.getpid()),
    ]


def worker_environment(settings: Settings) -> dict[str, str]:
    """The environment of a worker; what must be set before Python starts is set here."""
    environment = dict(os.environ)
    # Freed tensors of 1-16 MB go back to the system only with these (glibc).
    environment.setdefault("MALLOC_MMAP_THRESHOLD_", str(2**20))
    environment.setdefault("MALLOC_TRIM_THRESHOLD_", str(2**20))
    environment.setdefault("TOKENIZERS_PARALLELISM", "false")
    if settings.threads:
        environment["OMP_NUM_THREADS"] = environment["MKL_NUM_THREADS"] = str(settings.threads)
    known = environment.get("PYTHONPATH", "")
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), known] if known else [str(ROOT)])
    return environment


def die_with(parent: int) -> bool:
    """Ask the kernel to end this process when its parent ends; False if the parent is gone already.

    Where the kernel has no such service the heartbeat looks for the parent itself.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    return parent == 0 or os.getppid() == parent


def last_line(log: Path, limit: int = 300) -> str:
    """The last line of a log that is not empty, for a message; "" without one."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 4096))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:limit] if lines else ""


def return_freed_memory() -> None:
    """Let glibc give large freed blocks back to the system; elsewhere nothing happens."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, 2**20)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**20)
