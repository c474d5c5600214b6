"""The studio's own addresses: clips, posters, previews, the login and a sign of life."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route

from studio.core.errors import StudioError
from studio.library.share import archive, plain_copy
from studio.ui.door import Door
from studio.ui.engine import Engine


def own_routes(engine: Engine, door: Door) -> Starlette:
    """What `Guard` answers without Gradio."""

    def clip(request: Request) -> Response:
        name = request.path_params["name"]
        if not engine.links.good("clips", name, request.path_params["token"]):
            return _nothing()
        try:
            path = engine.library.get(name).path
        except StudioError:
            return _nothing()
        load = "download" in request.query_params
        if "plain" in request.query_params:
            try:
                path = plain(engine, path)
            except StudioError as error:
                return PlainTextResponse(str(error), status_code=503)
        return _file(path, "video/mp4", f"{name}.mp4" if load else None)

    def poster(request: Request) -> Response:
        name = request.path_params["name"]
        if not engine.links.good("posters", name, request.path_params["token"]):
            return _nothing()
        try:
            path = engine.library.poster(name)
        except StudioError:
            return _nothing()
        return _file(path, "image/webp")

    def preview(request: Request) -> Response:
        name = request.path_params["name"]
        if not engine.links.good("previews", name, request.path_params["token"]):
            return _nothing()
        try:
            path = Path(engine.store.get(name).preview or "").resolve()
        except StudioError:
            return _nothing()
        inside = path.is_relative_to(engine.settings.work_dir.resolve())
        answer = _file(path if inside else None, "image/webp")
        answer.headers["cache-control"] = "no-store"
        return answer

    return Starlette(
        routes=[
            Route("/healthz", lambda _: _health(engine)),
            Route("/login", door.login, methods=["GET", "POST"]),
            Route("/login/", door.login, methods=["GET", "POST"]),
            Route("/studio/clips/{token}/{name}.mp4", clip),
            Route("/studio/archives/{token}/{name}.zip", lambda request: _archive(engine, request)),
            Route("/studio/posters/{token}/{name}.webp", poster),
            Route("/studio/previews/{token}/{name}.webp", preview),
        ]
    )


def _health(engine: Engine) -> Response:
    try:
        engine.store.rev()
    except StudioError as error:
        return JSONResponse({"status": "failed", "message": str(error)}, status_code=503)
    if not engine.alive():
        said = "the queue's supervisor has ended; restart the studio"
        return JSONResponse({"status": "failed", "message": said}, status_code=503)
    return JSONResponse({"status": "ok"})


def _archive(engine: Engine, request: Request) -> Response:
    name = request.path_params["name"]
    if not engine.links.good("archives", name, request.path_params["token"]):
        return _nothing()
    bare = "plain" in request.query_params
    clips = [clip for clip in engine.clips(name) if not clip.missing]
    pieces = archive(
        clips,
        settings=not bare,
        file_of=lambda clip: plain(engine, clip.path) if bare else clip.path,
    )
    headers = {"content-disposition": 'attachment; filename="clips.zip"'}
    return StreamingResponse(pieces, media_type="application/zip", headers=headers)


def plain(engine: Engine, path: Path) -> Path:
    """A copy of a clip that does not say how it was made; kept while uploads are kept.

    Raises:
        StudioError: if it cannot be made.
    """
    copy = engine.settings.cache_dir / "plain" / path.name
    if not copy.is_file() or copy.stat().st_mtime < path.stat().st_mtime:
        plain_copy(path, copy)
    return copy


def _file(path: Path | None, kind: str, download: str | None = None) -> Response:
    if path is None or not path.is_file():
        return _nothing()
    headers = {"cache-control": "private, max-age=3600"}
    return FileResponse(path, media_type=kind, filename=download, headers=headers)


def _nothing() -> Response:
    return PlainTextResponse("there is nothing here", status_code=404)
