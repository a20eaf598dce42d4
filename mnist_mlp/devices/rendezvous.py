"""The rendezvous of the workers, before any framework starts: all are there, and all are about to do the same.

The frameworks' own start waits inside C++ for a worker that never comes, deaf to Ctrl-C, and accepts workers that have
other flags or data. So each worker first tells the chief, on a plain connection to the chief's address, what it has;
the chief compares and lets all go on, or none. The address is free again before the framework listens on it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import math
import select
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from mnist_mlp.errors import UserError

HEARTBEAT = 10.0  # seconds between signs of life
ATTEMPT = 0.2  # seconds of one look for the others
MESSAGE = 5.0  # seconds that a message may take to come, all of it
LAST_CALL = 2.0  # seconds for the rest to come and hear why it will not be
LONGEST = 100_000  # bytes of a worker's message; a longer one is none of ours
ANSWER = 2**30  # bytes of the chief's, which may carry what it hands out
HANDING_OUT = 60.0  # seconds that it may take
GO = "go"
SAME_COMMAND = "start the same command on each with its own --worker_index, or give it a longer --start_timeout"


def meet(workers: Sequence[str], index: int, timeout: float, has: Mapping[str, str], *, hand_out: bytes = b"") -> bytes:
    """Returns when all workers (addresses HOST:PORT, the chief's first) are there and have the same.

    `has` says what must not differ: a name for the user, and a text. All get the bytes that the chief hands out. Raises
    `UserError` in all of them where something differs, or where they are not complete after `timeout` seconds.
    """
    deadline = Deadline(timeout)
    hello = {"index": index, "has": {"list of workers": ",".join(workers), **has}}
    if index:
        listen(workers[index]).close()  # where the framework will listen, it can
    if index:
        answer, handed_out = hear_chief(workers, hello, deadline)
    else:
        answer, handed_out = as_chief(workers, hello, deadline, hand_out), hand_out
    if answer != GO:
        raise UserError(f"--strategy=multiworker: {answer}")
    return handed_out


class Deadline:
    """The time to wait for the others; says from time to time for whom."""

    def __init__(self, seconds: float):
        self.seconds, self.began, self.said = seconds, time.monotonic(), time.monotonic()

    def passed(self, whom: str, more: float = 0.0) -> str:
        """What to say where the time, and some seconds more, is over, else ""."""
        now = time.monotonic()
        if now - self.began > self.seconds + more:
            return f"{whom} did not come within {self.seconds:g} seconds; {SAME_COMMAND}"
        if now - self.said > HEARTBEAT:
            self.said = now
            print(f"waiting for {whom} ({now - self.began:.0f} s) ...", file=sys.stderr, flush=True)
        return ""


def as_chief(workers: Sequence[str], hello: dict[str, Any], deadline: Deadline, hand_out: bytes) -> str:
    """Waits for the others, compares, and gives all the same answer, with what there is to hand out."""
    came: dict[int, socket.socket] = {}
    answer, until = GO, math.inf
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(listen(workers[0]))
        server.settimeout(ATTEMPT)
        while True:
            for index in [index for index, connection in came.items() if not is_there(connection)]:
                del came[index]  # it ended while it waited, and may be started again
            if len(came) == len(workers) - 1 or time.monotonic() > until:
                break
            missing = [f"worker {i} ({a})" for i, a in enumerate(workers) if i and i not in came]
            if late := deadline.passed(", ".join(missing)):
                answer = late if answer == GO else answer
                break
            with contextlib.suppress(TimeoutError):
                connection = stack.enter_context(server.accept()[0])
                verdict = greet(connection, hello, came, range(1, len(workers)))
                if verdict != GO:
                    answer, until = verdict, min(until, time.monotonic() + LAST_CALL)
        handed_out = base64.b64encode(hand_out).decode() if answer == GO else ""
        for connection in came.values():
            with contextlib.suppress(OSError):  # it is gone already: the framework will say so
                connection.settimeout(HANDING_OUT)
                send(connection, {"answer": answer, "handed_out": handed_out})
    return answer


def greet(connection: socket.socket, mine: dict[str, Any], came: dict[int, socket.socket], places: range) -> str:
    """Hears who comes and adds it to `came`; GO, or why it cannot take part. Strangers are sent away."""
    try:
        theirs = receive(connection, MESSAGE)
        place, has = theirs["index"], theirs["has"]
        different = next((name for name, value in mine["has"].items() if has.get(name) != value), "")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        connection.close()
        return GO
    twice = place in came and is_there(came[place])  # else it has been started again
    if place in places and not twice:
        came[place] = connection
    if different:
        answer = (
            f"expected the same {different} in all workers, worker {place} has another than the chief; "
            "start them with the same flags, data and versions"
        )
    elif twice or place not in places:
        answer = f"two processes have --worker_index={place}; {SAME_COMMAND}"
    else:
        return GO
    if came.get(place) is not connection:
        with contextlib.suppress(OSError):
            send(connection, {"answer": answer, "handed_out": ""})
    return answer


def is_there(connection: socket.socket) -> bool:
    """Whether the other side still waits: it says nothing more, so all that can be read is its end."""
    connection.setblocking(False)
    try:
        return bool(connection.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        connection.setblocking(True)


def hear_chief(workers: Sequence[str], hello: dict[str, Any], deadline: Deadline) -> tuple[str, bytes]:
    """Tells the chief what this worker has; the chief's answer, once all have come, and what it hands out."""
    address, patience = workers[0], LAST_CALL + ATTEMPT * len(workers)  # it answers one after the other
    whom = f"the chief, worker 0 ({address})"
    while not (late := deadline.passed(whom)):
        with (
            contextlib.suppress(OSError, ValueError, KeyError, TypeError),
            socket.create_connection(split(address), MESSAGE) as connection,
        ):
            send(connection, hello)
            while not (late := deadline.passed(f"the answer of {whom}", more=patience)):
                if select.select([connection], [], [], ATTEMPT)[0]:
                    heard = receive(connection, HANDING_OUT, ANSWER)
                    return str(heard["answer"]), base64.b64decode(heard["handed_out"])
            return late, b""
        time.sleep(ATTEMPT)  # the chief is not there yet
    return late, b""


def listen(address: str) -> socket.socket:
    """A socket on an address of this machine, or on all of its interfaces where that name is another machine's view."""
    host, port = split(address)
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    except OSError:
        family = socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        with contextlib.suppress(OSError):
            return socket.create_server(("", port), family=family)
        raise UserError(
            f"--strategy=multiworker: cannot listen on {address} ({error.strerror or error}); "
            "name a free port of this machine"
        ) from None


def split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def send(connection: socket.socket, message: Any) -> None:
    connection.sendall(json.dumps(message).encode() + b"\n")


def receive(connection: socket.socket, seconds: float, longest: int = LONGEST) -> Any:
    """One message. Raises ValueError for what is none, ConnectionError at the end, TimeoutError."""
    until = time.monotonic() + seconds
    received = bytearray()
    while not received.endswith(b"\n"):
        connection.settimeout(max(0.01, until - time.monotonic()))
        part = connection.recv(65536)
        received += part
        if not part or len(received) > longest:
            raise ConnectionError("the other side ended")
        if time.monotonic() > until:
            raise TimeoutError
    return json.loads(received)
