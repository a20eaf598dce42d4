"""A server as a process of its own, for the tests."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request


class Server:
    """`url`, `port`, `pid`; `stop()` ends it with SIGTERM and gives the exit code and what it printed."""

    def __init__(self, process, lines):
        self.process, self.lines, self.pid = process, lines, process.pid
        self.url = lines[0].split()[0]
        self.port = int(self.url.rpartition(":")[2])

    def stop(self, signum=signal.SIGTERM, timeout=30):
        if self.process.poll() is None:
            self.process.send_signal(signum)
        out, err = self.process.communicate(timeout=timeout)
        return self.process.returncode, out, err

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=20) as answer:
            return answer.read()

    def post(self, path, document):
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url + path, body), timeout=60) as answer:
            return json.load(answer)

    def resident(self):
        """Bytes of memory."""
        with open(f"/proc/{self.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def command(*flags):
    return [sys.executable, "-m", "mnist_mlp.serve", "--strategy=cpu", *map(str, flags)]


@contextlib.contextmanager
def serving(*flags, lines=1, environment=None):
    """A server on a port of its own, from its first lines until the end of the block."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    env = os.environ | (environment or {})
    with subprocess.Popen(command("--port=0", *flags), **pipes, env=env) as process:
        try:
            first = [process.stdout.readline() for _ in range(lines)]
            if not first[0]:
                raise AssertionError(process.stderr.read())
            yield Server(process, first)
        finally:
            process.kill()
