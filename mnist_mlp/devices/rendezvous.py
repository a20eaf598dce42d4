"""The workers meet before any framework starts: all are present, and all are about to run the same program.

The frameworks' own initialization waits inside C++ for missing workers, deaf to Ctrl-C, and accepts workers with
different flags or data. So each worker first connects to the chief's address and sends what it has; the chief compares
and lets all of them continue, or none. The address is free again before the framework listens on it.
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
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from mnist_mlp.errors import UserError

HEARTBEAT = 10.0  # seconds between lines that say who is missing
ATTEMPT = 0.2  # seconds of one attempt to connect or accept
MESSAGE = 5.0  # seconds to receive a whole message
LAST_CALL = 2.0  # seconds for the other workers to connect and receive a refusal
LONGEST = 100_000  # bytes of a worker's message; longer ones are not from a worker
ANSWER = 2**30  # bytes of the chief's message, which may include a checkpoint
HANDING_OUT = 60.0  # seconds to receive it
GO = "go"
SAME_EVERYTHING = "start all workers with the same flags, data and versions"
SAME_COMMAND = "start the same command on each, with its own --worker_index, or use a longer --start_timeout"


def meet(workers: Sequence[str], index: int, timeout: float, has: Mapping[str, str], *, hand_out: bytes = b"") -> bytes:
    """Wait until all workers (addresses HOST:PORT, the chief's first) are present; return what the chief hands out.

    `has` maps names of what must not differ to its value, as text. Raises `UserError` in all workers if something
    differs, or if not all are present after `timeout` seconds.
    """
    deadline = Deadline(timeout)
    hello = {"index": index, "has": {"list of workers": ",".join(workers), **has}}
    if index:
        listen(workers, index).close()  # the framework will be able to listen there
        answer, handed_out = hear_chief(workers, hello, deadline)
    else:
        answer, handed_out = as_chief(workers, hello, deadline, lambda present: hand_out)
    if answer != GO:
        raise UserError(f"--strategy=multiworker: {answer}")
    return handed_out


class Deadline:
    """The time to wait for the other workers; reports from time to time who is missing."""

    def __init__(self, seconds: float):
        self.seconds, self.began, self.reported = seconds, time.monotonic(), time.monotonic()

    def passed(self, whom: str, more: float = 0.0) -> str:
        """Return an error once the time, plus `more` seconds, is over, else ""."""
        now = time.monotonic()
        if now - self.began > self.seconds + more:
            return f"{whom} did not connect within {self.seconds:g} seconds; {SAME_COMMAND}"
        if now - self.reported > HEARTBEAT:
            self.reported = now
            print(f"waiting for {whom} ({now - self.began:.0f} s) ...", file=sys.stderr, flush=True)
        return ""


def introduce(chief: str, count: int, index: int, timeout: float) -> tuple[str, ...]:
    """Return the addresses of `count` workers, which all know no other one than the chief's.

    Each tells the chief a free port of its machine, and the chief sees from where. Raises `UserError` as `meet` does.
    """
    deadline, workers = Deadline(timeout), (chief, *[""] * (count - 1))
    with contextlib.ExitStack() as stack:
        port = 0
        if index:
            port = stack.enter_context(socket.create_server(("", 0))).getsockname()[1]  # held, so that no other has it
        hello = {"index": index, "has": {"chief and number of workers": f"{chief}, {count}"}, "port": port}
        if index:
            answer, handed_out = hear_chief(workers, hello, deadline)
        else:
            answer, handed_out = as_chief(workers, hello, deadline, lambda present: written(chief, present))
    if answer != GO:
        raise UserError(f"--strategy=multiworker: {answer}")
    return tuple(handed_out.decode().split(","))


def written(chief: str, present: Mapping[int, Visitor]) -> bytes:
    """Return the addresses of all workers. Those on the chief's own machine get the one that the others know it by."""
    seen = {index: ip_of(visitor.connection.getpeername()[0]) for index, visitor in present.items()}
    elsewhere = [index for index, host in seen.items() if not is_loopback(host)]
    here = ip_of(present[elsewhere[0]].connection.getsockname()[0]) if elsewhere else "127.0.0.1"
    hosts = [here, *(here if is_loopback(seen[index]) else seen[index] for index in sorted(seen))]
    ports = [split(chief)[1], *(present[index].port for index in sorted(present))]
    pairs = zip(hosts, ports, strict=True)
    return ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in pairs).encode()


def ip_of(address: str) -> str:
    """Return an address of a socket without the prefix of IPv4 in IPv6."""
    return address.removeprefix("::ffff:") if "." in address else address


class Visitor(NamedTuple):
    """A worker that is present at the chief's."""

    connection: socket.socket
    port: int  # where it will listen, if the chief does not know


def as_chief(
    workers: Sequence[str],
    hello: dict[str, Any],
    deadline: Deadline,
    hand_out: Callable[[Mapping[int, Visitor]], bytes],
) -> tuple[str, bytes]:
    """Wait for the other workers, compare them, and send all the same answer, with what is handed out; return both."""
    present: dict[int, Visitor] = {}
    answer, until = GO, math.inf
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(listen(workers, 0))
        server.settimeout(ATTEMPT)
        while True:
            for index in [index for index, visitor in present.items() if not is_there(visitor.connection)]:
                del present[index]  # it ended while waiting, and may be restarted
            if len(present) == len(workers) - 1 or time.monotonic() > until:
                break
            missing = [named(i, address) for i, address in enumerate(workers) if i and i not in present]
            if late := deadline.passed(", ".join(missing)):
                answer = late if answer == GO else answer
                break
            with contextlib.suppress(TimeoutError):
                connection = stack.enter_context(server.accept()[0])
                verdict = greet(connection, hello, present, range(1, len(workers)))
                if verdict != GO:
                    answer, until = verdict, min(until, time.monotonic() + LAST_CALL)
        handed_out = hand_out(present) if answer == GO else b""
        message = {"answer": answer, "handed_out": base64.b64encode(handed_out).decode()}
        for visitor in present.values():
            with contextlib.suppress(OSError):  # it has already ended: the framework will report that
                visitor.connection.settimeout(HANDING_OUT)
                send(visitor.connection, message)
    return answer, handed_out


def named(index: int, address: str) -> str:
    """Return a worker as messages name it."""
    return f"worker {index} ({address})" if address else f"worker {index}"


def greet(connection: socket.socket, mine: dict[str, Any], present: dict[int, Visitor], indices: range) -> str:
    """Receive a worker's message and add it to `present`; return GO, or why it cannot take part. Ignores strangers."""
    try:
        theirs = receive(connection, MESSAGE)
        index, has, port = theirs["index"], theirs["has"], int(theirs.get("port", 0))
        different = next((name for name, value in mine["has"].items() if has.get(name) != value), "")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        connection.close()
        return GO
    twice = index in present and is_there(present[index].connection)  # otherwise it was restarted
    if index in indices and not twice:
        present[index] = Visitor(connection, port)
    if different:
        answer = f"worker {index} has a different {different} from the chief; {SAME_EVERYTHING}"
    elif twice or index not in indices:
        answer = f"two processes have --worker_index={index}; {SAME_COMMAND}"
    else:
        return GO
    if index not in present or present[index].connection is not connection:
        with contextlib.suppress(OSError):
            send(connection, {"answer": answer, "handed_out": ""})
    return answer


def is_there(connection: socket.socket) -> bool:
    """Return whether the other side still waits. It sends nothing more, so only its end can be read."""
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
    """Send the chief what this worker has; return the chief's answer, once all are present, and what it hands out."""
    address, patience = workers[0], LAST_CALL + ATTEMPT * len(workers)  # the chief answers one worker after the other
    whom = f"the chief, worker 0 ({address})"
    while not (late := deadline.passed(whom)):
        with (
            contextlib.suppress(OSError, ValueError, KeyError, TypeError),
            socket.create_connection(split(address), MESSAGE) as connection,
        ):
            send(connection, hello)
            while not (late := deadline.passed(f"the answer of {whom}", more=patience)):
                if select.select([connection], [], [], ATTEMPT)[0]:
                    answer = receive(connection, HANDING_OUT, ANSWER)
                    return str(answer["answer"]), base64.b64decode(answer["handed_out"])
            return late, b""
        time.sleep(ATTEMPT)  # the chief has not started yet
    return late, b""


def listen(workers: Sequence[str], index: int) -> socket.socket:
    """Listen on this worker's port, at its own address, or on all interfaces where only others know it by that one."""
    host, port = own_host(workers, index), split(workers[index])[1]
    both = socket.has_dualstack_ipv6()
    try:
        if host:
            with contextlib.suppress(OSError):
                return socket.create_server((host, port), family=family_of(host))
        return socket.create_server(("", port), family=socket.AF_INET6 if both else socket.AF_INET, dualstack_ipv6=both)
    except OSError as error:
        raise UserError(
            f"--strategy=multiworker: cannot listen on {workers[index]} ({error.strerror or error}); "
            "use a free port of this machine"
        ) from None


def own_host(workers: Sequence[str], index: int) -> str:
    """Return the IP address of this machine at which the other workers reach the worker `index`, or "" if unknown.

    That is what its host name means, unless the name means this machine to itself alone: Debian and Ubuntu resolve a
    machine's own name to 127.0.1.1, and behind a translated address it is none of its own. Then it is the address
    that packets to another worker leave from.
    """
    mine = address_of(workers[index])
    if mine and not is_loopback(mine) and is_local(mine):
        return mine
    others = [address_of(worker) for place, worker in enumerate(workers) if place != index]
    if mine and is_loopback(mine) and all(other and is_loopback(other) for other in others):
        return mine  # all on this machine
    remote = [other for other in others if other and not is_loopback(other)]
    return sender_to(remote[0], split(workers[index])[1]) if remote else ""


def address_of(worker: str) -> str:
    """Return the first IP address of a worker's host, or "" if its name or the address is unknown."""
    if not worker:
        return ""
    try:
        return str(socket.getaddrinfo(*split(worker), type=socket.SOCK_STREAM)[0][4][0])
    except OSError:
        return ""


def is_loopback(address: str) -> bool:
    import ipaddress  # 3 ms, which one process should not wait for

    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def is_local(address: str) -> bool:
    """Return whether an interface of this machine has that address."""
    with contextlib.suppress(OSError), socket.create_server((address, 0), family=family_of(address)):
        return True
    return False


def sender_to(address: str, port: int) -> str:
    """Return the address of this machine from which packets to another one leave, or "". Sends none."""
    with contextlib.suppress(OSError), socket.socket(family_of(address), socket.SOCK_DGRAM) as probe:
        probe.connect((address, port))
        return str(probe.getsockname()[0])
    return ""


def family_of(host: str) -> socket.AddressFamily:
    """Return the address family of an IP address; IPv4 for anything else."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def send(connection: socket.socket, message: Any) -> None:
    connection.sendall(json.dumps(message).encode() + b"\n")


def receive(connection: socket.socket, seconds: float, longest: int = LONGEST) -> Any:
    """Return one message. Raises `ValueError` if it is not JSON, `ConnectionError` at the end, `TimeoutError`."""
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
