"""The workers meet before any framework starts: all are there, and all are about to do the same.

The frameworks' own start waits inside C++ for a worker that never comes, deaf to Ctrl-C, and takes workers with other
flags or data for good ones. So each worker first tells the chief, on a plain connection to the chief's address, what
it has; the chief compares and lets all go on, or none. The address is free again before the framework listens on it.
"""

from __future__ import annotations

import contextlib
import json
import math
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from mnist_mlp.errors import UserError

HEARTBEAT = 10.0  # seconds between signs of life
LAST_CALL = 2.0  # seconds for the rest to come and hear why it will not be
LONGEST = 100_000  # bytes of a message; a longer one is none of ours
GO = "go"
SAME_COMMAND = "start the same command on each with its own --worker_index, or give it a longer --patience"


def meet(workers: Sequence[str], index: int, patience: float, has: Mapping[str, str]) -> None:
    """Returns when all workers (addresses HOST:PORT, the chief's first) are there and have the same.

    `has` says what must not differ: a name for the user, and a text. Raises `UserError` in all of them where something
    differs, or where they are not complete after `patience` seconds.
    """
    patient = Patience(patience)
    hello = {"index": index, "has": {"list of workers": ",".join(workers), **has}}
    answer = hear_chief(workers[0], hello, patient) if index else as_chief(workers, hello, patient)
    if answer != GO:
        raise UserError(f"--strategy=multiworker: {answer}")


class Patience:
    """What is left of the time to wait; says from time to time for whom."""

    def __init__(self, seconds: float):
        self.seconds, self.began, self.said = seconds, time.monotonic(), time.monotonic()

    def wait_for(self, whom: str) -> float:
        """Seconds that one try may take. Raises `UserError` where the time is over."""
        now = time.monotonic()
        if now - self.began > self.seconds:
            raise UserError(
                f"--strategy=multiworker: {whom} did not come within {self.seconds:g} seconds; {SAME_COMMAND}"
            )
        if now - self.said > HEARTBEAT:
            self.said = now
            print(f"waiting for {whom} ({now - self.began:.0f} s) ...", file=sys.stderr, flush=True)
        return 0.2


def as_chief(workers: Sequence[str], hello: dict[str, Any], patience: Patience) -> str:
    """Waits for the others, compares, and gives all the answer."""
    missing = dict(enumerate(workers))
    del missing[0]
    answers: list[str] = []
    until = math.inf
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(listen(workers[0]))
        connections = []
        while missing and time.monotonic() < until:
            whom = ", ".join(f"worker {index} ({address})" for index, address in missing.items())
            server.settimeout(patience.wait_for(whom))
            try:
                connection = stack.enter_context(server.accept()[0])
                connection.settimeout(5)
                theirs = receive(connection)
                answers.append(compare(hello, theirs, missing))
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                continue  # nobody yet, or somebody else
            connections.append(connection)
            missing.pop(theirs["index"], None)
            if answers[-1] != GO:
                until = min(until, time.monotonic() + LAST_CALL)
        answer = next((answer for answer in answers if answer != GO), GO)
        for connection in connections:
            with contextlib.suppress(OSError):  # it is gone already: the framework will say so
                send(connection, answer)
    return answer


def compare(mine: dict[str, Any], theirs: dict[str, Any], missing: Mapping[int, str]) -> str:
    """GO, or why this worker cannot take part."""
    place = theirs["index"]
    for name, value in mine["has"].items():
        if theirs["has"].get(name) != value:
            return (
                f"expected the same {name} in all workers, worker {place} has another than the chief; "
                "start them with the same flags, data and versions"
            )
    return GO if place in missing else f"two processes have --worker_index={place}; {SAME_COMMAND}"


def hear_chief(address: str, hello: dict[str, Any], patience: Patience) -> str:
    """Tells the chief what this worker has; the chief's answer, once all have come."""
    whom = f"the chief, worker 0 ({address})"
    while True:
        patience.wait_for(whom)
        with contextlib.suppress(OSError), socket.create_connection(split(address), timeout=5) as connection:
            send(connection, hello)
            connection.settimeout(0.2)
            while True:
                patience.wait_for(f"the answer of {whom}")
                with contextlib.suppress(TimeoutError, ValueError):
                    return str(receive(connection))
        time.sleep(0.2)  # the chief is not there yet


def listen(address: str) -> socket.socket:
    """A socket on the chief's own address, or on all of its interfaces where that name is another machine's view."""
    host, port = split(address)
    try:
        return socket.create_server((host, port))
    except OSError as error:
        with contextlib.suppress(OSError):
            return socket.create_server(("", port))
        raise UserError(
            f"--strategy=multiworker: the chief cannot listen on {address} ({error.strerror or error}); "
            "name a free port of this machine"
        ) from None


def split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def send(connection: socket.socket, message: Any) -> None:
    connection.sendall(json.dumps(message).encode() + b"\n")


def receive(connection: socket.socket) -> Any:
    """One message. Raises ValueError for what is none, ConnectionError at the end, TimeoutError."""
    received = b""
    while not received.endswith(b"\n"):
        part = connection.recv(65536)
        received += part
        if not part or len(received) > LONGEST:
            raise ConnectionError("the other side ended")
    return json.loads(received)
