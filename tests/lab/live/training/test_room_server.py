"""The room as a server: streams outlast its time limit and end with it; many watchers, who come and go."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import pytest
from conftest import ROOT
from helpers.serving import TESTS

pytest.importorskip("fastapi", reason="the extra serve is not installed")
pytest.importorskip("orjson", reason="the extra serve is not installed")

pytestmark = [pytest.mark.slow]

STAND_IN = TESTS / "helpers" / "live_stand_in.py"
DIGITS = {"dataset": "digits", "strategy": "cpu"}


class Server:
    """A room in a process of its own."""

    def __init__(self, room, seconds, *program):
        command = [
            sys.executable,
            str(TESTS / "helpers" / "live_server.py"),
            str(room),
            str(seconds),
            *map(str, program),
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self.url = self.process.stdout.readline().strip()
        self.port = int(self.url.rpartition(":")[2])

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return json.load(answer)

    def post(self, path, document):
        with urllib.request.urlopen(
            urllib.request.Request(self.url + path, json.dumps(document).encode()), timeout=30
        ) as answer:
            return json.load(answer)

    def stream(self, path, last=""):
        """A socket on which the events of a path come."""
        found = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        back = f"Last-Event-ID: {last}\r\n" if last else ""
        found.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{back}\r\n".encode())
        return found

    def resident(self):
        """Bytes of memory."""
        with open(f"/proc/{self.process.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def serving(room, seconds=20.0, program=(STAND_IN,)):
    server = Server(room, seconds, *program)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.send_signal(signal.SIGTERM)
            try:
                server.process.wait(60)
            finally:
                server.process.kill()
        server.process.stdout.close()


def everything(stream):
    """All that comes on a socket until the other end closes it."""
    found = b""
    while chunk := stream.recv(2**16):
        found += chunk
    return found


def events_in(text):
    """The events with an id in what a stream has sent, chunked as it is: {id: event}."""
    body, found = b"", {}
    rest = text.partition(b"\r\n\r\n")[2]
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
        if size == b"0":
            break
    for each in body.split(b"\n\n"):
        if each.startswith(b"id: "):
            head, _, data = each.partition(b"\n")
            found[head[4:].decode()] = json.loads(data.removeprefix(b"data: "))
    return found


def test_a_stream_outlasts_the_time_limit_and_ends_with_the_server_at_once(tmp_path):
    with serving(tmp_path / "room", seconds=0.5) as server:
        silent = server.stream("/training/events")  # of a room without runs
        name = server.post("/training/runs", DIGITS)["run"]
        whole = everything_in_thread(server.stream(f"/training/runs/{name}/events"))
        time.sleep(1.2)
        server.post(f"/training/runs/{name}", {"do": "pause"})  # the stand-in does not know it: nothing ends
        whole.join(30)
        found = events_in(whole.found)
        assert [e["step"] for e in found.values() if e["kind"] == "step"] == list(range(1, 51))
        assert whole.found.endswith(b"event: end\ndata: {}\n\n\r\n0\r\n\r\n")
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert events_in(everything(silent)).keys()
        server.process.wait(30)
        assert time.monotonic() - began < 5
        assert server.process.stdout.read() == "ended\n"


def everything_in_thread(stream):
    """A thread that reads a socket to its end into `found`."""

    class Reader(threading.Thread):
        found = b""

        def run(self):
            with stream:
                self.found = everything(stream)

    reader = Reader(daemon=True)
    reader.start()
    return reader


def test_thirty_watchers_see_the_same(tmp_path):
    with serving(tmp_path / "room") as server:
        name = server.post("/training/runs", DIGITS)["run"]
        readers = [everything_in_thread(server.stream(f"/training/runs/{name}/events")) for _ in range(30)]
        for reader in readers:
            reader.join(60)
        seen = [events_in(reader.found) for reader in readers]
        assert all(each == seen[0] for each in seen)
        assert [e["step"] for e in seen[0].values() if e["kind"] == "step"] == list(range(1, 51))
        file = tmp_path / "room" / name / "events.jsonl"
        assert list(seen[0].values()) == [json.loads(line) for line in file.read_text().splitlines()]


def test_who_leaves_is_forgotten_at_any_moment(tmp_path):
    with serving(tmp_path / "room") as server:
        server.post("/training/runs", DIGITS)
        for _ in range(9):
            streams = [server.stream("/training/events") for _ in range(30)]
            assert all(stream.recv(15) == b"HTTP/1.1 200 OK" for stream in streams)  # not 429: there are 200 places
            time.sleep(0.05)
            for stream in streams:
                stream.close()
            time.sleep(0.05)
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(30)
        assert time.monotonic() - began < 5


@pytest.mark.full
def test_memory_stays_flat_while_watchers_come_and_go(tmp_path):
    """Minutes of it: MNIST_MLP_SOAK_SECONDS=3600 makes it an hour."""
    seconds = float(os.environ.get("MNIST_MLP_SOAK_SECONDS", "120"))
    draw = random.Random(5)
    with serving(tmp_path / "room", program=()) as server:
        options = {**DIGITS, "backend": "tensorflow", "epochs": 1_000_000, "checkpoint_every": "1000", "keep": 1}
        name = server.post("/training/runs", options)["run"]
        while server.get(f"/training/runs/{name}")["state"] != "training":
            time.sleep(0.2)
        ids = {path: "" for path in ("/training/events", f"/training/runs/{name}/events")}
        sizes, visits, end = [], 0, time.monotonic() + seconds
        while time.monotonic() < end:
            path = draw.choice(list(ids))
            streams = [
                server.stream(path, ids[path] if draw.random() < 0.7 else "") for _ in range(draw.randint(1, 30))
            ]
            until = time.monotonic() + draw.random()
            while time.monotonic() < until:
                text = streams[0].recv(2**16)
                for line in text.splitlines():
                    if line.startswith(b"id: "):
                        ids[path] = line[4:].decode() if line[4:].strip() else ids[path]
            for stream in streams:
                stream.close()
            visits += len(streams)
            sizes.append(server.resident())
        early, late = max(sizes[len(sizes) // 4 : len(sizes) // 2]), max(sizes[-len(sizes) // 4 :])
        print(f"{visits:,} visits; {early / 2**20:.0f} MB after a half, {late / 2**20:.0f} MB at the end")
        assert late < early + 20 * 2**20
        time.sleep(1)
        streams = [server.stream("/training/events") for _ in range(200)]
        assert all(stream.recv(15) == b"HTTP/1.1 200 OK" for stream in streams), "somebody who left is still counted"
        for stream in streams:
            stream.close()
        assert server.get(f"/training/runs/{name}")["state"] == "training"
