"""The ASGI application of the lab: files that are read once, and the routes of the room with training runs."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from mnist_mlp.lab.live.training_app import PATHS, TrainingApp
from mnist_mlp.serve import page_files, responses
from mnist_mlp.serve.metrics import Metrics
from mnist_mlp.serve.middleware import Middleware
from mnist_mlp.serve.origins import Access, access_to

PAGE = Path(__file__).with_name("page")
ROOMS = {
    "/": "index.html",
    "/network": "training/index.html",
    "/questions": "questions/index.html",
}  # the page of each room, by its path
NOT_PARTS = ("index.html", "package.json")  # the latter tells Node that the scripts are modules


def files() -> dict[str, Path]:
    """Return every path that the server answers, and its file."""
    sent = [file for file in sorted(PAGE.rglob("*")) if file.suffix in page_files.MEDIA_TYPES]
    parts = {f"/page/{file.relative_to(PAGE).as_posix()}": file for file in sent if file.name not in NOT_PARTS}
    rooms = {path: PAGE / name for path, name in ROOMS.items()}
    return {**rooms, "/page/style.css": page_files.STYLE, **parts}


def make_app(
    access: Access | None = None, metrics: Metrics | None = None, training: TrainingApp | None = None
) -> ASGIApp:
    """Return the application of a server; `access` says who may use it (default: this machine, and its own page).

    Without `training` there are no runs: its paths are not there.
    """
    paths = files()
    routes = [Route(path, page_files.file_endpoint(file), methods=["GET", "HEAD"]) for path, file in paths.items()]
    if training:
        routes += [Route(path, training) for path in PATHS]
    app = Starlette(routes=routes, exception_handlers={HTTPException: refuse})
    app.router.redirect_slashes = False
    return Middleware(app, {}, metrics or Metrics(), paths.keys(), access or access_to("127.0.0.1"))


async def refuse(request: Request, error: Exception) -> Response:
    """Answer a path or method that is not there in the format of `serve`: {"error": "…"}."""
    assert isinstance(error, HTTPException)
    message = str(error.detail)
    if error.status_code == 404:
        message = f"no such path: {request.url.path[:100]}; the pages are {', '.join(ROOMS)}"
    elif error.status_code == 405:
        allowed = sorted((error.headers or {}).get("Allow", "GET, HEAD").split(", "))
        message = f"expected {' or '.join(allowed)}, received {request.method}"
    return responses.error(error.status_code, message, dict(error.headers or {}))
