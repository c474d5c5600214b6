"""Who leaves when bytes are needed: a pure function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """A part in memory as eviction sees it."""

    key: str
    bytes: int
    last_used: int
    locked: bool = False


def evict(residents: Sequence[Candidate], need_bytes: int) -> list[str] | None:
    """Keys to free so that at least `need_bytes` come free, least recently used first.

    Locked parts never leave, and no part leaves without need. None if it cannot be done.
    """
    if need_bytes <= 0:
        return []
    free = sorted((r for r in residents if not r.locked and r.bytes > 0), key=lambda r: r.last_used)
    chosen: list[Candidate] = []
    freed = 0
    for resident in free:
        if freed >= need_bytes:
            break
        chosen.append(resident)
        freed += resident.bytes
    if freed < need_bytes:
        return None
    for resident in reversed(chosen):
        if freed - resident.bytes >= need_bytes:
            chosen.remove(resident)
            freed -= resident.bytes
    return [resident.key for resident in chosen]
