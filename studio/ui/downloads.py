"""Weights that are being fetched: each in a child process, so that the page needs no hub library.

How far it is, is read from the hub's cache folder; what was fetched stays when it is stopped.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from studio.core.errors import RequestError
from studio.core.preset import Preset
from studio.core.settings import ROOT, Settings

LOOK_S = 1.0


@dataclass(frozen=True)
class Download:
    """One download as it stands."""

    running: bool
    done_bytes: int
    total_bytes: int
    """0: the preset does not say."""
    message: str = ""
    """Why it ended badly; empty when it did not."""

    @property
    def share(self) -> float:
        """0 to 1, as far as the size is known."""
        return min(1.0, self.done_bytes / self.total_bytes) if self.total_bytes else 0.0


@dataclass
class _Running:
    process: subprocess.Popen[str]
    folder: Path
    total: int
    seen: tuple[float, int] = (0.0, 0)
    stopped: bool = False
    message: str = ""


@dataclass
class Downloads:
    """The downloads of one studio. Safe for several threads."""

    _known: dict[str, _Running] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, preset: Preset, settings: Settings) -> None:
        """Fetch the preset's weights, whose licence was accepted.

        Raises:
            RequestError: if nothing is to be fetched.
        """
        if preset.weights.source != "hub":
            raise RequestError(f"{preset.title} has nothing to download; it is used as it is")
        command = [sys.executable, "-m", "studio", "models", "pull", preset.id]
        command += ["--accept-licence", "--data-dir", str(settings.data_dir)]
        with self._lock:
            known = self._known.get(preset.id)
            if known is not None and known.process.poll() is None:
                return
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            folder = hub_folder(preset.weights.path)
            self._known[preset.id] = _Running(process, folder, preset.weights.download_bytes)

    def stop(self, preset: Preset) -> None:
        """End a download; it goes on where it was when it is started again."""
        with self._lock:
            known = self._known.get(preset.id)
        if known is not None and known.process.poll() is None:
            known.stopped = True
            known.process.terminate()

    def state(self, preset: Preset) -> Download | None:
        """How far it is; None if it was never started here or has been stopped."""
        with self._lock:
            known = self._known.get(preset.id)
            if known is None:
                return None
            status = known.process.poll()
            now = time.monotonic()
            if now - known.seen[0] >= LOOK_S:
                known.seen = (now, folder_bytes(known.folder))
            if status and not known.message:
                known.message = _last_words(known.process, status)
        if known.stopped and status is not None:
            return None
        return Download(status is None, known.seen[1], known.total, known.message)

    @property
    def busy(self) -> bool:
        """Whether any is running."""
        with self._lock:
            return any(known.process.poll() is None for known in self._known.values())

    def close(self) -> None:
        """End all."""
        with self._lock:
            known = list(self._known.values())
        for one in known:
            if one.process.poll() is None:
                one.process.terminate()


def _last_words(process: subprocess.Popen[str], status: int) -> str:
    said = process.stderr.read() if process.stderr else ""
    lines = [line for line in said.strip().splitlines() if line.strip()]
    return lines[-1][:400] if lines else f"the download ended with status {status}; try again"


def hub_folder(repository: str) -> Path:
    """Where the hub's library keeps a repository."""
    home = os.environ.get("HF_HUB_CACHE")
    base = os.environ.get("HF_HOME") or str(Path.home() / ".cache" / "huggingface")
    cache = Path(home) if home else Path(base) / "hub"
    return cache / f"models--{repository.replace('/', '--')}"


def folder_bytes(folder: Path) -> int:
    """What the files below `folder` take; half-fetched ones count, links do not."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            try:
                total += 0 if path.is_symlink() else path.stat().st_size
            except OSError:
                # It was renamed while we looked: the next look counts it.
                continue
    return total
