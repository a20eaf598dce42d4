"""Read the bodies of requests within the limits; large bodies and pictures are parsed in threads."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from starlette.requests import Request

from mnist_mlp.data.pictures import reading
from mnist_mlp.serve import request_images
from mnist_mlp.serve.limits import SMALL, WAITING, Limits, Refused
from mnist_mlp.serve.request_images import PredictRequest

HELD = 16  # bytes in memory for all requests together, in multiples of the largest body
LONG_TEXT = re.compile(rb'"[^"\[\]{}]{20,}"')  # no key is as long, and between two keys is a bracket
KINDS = ("application/json", "text/plain", "application/x-www-form-urlencoded", "application/octet-stream")


class BodyReader:
    """Reads the images in requests. Use it on one event loop."""

    def __init__(self, limits: Limits, of_digits: bool = True):
        self.limits = limits
        self.of_digits = of_digits  # what pictures must show
        self.held = 0  # bytes
        self.in_threads = 0
        self.threads = ThreadPoolExecutor(2, "bodies")

    async def read(self, request: Request, *, drawing: bool = False) -> PredictRequest:
        """Return the images in a request. Raise `Refused`, or Starlette's ClientDisconnect.

        With `drawing`, pictures are drawings that are still being made, which need not look like a digit.
        """
        async with self.received(request, self.limits.body) as body:
            return await self.parse(body, drawing)

    async def read_json(self, request: Request) -> Any:
        """Return the JSON value in a request of at most SMALL bytes. Raise as `read` does."""
        async with self.received(request, SMALL) as body:
            return request_images.parse(body)

    @contextlib.asynccontextmanager
    async def received(self, request: Request, largest: int) -> AsyncIterator[bytes]:
        """Yield the body of a request, of at most `largest` bytes; within the block it counts as held."""
        self.check_head(request, largest)
        chunks: list[bytes] = []
        size = 0
        try:
            async for chunk in request.stream():
                size += len(chunk)
                self.held += len(chunk)
                if size > largest:
                    raise self.too_long(largest)
                if self.held > HELD * self.limits.body:
                    raise Refused(429, "too many large requests are being read; try again in a second")
                chunks.append(chunk)
            yield chunks[0] if len(chunks) == 1 else b"".join(chunks)
        finally:
            self.held -= size

    async def parse(self, body: bytes, drawing: bool = False) -> PredictRequest:
        """Parse a body: on the event loop if that is quick, else in a thread."""
        # Pictures are for a thread: {"b64": …}, whose letters JSON may escape, or a text as long as one.
        if len(body) <= SMALL and b"b64" not in body and b"\\" not in body and not LONG_TEXT.search(body):
            return request_images.read(body, self.limits)
        if self.in_threads >= WAITING:
            raise Refused(429, "too many pictures are waiting to be read; try again in a second")
        read_picture = partial(reading.drawing_in if drawing else reading.digit_in, digits=self.of_digits)
        self.in_threads += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self.threads, request_images.read, body, self.limits, read_picture
            )
        finally:
            self.in_threads -= 1

    def check_head(self, request: Request, largest: int) -> None:
        """Raise `Refused` for what the headers already show."""
        headers = request.headers
        encoding = headers.get("content-encoding", "identity").lower()
        if encoding != "identity":
            raise Refused(415, f"expected a body that is not compressed, received content-encoding: {encoding[:40]}")
        kind = headers.get("content-type", KINDS[0]).partition(";")[0].strip().lower()
        if kind not in KINDS:
            hint = (
                '; send a picture as {"instances": [{"b64": "…"}]}' if kind.startswith(("image/", "multipart/")) else ""
            )
            raise Refused(415, f"expected JSON (content-type: application/json), received {kind[:60]}{hint}")
        if int(headers.get("content-length", "0")) > largest:  # checked by the HTTP parser
            raise self.too_long(largest)

    def too_long(self, largest: int) -> Refused:
        """The error for a body above the limit."""
        hint = "; send fewer images" if largest == self.limits.body else ""
        return Refused(413, f"expected a body of at most {largest:,} bytes, received more{hint}")
