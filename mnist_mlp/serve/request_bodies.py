"""Read the bodies of requests within the limits; large bodies and pictures are parsed in threads."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial

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
        self.check_head(request)
        chunks: list[bytes] = []
        size = 0
        try:
            async for chunk in request.stream():
                size += len(chunk)
                self.held += len(chunk)
                if size > self.limits.body:
                    raise self.too_long()
                if self.held > HELD * self.limits.body:
                    raise Refused(429, "too many large requests are being read; try again in a second")
                chunks.append(chunk)
            return await self.parse(chunks[0] if len(chunks) == 1 else b"".join(chunks), drawing)
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

    def check_head(self, request: Request) -> None:
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
        if int(headers.get("content-length", "0")) > self.limits.body:  # checked by the HTTP parser
            raise self.too_long()

    def too_long(self) -> Refused:
        """The error for a body above the limit."""
        return Refused(413, f"expected a body of at most {self.limits.body:,} bytes, received more; send fewer images")
