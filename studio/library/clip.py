"""A finished clip as the sidecar describes it."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from studio.core.errors import MediaError

SCHEMA = 1
MAX_SIDECAR_BYTES = 4_000_000
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}")


@dataclass(frozen=True)
class Clip:
    """A clip of the library. `missing`: its video was deleted by someone; the record is left."""

    id: str
    path: Path
    created: str
    """ISO 8601, UTC; newest first is descending order of this text."""
    request: Mapping[str, Any]
    summary: Mapping[str, Any]
    plan: Mapping[str, Any]
    versions: Mapping[str, Any]
    owner: str
    size_bytes: int
    starred: bool = False
    missing: bool = False

    @property
    def prompt(self) -> str:
        """What was asked for, as one line."""
        prompt = self.request.get("prompt")
        if prompt:
            return str(prompt)
        shots = self.request.get("shots") or ()
        return "; ".join(str(s.get("prompt", "")) for s in shots if isinstance(s, dict))

    @property
    def mode(self) -> str:
        """t2v, i2v, flf2v or avatar; "" if the record does not say."""
        return str(self.request.get("kind", ""))

    @property
    def seed(self) -> int | None:
        """The seed that was used."""
        seed = self.summary.get("seed", self.request.get("seed"))
        return seed if isinstance(seed, int) else None

    @property
    def seconds(self) -> float:
        """Length; 0 if the record does not say."""
        value = self.summary.get("seconds")
        return float(value) if isinstance(value, int | float) else 0.0


def new_clip_id(now: datetime | None = None) -> str:
    """An id that is free and sorts by time, e.g. 20260131-235959-0a1b2c."""
    moment = now or datetime.now(UTC)
    return f"{moment:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def check_id(clip_id: str) -> str:
    """`clip_id`, if it is one.

    Raises:
        MediaError: for anything that could be a path or that is no id.
    """
    if not isinstance(clip_id, str) or not ID.fullmatch(clip_id):
        raise MediaError(
            f"a clip's id has letters, digits, - and _ (got {str(clip_id)[:40]!r}); "
            "take it from the gallery"
        )
    return clip_id


def now_text() -> str:
    """The time for `created`: UTC with microseconds, always the same length."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def sidecar_text(clip_id: str, sidecar: Mapping[str, Any]) -> bytes:
    """The sidecar's file content: the id, the schema and the time are filled in."""
    record = {"schema": SCHEMA, "created": now_text(), **sidecar, "id": clip_id}
    return json.dumps(record, ensure_ascii=False, indent=1, default=str).encode()


def parse_sidecar(data: bytes, clip_id: str, path: Path, size_bytes: int | None) -> Clip | None:
    """The clip that a sidecar describes, or None if it does not describe one.

    `size_bytes` is None if the video is gone.
    """
    try:
        record = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or record.get("id") != clip_id:
        return None
    return Clip(
        id=clip_id,
        path=path,
        created=str(record.get("created", "")),
        request=_mapping(record.get("request")),
        summary=_mapping(record.get("summary")),
        plan=_mapping(record.get("plan")),
        versions=_mapping(record.get("versions")),
        owner=str(record.get("owner", "")),
        size_bytes=size_bytes or 0,
        missing=size_bytes is None,
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
