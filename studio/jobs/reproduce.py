"""Make a clip again and say whether the result is the same, window by window."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from studio.core.errors import MediaError
from studio.jobs.records import Job
from studio.library.clip import Clip

PREFIX = "reproduce"
MAX_WINDOWS = 10_000


@dataclass(frozen=True)
class Verdict:
    """How two clips of the same settings compare."""

    windows: int
    different: tuple[int, ...]
    """Windows whose bytes differ, from 0; empty if all are equal."""
    versions: tuple[str, ...] = ()
    """Packages whose versions differ, which is the usual reason."""

    @property
    def same(self) -> bool:
        """Whether every window is equal byte for byte."""
        return not self.different


def reproduce_key(clip_id: str) -> str:
    """The key of a job that makes `clip_id` again; every call gives another one."""
    return f"{PREFIX}:{clip_id}:{secrets.token_hex(6)}"


def original_of(job: Job) -> str | None:
    """The clip that the job makes again; None for other jobs."""
    parts = (job.key or "").split(":")
    return parts[1] if len(parts) == 3 and parts[0] == PREFIX else None


def request_again(clip: Clip) -> dict[str, Any]:
    """The request that makes `clip` again, with the seed that was used.

    Raises:
        MediaError: if the clip does not say enough.
    """
    if not clip.request or not window_hashes(clip.summary):
        raise MediaError(
            f"clip {clip.id} does not say how each of its windows came out, so nothing could be "
            "compared; reuse its settings instead"
        )
    seed = clip.seed
    return {**clip.request, **({} if seed is None else {"seed": seed})}


def window_hashes(summary: Mapping[str, Any]) -> tuple[str, ...]:
    """The hash of every window; empty if the summary does not have them."""
    windows = summary.get("windows")
    if not isinstance(windows, list) or len(windows) > MAX_WINDOWS:
        return ()
    found = [w.get("sha256") if isinstance(w, dict) else None for w in windows]
    return tuple(str(h) for h in found) if all(isinstance(h, str) for h in found) else ()


def compare(original: Clip, again: Clip) -> Verdict | None:
    """What came out; None if either does not name its windows (a sidecar may hold anything)."""
    before, after = window_hashes(original.summary), window_hashes(again.summary)
    if not before or not after:
        return None
    count = max(len(before), len(after))
    different = tuple(k for k in range(count) if before[k : k + 1] != after[k : k + 1])
    names = sorted({*original.versions, *again.versions})
    changed = tuple(n for n in names if original.versions.get(n) != again.versions.get(n))
    return Verdict(count, different, changed)
