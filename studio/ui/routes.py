"""The studio's own addresses: clips, posters, previews, the login and a sign of life."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from studio.core.errors import StudioError
from studio.ui.door import Door
from studio.ui.engine import Engine


def own_routes(engine: Engine, door: Door) -> Starlette:
    """What `Guard` answers without Gradio."""

    def health(request: Request) -> Response:
        del request
        try:
            engine.store.rev()
        except StudioError as error:
            return JSONResponse({"status": "failed", "message": str(error)}, status_code=503)
        return JSONResponse({"status": "ok"})

    def clip(request: Request) -> Response:
        name = request.path_params["name"]
        if not engine.links.good("clips", name, request.path_params["token"]):
            return _nothing()
        try:
            path = engine.library.get(name).path
        except StudioError:
            return _nothing()
        load = "download" in request.query_params
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
            Route("/healthz", health),
            Route("/login", door.login, methods=["GET", "POST"]),
            Route("/login/", door.login, methods=["GET", "POST"]),
            Route("/studio/clips/{token}/{name}.mp4", clip),
            Route("/studio/posters/{token}/{name}.webp", poster),
            Route("/studio/previews/{token}/{name}.webp", preview),
        ]
    )


def _file(path: Path | None, kind: str, download: str | None = None) -> Response:
    if path is None or not path.is_file():
        return _nothing()
    headers = {"cache-control": "private, max-age=3600"}
    return FileResponse(path, media_type=kind, filename=download, headers=headers)


def _nothing() -> Response:
    return PlainTextResponse("there is nothing here", status_code=404)
