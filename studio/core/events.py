"""All that a job ever says: plain data, written by the worker, read by whoever looks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Stage = Literal["queued", "loading", "encoding", "sampling", "decoding", "publishing", "finishing"]


@dataclass(frozen=True)
class Progress:
    """Where the job is: counted in work units so that an honest ETA follows."""

    stage: Stage
    window: int = 0
    windows: int = 1
    step: int = 0
    steps: int = 0
    done: float = 0.0
    """Share of the whole job that is done, 0 to 1."""
    eta_s: float | None = None
    message: str = ""


@dataclass(frozen=True)
class Preview:
    """A small animated picture of what is being made (a WebP file that is replaced atomically)."""

    path: str
    window: int = 0
    step: int = 0


@dataclass(frozen=True)
class SegmentDone:
    """A window was published: its frames are a media file that will not change any more."""

    window: int
    path: str
    start_frame: int
    frames: int
    sha256: str
    bytes: int = 0
    """Size of the media file; 0 if nobody looked."""


@dataclass(frozen=True)
class Notice:
    """Something the user should know: a rounded length, a fallback, one rung down the ladder."""

    message: str


@dataclass(frozen=True)
class Done:
    """The clip is in the library."""

    clip_id: str
    path: str
    summary: dict[str, Any]


@dataclass(frozen=True)
class Failed:
    """The job ended without a clip. `message` is for the user."""

    error: str
    message: str
    retriable: bool = False


Event = Progress | Preview | SegmentDone | Notice | Done | Failed
KINDS: dict[str, type[Any]] = {
    c.__name__: c for c in (Progress, Preview, SegmentDone, Notice, Done, Failed)
}


def to_json(event: Event) -> dict[str, Any]:
    """`event` as plain data with its kind."""
    return {"kind": type(event).__name__, **asdict(event)}


def from_json(data: dict[str, Any]) -> Event:
    """The event that `to_json` wrote; unknown kinds raise KeyError."""
    fields = {k: v for k, v in data.items() if k != "kind"}
    event: Event = KINDS[data["kind"]](**fields)
    return event
