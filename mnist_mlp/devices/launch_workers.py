"""Start several workers of mnist_mlp.train on this machine, to try what runs on several machines elsewhere.

usage: python -m mnist_mlp.devices.launch_workers N -- [flags of mnist_mlp.train]

Worker 0, the chief, prints to this terminal directly; each line of another worker begins with its index. Ctrl-C stops
all of them. The exit code is the first one that is not 0. When a worker fails, the others get time to notice.
"""

from __future__ import annotations

import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import IO

from mnist_mlp.cli.child_process import with_this_package
from mnist_mlp.cli.flags import called_as

NAME = "devices.launch_workers"
GRACE = 120.0  # seconds for the others after one has failed: TensorFlow checks its peers every 30


def main(arguments: Sequence[str]) -> int:
    """Return the exit code."""
    if list(arguments[:1]) in (["-h"], ["--help"]):
        usage = f"usage: {called_as(NAME)} N"
        print((__doc__ or "").strip().replace(f"usage: python -m mnist_mlp.{NAME} N", usage))
        return 0
    count, *flags = arguments or [""]
    if not count.isdecimal() or not 0 < int(count) <= 64 or (flags and flags[0] != "--"):
        return fail(f"expected N -- FLAGS, received {' '.join(arguments)!r}; try 2 -- --preset=smoke")
    workers: list[subprocess.Popen[bytes]] = []
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, lambda received, frame: pass_on(received, workers))
    start(free_addresses(int(count)), flags[1:], workers)
    return wait_for(workers)


def fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


def free_addresses(count: int) -> list[str]:
    """Return that many unused addresses of this machine. All stay bound until the last is found, so none repeats."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{server.getsockname()[1]}" for server in held]
    for server in held:
        server.close()
    return addresses


def start(addresses: Sequence[str], flags: Sequence[str], workers: list[subprocess.Popen[bytes]]) -> None:
    """Start one process for each address and append it to `workers`; threads number the lines of all but the first."""
    train = [sys.executable, "-m", "mnist_mlp.train", "--strategy=multiworker", f"--workers={','.join(addresses)}"]
    for index in range(len(addresses)):
        output = subprocess.PIPE if index else None
        worker = subprocess.Popen(
            [*train, f"--worker_index={index}", *flags],
            env=with_this_package(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if index else None,
            start_new_session=True,  # Ctrl-C reaches it once, through this process
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
    """Wait for all workers; return the first exit code that is not 0."""
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
                print(f"worker {index} exited with {code}; waiting for the others ...", file=sys.stderr, flush=True)
        if failed and running and time.monotonic() - since > GRACE:
            print(f"workers {sorted(running)} did not exit in {GRACE:.0f} s; killed them", file=sys.stderr, flush=True)
            for worker in running.values():
                worker.kill()
            since = math.inf  # once
    time.sleep(0.1)  # for the last lines of the threads
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
