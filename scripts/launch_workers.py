#!/usr/bin/env python3
"""Starts several workers of mnist_mlp.train on this machine, to try out what goes over several machines elsewhere.

usage: python scripts/launch_workers.py N -- [flags of mnist_mlp.train]

Worker 0, the chief, writes to this terminal as it is; the lines of the others begin with their number. Ctrl-C ends
all. The exit code is the first that is not 0. When a worker has failed, the others get time to notice by themselves.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import IO

GRACE = 120.0  # seconds for the others when one has failed: TensorFlow looks after its neighbours every 30


def main(arguments: Sequence[str]) -> int:
    """The exit code."""
    if list(arguments[:1]) in (["-h"], ["--help"]):
        print((__doc__ or "").strip())
        return 0
    count, *flags = arguments or [""]
    if not count.isdecimal() or not 0 < int(count) <= 64 or (flags and flags[0] != "--"):
        return complain(f"expected N -- FLAGS, received {' '.join(arguments)!r}; type launch_workers.py 2 -- FLAGS")
    workers: list[subprocess.Popen[bytes]] = []
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, lambda received, frame: pass_on(received, workers))
    start(free_addresses(int(count)), flags[1:], workers)
    return wait_for(workers)


def complain(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


def free_addresses(count: int) -> list[str]:
    """As many addresses of this machine that nobody listens on; each is held until the last is found."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{server.getsockname()[1]}" for server in held]
    for server in held:
        server.close()
    return addresses


def start(addresses: Sequence[str], flags: Sequence[str], workers: list[subprocess.Popen[bytes]]) -> None:
    """Adds a process for each address. All but the first write through a thread that numbers their lines."""
    train = [sys.executable, "-m", "mnist_mlp.train", "--strategy=multiworker", f"--workers={','.join(addresses)}"]
    for index in range(len(addresses)):
        output = subprocess.PIPE if index else None
        worker = subprocess.Popen(
            [*train, f"--worker_index={index}", *flags],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if index else None,
            start_new_session=True,  # a Ctrl-C reaches it once, through us
        )
        if worker.stdout is not None:
            threading.Thread(target=number_lines, args=(index, worker.stdout), daemon=True).start()
        workers.append(worker)


def number_lines(index: int, lines: IO[bytes]) -> None:
    for line in lines:
        sys.stderr.write(f"worker {index}: {line.decode(errors='backslashreplace')}")
        sys.stderr.flush()


def pass_on(signum: int, workers: Sequence[subprocess.Popen[bytes]]) -> None:
    for worker in workers:
        if worker.poll() is None:
            worker.send_signal(signum)


def wait_for(workers: Sequence[subprocess.Popen[bytes]]) -> int:
    """Waits for all; the first exit code that is not 0."""
    failed, since = 0, 0.0
    running = dict(enumerate(workers))
    while running:
        time.sleep(0.1)
        for index, worker in list(running.items()):
            code = worker.poll()
            if code is None:
                continue
            del running[index]
            if code and not failed:
                failed, since = code if code > 0 else 128 - code, time.monotonic()
                print(f"worker {index} ended with {code}; waiting for the others ...", file=sys.stderr, flush=True)
        if failed and running and time.monotonic() - since > GRACE:
            print(f"workers {sorted(running)} did not end within {GRACE:.0f} s: killed", file=sys.stderr, flush=True)
            for worker in running.values():
                worker.kill()
    time.sleep(0.1)  # the last lines of the threads
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
