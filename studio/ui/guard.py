"""The gate in front of Gradio: who may ask, what may be asked, how much may be sent.

Gradio 6.31 itself accepts any Host, cross-origin uploads, unlimited bodies, and serves routes that
nobody here needs. This ASGI middleware stands before all of it.
"""

from __future__ import annotations

import ipaddress
import re
import shutil
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse

from studio.ui.door import Door

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]
Refusal = tuple[int, str]

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
BODY_BYTES = 4 * 2**20
UPLOAD_BYTES = 200 * 2**20
QUOTA_BYTES = 4 * 2**30
FREE_BYTES = 500 * 2**20
PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"})
SOUNDS_AND_CLIPS = frozenset({".mp4", ".webm", ".mov", ".wav", ".mp3", ".flac", ".ogg", ".m4a"})
MEDIA = PICTURES | SOUNDS_AND_CLIPS
CLOSED = re.compile(
    r"^(?:/gradio_api)?/(?:pwa_icon|process_recording|monitoring|proxy=|component_server|deep_link"
    r"|runs|run-history|vibe|undo-vibe|dev/|profiling|stream/|custom_component|token|docs|redoc"
    r"|file=(?:https?:|//))"
)
FILE = re.compile(r"^(?:/gradio_api)?/file[=/](.*)$", re.DOTALL)
OWN = re.compile(r"^/(?:healthz$|login/?$|studio/)")
OPEN = re.compile(r"^/(?:healthz|login/?|gradio_api/startup-events)$")
"""Answered without a password; Gradio asks itself for the last one when it starts."""


@dataclass(frozen=True)
class Policy:
    """What this studio allows."""

    hosts: frozenset[str]
    """Names that the Host header may have, lower case, without a port."""
    suffixes: tuple[str, ...] = ()
    """Endings that are allowed too, e.g. ".hf.space"."""
    any_address: bool = False
    """Whether a bare IP address is a good Host: no name can be rebound to this machine then."""
    files: Path = Path()
    """The only folder that Gradio may serve files from."""
    frames: str = "'self'"
    """Who may show the studio in a frame."""
    body_bytes: int = BODY_BYTES
    upload_bytes: int = UPLOAD_BYTES
    quota_bytes: int = QUOTA_BYTES


class Guard:
    """ASGI middleware; refusals are short sentences with a 4xx status."""

    def __init__(self, app: Asgi, *, policy: Policy, own: Asgi, door: Door) -> None:
        self.app = app
        self.policy = policy
        self.own = own
        self.door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer = _with_headers(send, self.policy)
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        refusal = judge(scope["method"], scope["path"], headers, self.policy)
        if refusal is None and _is_upload(scope["path"]):
            refusal = await run_in_threadpool(_no_room, self.policy)
        if refusal is not None:
            await _refuse(refusal)(scope, receive, answer)
            return
        if not OPEN.match(scope["path"]) and not await self.door.admits(scope, headers):
            await self.door.turn_away(scope, headers)(scope, receive, answer)
            return
        await self._pass(scope, receive, answer)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on with a counted body.

        What is too large is answered here; to the application it looks as if the client had left.
        """
        most = self.policy.upload_bytes if _is_upload(scope["path"]) else self.policy.body_bytes
        started = refused = False
        count = 0

        async def counted() -> Message:
            nonlocal count, refused
            message = await receive()
            count += len(message.get("body", b""))
            if count <= most:
                return message
            if not started and not refused:
                refused = True
                await _refuse(_too_large(most))(scope, receive, send)
            return {"type": "http.disconnect"}

        async def noted(message: Message) -> None:
            nonlocal started
            if not refused:
                started = True
                await send(message)

        target = self.own if OWN.match(scope["path"]) else self.app
        try:
            await target(scope, counted, noted)
        except ClientDisconnect:
            if not refused:
                raise


def judge(method: str, path: str, headers: dict[str, str], policy: Policy) -> Refusal | None:
    """Why a request is refused, as (status, sentence); None lets it pass."""
    host = headers.get("host", "")
    if not good_host(host, policy):
        return 400, "this studio does not answer to that name; open it at its own address"
    origin = headers.get("origin")
    if origin is not None and not same_origin(origin, host, headers, policy):
        return 403, "another site asked for this; open the studio itself"
    if method not in SAFE and headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return 403, "another site asked for this; open the studio itself"
    if CLOSED.match(path):
        return 404, "there is nothing here"
    file = FILE.match(path)
    if file is not None and not _servable(file[1], policy.files):
        return 403, "this file is not served"
    length = headers.get("content-length", "0")
    most = policy.upload_bytes if _is_upload(path) else policy.body_bytes
    if not length.isdigit() or len(length) > 15 or int(length) > most:
        return _too_large(most)
    return None


def good_host(host: str, policy: Policy) -> bool:
    """Whether a Host header names this studio."""
    try:
        name = (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return False
    if name in policy.hosts or any(name.endswith(end) for end in policy.suffixes):
        return True
    return policy.any_address and _is_address(name)


def same_origin(origin: str, host: str, headers: dict[str, str], policy: Policy) -> bool:
    """Whether an Origin header is the studio's own; a proxy may say which host it forwards."""
    there = urlsplit(origin).netloc.lower()
    names = {host.lower()}
    forwarded = headers.get("x-forwarded-host", "").lower()
    if forwarded and good_host(forwarded, policy):
        names.add(forwarded)
    return bool(there) and any(there in (n, f"{n}:443", f"{n}:80") for n in names)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _servable(name: str, folder: Path) -> bool:
    path = Path("/" + name.lstrip("/")) if not Path(name).is_absolute() else Path(name)
    try:
        real = path.resolve()
    except (OSError, ValueError, RuntimeError):
        return False
    return real.suffix.lower() in MEDIA and real.is_relative_to(folder.resolve())


def _is_upload(path: str) -> bool:
    return path.rstrip("/") in ("/gradio_api/upload", "/upload")


def _no_room(policy: Policy) -> Refusal | None:
    """Why nothing more can be uploaded now; None if it can."""
    taken = sum(f.stat().st_size for f in policy.files.rglob("*") if f.is_file())
    if taken > policy.quota_bytes or shutil.disk_usage(policy.files).free < FREE_BYTES:
        return 413, "the studio's disk is full; delete some clips or wait until uploads expire"
    return None


def _too_large(most: int) -> Refusal:
    return 413, f"at most {most // 2**20} MB can be sent at once; send something smaller"


def _refuse(refusal: Refusal) -> Asgi:
    status, sentence = refusal
    return PlainTextResponse(sentence, status_code=status, headers={"connection": "close"})


def _with_headers(send: Send, policy: Policy) -> Send:
    """`send` that adds what every answer of the studio says."""
    csp = (
        "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; object-src 'none'; "
        f"base-uri 'self'; form-action 'self'; frame-ancestors {policy.frames}"
    )
    extra = [
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"same-origin"),
        (b"content-security-policy", csp.encode()),
    ]

    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            names = {name for name, _ in extra}
            kept = [(k, v) for k, v in message.get("headers", []) if k.lower() not in names]
            message = {**message, "headers": [*kept, *extra]}
        await send(message)

    return answer
