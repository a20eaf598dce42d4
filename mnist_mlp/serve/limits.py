"""Limits on requests, and the exception that refuses one."""

from __future__ import annotations

import dataclasses

LARGEST_BATCH = 64  # images per call of the network; larger batches add latency but no throughput
WAITING = 64  # batches queued for the network, or bodies for a thread, before requests are refused
PIXELS = 40_000_000  # in all pictures of a request: enough for one phone photograph
EXPLAINED = 10  # images in a request for explanations, each of which has some 40 kB
SMALL = 65_536  # bytes of a body that may be parsed on the event loop, in less than a millisecond
CONNECTIONS = 4_000  # open at once, if the system allows as many files
HEAD = 65_536  # bytes of the request line and headers


@dataclasses.dataclass(frozen=True)
class Limits:
    """The limits that flags set."""

    body: int = 8 * 2**20  # bytes per request
    instances: int = 1000  # images per request
    seconds: float = 20.0  # for a request to arrive, and again for its response


class Refused(Exception):
    """A request is refused: `status` is the HTTP status, the message says what was expected and received."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status
