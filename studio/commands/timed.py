"""A store and a depot that count how long they work."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from studio.jobs.store import JobStore
from studio.scale.depot import Depot


class TimedStore(JobStore):
    """A store that counts what is asked of it and how long that takes."""

    seconds = 0.0
    operations = 0

    @contextmanager
    def reading(self) -> Iterator[Any]:
        """As the store's, timed; writing goes through it too."""
        begun = time.perf_counter()
        try:
            with super().reading() as db:
                yield db
        finally:
            self.seconds += time.perf_counter() - begun
            self.operations += 1


class TimedDepot(Depot):
    """A depot that counts how long it works."""

    seconds = 0.0

    def put(self, job_id: str, path: Path) -> Any:
        """As the depot's, timed."""
        with self._timed():
            return super().put(job_id, path)

    def take(self, job_id: str, stored: Any, path: Path) -> None:
        """As the depot's, timed."""
        with self._timed():
            super().take(job_id, stored, path)

    def write_manifest(self, job_id: str, fence: float, files: dict[str, Any]) -> None:
        """As the depot's, timed."""
        with self._timed():
            super().write_manifest(job_id, fence, files)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - begun
