"""Which language a visitor reads."""

from __future__ import annotations

from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie

from studio.ui.texts import LANGUAGES

COOKIE = "studio-language"


def chosen_language(headers: Mapping[str, str], usual: str) -> str:
    """The language of the cookie; else the browser's first one that is known; else `usual`.

    The browser is only asked where the studio itself speaks its usual language, English.
    """
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        morsel = None
    if morsel is not None and morsel.value in LANGUAGES:
        return morsel.value
    if usual == "en" and _first(headers.get("accept-language", "")) in LANGUAGES:
        return _first(headers.get("accept-language", ""))
    return usual


def _first(accepted: str) -> str:
    return (
        accepted.split(",", maxsplit=1)[0]
        .split(";", maxsplit=1)[0]
        .split("-", maxsplit=1)[0]
        .strip()
        .lower()
    )
