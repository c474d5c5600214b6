"""Disk space: how much is left, and a ballast file that can be given up to write one last row."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from studio.core.errors import StorageError

MIN_FREE_BYTES = 256 * 2**20
BALLAST_BYTES = 8 * 2**20
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class Space:
    """The disk of the data directory."""

    def __init__(
        self,
        folder: Path,
        min_free_bytes: int = MIN_FREE_BYTES,
        free_bytes: Callable[[], int] | None = None,
    ) -> None:
        self.folder = folder
        self.min_free_bytes = min_free_bytes
        self._free_bytes = free_bytes or (lambda: shutil.disk_usage(folder).free)
        self._ballast = folder / ".ballast"

    def lacking(self) -> str:
        """Why no job should be started now, a sentence; "" if all is well."""
        try:
            free = self._free_bytes()
            probe = self.folder / f".write-test-{os.getpid()}"
            probe.write_bytes(b"x" * 4096)
            probe.unlink()
        except OSError as error:
            if error.errno in FULL:
                return self._full(0)
            return (
                f"the data directory {self.folder} cannot be written ({error.strerror}); "
                "correct its permissions and the queue goes on by itself"
            )
        return self._full(free) if free < self.min_free_bytes else ""

    def keep_ballast(self) -> None:
        """Set some bytes aside while there are plenty."""
        with suppress(OSError):
            if not self._ballast.exists() and self._free_bytes() > 4 * BALLAST_BYTES:
                self._ballast.write_bytes(b"\0" * BALLAST_BYTES)

    def drop_ballast(self) -> bool:
        """Give the set aside bytes up, so that the job store can be written once more.

        Whether there were any.
        """
        try:
            self._ballast.unlink()
        except OSError:
            return False
        return True

    def _full(self, free: int) -> str:
        return (
            f"the disk of {self.folder} is full ({free // 2**20} MB free, "
            f"{self.min_free_bytes // 2**20} MB needed); free some space "
            "and the queue goes on by itself"
        )


def is_storage(error: BaseException) -> bool:
    """Whether `error`, or what it came from, says that bytes cannot be written."""
    if isinstance(error, StorageError):
        return True
    # torch, safetensors and SQLite say it in words only, whatever their class is.
    named = "No space left on device" in str(error) or "disk is full" in str(error)
    return named or (isinstance(error, OSError) and error.errno in FULL)
