"""The password: scrypt, a signed cookie, and a wait that doubles with every wrong try."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from html import escape
from string import Template
from typing import Any
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from studio.ui.languages import chosen_language
from studio.ui.palette import variables
from studio.ui.texts import ASSETS, Texts, texts

COOKIE = "studio-session"
SESSION_S = 30 * 24 * 3600
FREE_TRIES = 3
LONGEST_WAIT_S = 600.0
MAX_KNOWN = 10_000
MAX_FORM_BYTES = 8192


class Door:
    """Lets in whoever knows the password; everybody when there is none."""

    def __init__(
        self, password: str, key: bytes, t: Texts, clock: Callable[[], float] = time.time
    ) -> None:
        self._key = hashlib.sha256(key + password.encode()).digest()
        self._hash = _scrypt(password, self._key) if password else b""
        self._t = t
        self._clock = clock
        self._wrong: dict[str, tuple[int, float]] = {}
        self._basic: set[bytes] = set()

    @property
    def locked(self) -> bool:
        """Whether a password is asked for."""
        return bool(self._hash)

    async def admits(self, scope: Mapping[str, Any], headers: Mapping[str, str]) -> bool:
        """Whether a request carries a session or the password (HTTP Basic, for programs)."""
        if not self.locked or self._session(headers.get("cookie", "")):
            return True
        kind, _, code = headers.get("authorization", "").partition(" ")
        if kind.lower() != "basic":
            return False
        mark = hashlib.sha256(self._key + code.encode("utf-8", "replace")).digest()
        if mark in self._basic:
            return True
        try:
            password = base64.b64decode(code).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return False
        if await self.opens(password, _client(scope)):
            self._basic.add(mark)
            return True
        return False

    async def opens(self, password: str, client: str) -> bool:
        """Whether it is the password; wrong tries of a client make it wait."""
        if self.wait_s(client) > 0:
            return False
        # Counted before the slow hash, so that many tries at once do not go free.
        count = self._wrong.get(client, (0, 0.0))[0] + 1
        wait = 0.0 if count < FREE_TRIES else min(LONGEST_WAIT_S, 2.0 ** (count - FREE_TRIES))
        if len(self._wrong) >= MAX_KNOWN:
            self._wrong.clear()
        self._wrong[client] = (count, self._clock() + wait)
        given = await run_in_threadpool(_scrypt, password, self._key)
        if not hmac.compare_digest(given, self._hash):
            return False
        self._wrong.pop(client, None)
        return True

    def wait_s(self, client: str) -> float:
        """How long a client must wait before its next try."""
        return max(0.0, self._wrong.get(client, (0, 0.0))[1] - self._clock())

    def turn_away(self, scope: Mapping[str, Any], headers: Mapping[str, str]) -> Response:
        """The answer to who is not let in: people are shown the door, programs get a 401."""
        if scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
            return RedirectResponse("/login", status_code=303)
        return PlainTextResponse(
            "this studio needs its password; log in at /login",
            status_code=401,
            headers={"www-authenticate": 'Basic realm="studio"'},
        )

    async def login(self, request: Request) -> Response:
        """The page at /login, and the password sent to it, in the visitor's language."""
        t = texts(chosen_language(request.headers, self._t.language))
        if request.method != "POST":
            return RedirectResponse("/", 303) if not self.locked else self._page(t, "")
        client = _client(request.scope)
        wait = self.wait_s(client)
        if wait > 0:
            page = self._page(t, t("login.wait", seconds=int(wait) + 1), 429)
            page.headers["retry-after"] = str(int(wait) + 1)
            return page
        body = await request.body()
        fields = parse_qs(body[:MAX_FORM_BYTES].decode("utf-8", "replace"))
        if not self.locked or not await self.opens(fields.get("password", [""])[0], client):
            return self._page(t, t("login.wrong"), 401)
        answer = RedirectResponse("/", status_code=303)
        if "text/html" not in request.headers.get("accept", ""):
            answer = Response('{"success":true}', media_type="application/json")  # type: ignore[assignment]
        secure = request.headers.get("x-forwarded-proto", request.url.scheme) == "https"
        answer.set_cookie(
            COOKIE, self._token(), max_age=SESSION_S, httponly=True, samesite="lax", secure=secure
        )
        return answer

    def _token(self) -> str:
        until = str(int(self._clock()) + SESSION_S)
        return f"{until}.{self._sign(until)}"

    def _sign(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()

    def _session(self, cookie: str) -> bool:
        for part in cookie.split(";"):
            name, _, value = part.strip().partition("=")
            until, _, proof = value.partition(".")
            if name == COOKIE and until.isascii() and until.isdigit():
                good = hmac.compare_digest(self._sign(until).encode(), proof.encode())
                return good and int(until[:15]) > self._clock()
        return False

    @staticmethod
    def _page(t: Texts, said: str, status: int = 200) -> HTMLResponse:
        note = f'<p role="alert">{escape(said)}</p>' if said else ""
        return HTMLResponse(
            Template((ASSETS / "login.html").read_text(encoding="utf-8")).substitute(
                lang=t.language,
                title=escape(t("login.title")),
                label=escape(t("login.password")),
                enter=escape(t("login.enter")),
                note=note,
                colours=variables(),
            ),
            status_code=status,
        )


def _client(scope: Mapping[str, Any]) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode("utf-8", "replace"), salt=salt, n=2**14, r=8, p=1)
