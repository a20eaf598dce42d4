"""Requests to an ASGI application within this process."""

import dataclasses
import json as json_
from collections.abc import AsyncIterator


@dataclasses.dataclass
class Answer:
    status_code: int
    headers: dict[str, str]
    content: bytes

    @property
    def text(self):
        return self.content.decode()

    def json(self):
        return json_.loads(self.content)


async def chunks_of(content):
    if isinstance(content, AsyncIterator):
        async for chunk in content:
            yield chunk
    else:
        yield content


async def request(app, method, path, *, json=None, content=b"", headers=None):
    """The answer; `content` may come in chunks, from an async generator, and then has no length beforehand."""
    sent = {"host": "localhost"}
    if json is not None:
        content = json_.dumps(json).encode()
        sent["content-type"] = "application/json"
    if isinstance(content, bytes):
        sent["content-length"] = str(len(content))
    sent |= headers or {}
    path, _, query = path.partition("?")
    scope = {
        **{"type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": method},
        **{"scheme": "http", "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": ""},
        "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
        **{"server": ("localhost", 80), "client": ("127.0.0.1", 1234), "state": {}},
    }
    body, received = chunks_of(content), []

    async def receive():
        chunk = await anext(body, None)
        return {"type": "http.request", "body": chunk or b"", "more_body": chunk is not None}

    async def send(message):
        received.append(message)

    await app(scope, receive, send)
    start, *parts = received
    answered = {name.decode(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], answered, b"".join(part.get("body", b"") for part in parts))
