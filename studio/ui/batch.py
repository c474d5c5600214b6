"""Many prompts at once: each line of the prompt becomes a job of its own."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from studio.core.errors import RequestError
from studio.jobs.store import MAX_QUEUED
from studio.ui.engine import Engine
from studio.ui.form import new_seed

MAX_LINES = 50


def submit_lines(
    engine: Engine, data: Mapping[str, Any], owner: str, *, fresh: bool = False
) -> list[str]:
    """Queue the request once for every line of its prompt that is not empty; the jobs' ids.

    Every line is judged before the first is queued: either all of them are, or none is.

    Args:
        fresh: give every line after the first a new seed; otherwise all have the request's own.

    Raises:
        StudioError: for fewer than two lines, for too many, for a shot list (its prompt is one),
            or for a line that cannot be made.
    """
    prompts = lines_of(data["prompt"])
    if len(prompts) < 2:
        raise RequestError(engine.t("batch.one"))
    if len(prompts) > MAX_LINES:
        raise RequestError(engine.t("batch.many", most=MAX_LINES, n=len(prompts)))
    if data.get("director"):
        raise RequestError(engine.t("batch.shots"))
    waiting = len(engine.store.list(owner=owner, states=["queued"], limit=MAX_QUEUED))
    if waiting + len(prompts) > MAX_QUEUED:
        raise RequestError(engine.t("batch.full", most=MAX_QUEUED, n=waiting))
    requests = [
        {**data, "prompt": prompt, "seed": int(new_seed()) if fresh and line else data["seed"]}
        for line, prompt in enumerate(prompts)
    ]
    for request in requests:
        engine.admit(request)
    key = secrets.token_hex(8)
    return [engine.submit(request, owner, f"{key}-{line}") for line, request in enumerate(requests)]


def lines_of(prompt: object) -> list[str]:
    """The prompts in a text, one a line, in their order."""
    return [line.strip() for line in str(prompt or "").splitlines() if line.strip()]
