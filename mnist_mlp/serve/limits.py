"""What a request may cost, and how one is refused."""

from __future__ import annotations

import dataclasses

LARGEST_BATCH = 64  # images of one call of the network: beyond it a call takes longer without doing more per second
WAITING = 64  # batches that may wait for the network, and bodies for a thread, before requests are refused
PIXELS = 40_000_000  # of all pictures of a request: one of a telephone
SMALL = 65_536  # bytes of a body that is read on the event loop, in less than a millisecond
CONNECTIONS = 4_000  # at a time, where the system allows as many files
HEAD = 65_536  # bytes of a request's line and headers


@dataclasses.dataclass(frozen=True)
class Limits:
    """Those that can be chosen."""

    body: int = 8 * 2**20  # bytes of a request
    instances: int = 1000  # images of a request
    seconds: float = 20.0  # for a request to arrive, and once more for its answer to be taken


class Refused(Exception):
    """A request that is not answered: the HTTP status, and what was expected, what was received."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status
