"""The page in the language that a visitor chose: one Gradio application a language.

All requests of a browser carry its choice as a cookie, so that each language is an application of
its own behind the same address. Those that nobody asks for are never built.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.datastructures import Headers

from studio.ui.guard import Asgi, Receive, Scope, Send
from studio.ui.languages import chosen_language

Build = Callable[[str], Awaitable[Asgi]]


class Tongue:
    """ASGI middleware: hands requests to the application of their language."""

    def __init__(self, app: Asgi, *, usual: str, build: Build) -> None:
        self.app = app
        self.usual = usual
        self.build = build
        self.others: dict[str, Asgi] = {}
        self.lock = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self.app
        if scope["type"] == "http":
            language = chosen_language(Headers(scope=scope), self.usual)
            if language != self.usual:
                app = await self._other(language)
        await app(scope, receive, send)

    async def _other(self, language: str) -> Asgi:
        async with self.lock:
            if language not in self.others:
                self.others[language] = await self.build(language)
            return self.others[language]
