"""Endpoints for the files of a page, which are read once; and the style sheet that all pages of the package share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

STYLE = Path(__file__).with_name("page") / "style.css"
MEDIA_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}


def file_endpoint(file: Path) -> Callable[[Request], Awaitable[Response]]:
    """Return an endpoint that sends a file of a page."""
    content, media_type = file.read_bytes(), MEDIA_TYPES[file.suffix]

    async def send(request: Request) -> Response:
        return Response(content, headers={"cache-control": "no-cache"}, media_type=media_type)

    return send
