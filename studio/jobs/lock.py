"""A lock on a folder that the system releases when its process ends, however it ends."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO


class FolderLock:
    """An exclusive lock on a file; held until `release` or the end of the process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO | None = None

    def acquire(self) -> bool:
        """Take the lock if it is free; whether it is held by this object now."""
        if self._file is None:
            file = self.path.open("ab")
            if not _lock(file):
                file.close()
                return False
            self._file = file
        return True

    def release(self) -> None:
        """Give the lock back."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _lock(file: BinaryIO) -> bool:
    if os.name != "posix":
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
