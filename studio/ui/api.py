"""The public API: what programs call (gradio_client, MCP). Values are judged as in the forms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TypeVar

import gradio as gr

from studio.core.errors import RequestError, StudioError
from studio.core.preset import Preset
from studio.core.request import parse_request
from studio.jobs.records import Job
from studio.jobs.rewriter import rewritten
from studio.ui.engine import Engine

OWNER = "api"
MAX_ID = 80
T = TypeVar("T")


def public_api(engine: Engine) -> list[Callable[..., Any]]:
    """The endpoints, each a function with a docstring; the shell gives them to `gr.api`."""

    def generate(request: dict[str, Any]) -> str:
        """Queue a video and return its job id.

        request: {"kind": "t2v", "preset": "pocket", "prompt": "...", "seconds": 2, "seed": 1, ...}
        with the same fields as the forms. kind is t2v, i2v or flf2v; image and last_image name
        files uploaded before (gradio_client: the path that its upload returns).
        """
        return _spoken(lambda: engine.submit(request, OWNER))

    def status(job_id: str) -> dict[str, Any]:
        """Say how far a job is: state, progress (stage, step, steps, done, eta_s) and message."""
        job = _spoken(lambda: _job(engine, job_id))
        progress = asdict(job.progress) if job.progress else None
        return {
            "id": job.id,
            "state": job.state,
            "progress": progress,
            "message": job.message,
            "ahead": engine.store.ahead(job.id),
        }

    def result(job_id: str) -> dict[str, Any]:
        """Give a finished job's clip: id, url (on this server), seed, frames, size and request."""

        def found() -> dict[str, Any]:
            job = _job(engine, job_id)
            if job.clip_id is None:
                raise StudioError(f"job {job_id} is {job.state}; ask again when it is done")
            clip = engine.library.get(job.clip_id)
            summary = {k: v for k, v in clip.summary.items() if k != "path"}
            return {
                "id": clip.id,
                "url": engine.links.clip(clip.id),
                "summary": summary,
                "request": {**clip.request},
            }

        return _spoken(found)

    def plan(request: dict[str, Any]) -> dict[str, Any]:
        """Say what a request would cost: windows, frames, forwards, notices. Nothing is loaded."""
        return _spoken(lambda: asdict(engine.plan(parse_request(request))))

    def rewrite(
        idea: str, mode: str = "normal", preset: str = "pocket", seed: int = 0
    ) -> dict[str, Any]:
        """Turn an idea into a prompt (mode normal) or a shot list (mode director) for a model."""
        return _spoken(lambda: _rewritten(engine, idea, mode, preset, seed))

    def presets() -> list[dict[str, Any]]:
        """List the models: id, title, modes, defaults, limits and licence."""
        return [_model(preset) for preset in engine.presets.values()]

    return [generate, status, result, plan, rewrite, presets]


def _job(engine: Engine, job_id: object) -> Job:
    # JSON of any kind may come; the store takes text that it can write.
    if not isinstance(job_id, str) or not job_id.isascii() or len(job_id) > MAX_ID:
        raise RequestError(f"a job's id is the text that generate gave (got {str(job_id)[:20]!a})")
    return engine.store.get(job_id)


def _rewritten(engine: Engine, idea: str, mode: str, preset: str, seed: int) -> dict[str, Any]:
    if not isinstance(idea, str):
        raise RequestError(f"an idea is text (got {str(idea)[:20]!r}); write it as text")
    if mode not in ("normal", "director"):
        raise RequestError(f"mode is normal or director (got {str(mode)[:20]!r}); choose one")
    if not isinstance(seed, int):
        raise RequestError(f"a seed is a whole number (got {str(seed)[:20]!r}); send one")
    found = rewritten(engine.settings, idea, mode, engine.preset(preset), seed)
    return found.model_dump(mode="json")


def _model(preset: Preset) -> dict[str, Any]:
    return {
        "id": preset.id,
        "title": preset.title,
        "description": preset.description,
        "modes": list(preset.modes),
        "defaults": preset.defaults.model_dump(mode="json"),
        "limits": preset.limits.model_dump(mode="json"),
        "licence": preset.weights.licence,
    }


def _spoken(work: Callable[[], T]) -> T:
    """What `work` gives; its errors as sentences that clients see."""
    try:
        return work()
    except StudioError as error:
        raise gr.Error(str(error), print_exception=False) from error
