"""The ASGI application of the lab: files that are read once, and nothing else."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from mnist_mlp.serve import page_files, responses
from mnist_mlp.serve.metrics import Metrics
from mnist_mlp.serve.middleware import Middleware
from mnist_mlp.serve.origins import Access, access_to

PAGE = Path(__file__).with_name("page")
NOT_PARTS = ("index.html", "package.json")  # the latter says to Node what the modules are


def files() -> dict[str, Path]:
    """Return every path that the server answers, and its file."""
    sent = [file for file in sorted(PAGE.iterdir()) if file.suffix in page_files.MEDIA_TYPES]
    parts = {f"/page/{file.name}": file for file in sent if file.name not in NOT_PARTS}
    return {"/": PAGE / "index.html", "/page/style.css": page_files.STYLE, **parts}


def make_app(access: Access | None = None, metrics: Metrics | None = None) -> ASGIApp:
    """Return the application of a server; `access` says who may use it (default: this machine, and its own page)."""
    paths = files()
    routes = [Route(path, page_files.file_endpoint(file), methods=["GET", "HEAD"]) for path, file in paths.items()]
    app = Starlette(routes=routes, exception_handlers={HTTPException: refuse})
    app.router.redirect_slashes = False
    return Middleware(app, {}, metrics or Metrics(), paths.keys(), access or access_to("127.0.0.1"))


async def refuse(request: Request, error: Exception) -> Response:
    """Answer a path or method that is not there in the format of `serve`: {"error": "…"}."""
    assert isinstance(error, HTTPException)
    message = str(error.detail)
    if error.status_code == 404:
        message = f"no such path: {request.url.path[:100]}; the page is /"
    elif error.status_code == 405:
        message = f"expected GET or HEAD, received {request.method}"
    return responses.error(error.status_code, message, dict(error.headers or {}))
