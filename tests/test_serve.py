"""The server as a process: its flags and lines, how it ends, clients that are slow, many, greedy or broken."""

import concurrent.futures
import contextlib
import csv
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from serving import command, serving

from mnist_mlp import serve
from mnist_mlp.errors import UserError

for package in ("fastapi", "httptools", "orjson", "prometheus_client", "uvicorn"):
    pytest.importorskip(package, reason="the extra serve is not installed")

PREDICT = "/v1/models/mnist:predict"
ZEROS = {"instances": [[[0] * 28] * 28]}
slow = pytest.mark.slow
pytestmark = pytest.mark.xdist_group("serve")  # one server for most of them


@pytest.fixture(scope="module")
def server(trained):
    """One that gives clients two seconds."""
    with serving(f"--run_dir={trained}", "--timeout=2") as server:
        yield server


@pytest.fixture(autouse=True)
def alive(request):
    """Whatever a test has done to the server, it answers afterwards."""
    yield
    if "server" in request.fixturenames:
        server = request.getfixturevalue("server")
        assert len(server.post(PREDICT, ZEROS)["predictions"][0]) == 10


def ends(*flags, timeout=60, environment=None):
    """What a server says that cannot start: one line."""
    done = subprocess.run(
        command(*flags), capture_output=True, text=True, timeout=timeout, env=os.environ | (environment or {})
    )
    assert done.returncode == 2 and not done.stdout and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.mark.parametrize(
    "flags, words",
    [
        ([], "type --run_dir=DIR"),
        (["--run_dir=/nowhere"], "--run_dir=/nowhere: expected the directory of a finished run"),
        (["--port=65536"], "--port: expected a whole number from 0 to 65,535"),
        (["--port=-1"], "--port: expected a whole number"),
        (["--max_instances=0"], "--max_instances: expected a whole number from 1"),
        (["--timeout=0"], "--timeout: expected a number from 0.1"),
        (["--hots=::"], "did you mean '--host'?"),
    ],
)
def test_flags(flags, words):
    assert words in ends(*flags)


@slow
def test_places_that_cannot_be_had(trained, server):
    run = f"--run_dir={trained}"
    assert "type" not in (said := ends(run, f"--port={server.port}")) and "take another with --port=N" in said
    assert "name an address of this machine" in ends(run, "--host=192.0.2.1")
    assert "expected a name or an address of this machine" in ends(run, "--host=no.such.name.invalid")


@slow
def test_without_the_extra(trained, tmp_path):
    (tmp_path / "uvicorn.py").write_text("raise ImportError('not here')")
    said = ends(f"--run_dir={trained}", environment={"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.getcwd()}"})
    assert "uvicorn cannot be imported" in said and "-m pip install 'mnist_mlp[serve]'" in said


@slow
def test_lines_and_the_end(trained):
    with serving(f"--run_dir={trained}") as server:
        (line,) = server.lines
        assert line.startswith("http://127.0.0.1:") and "mlp of run" in line and "Ctrl-C stops it" in line
        health = json.loads(server.get("/healthz"))
        assert health["computed_on"] == ["CPU:0"] and health["hidden"] == [["hidden_1", 128], ["hidden_2", 64]]
        with server.connect():
            assert b"mnist_connections 2.0" in server.get("/metrics")
        code, out, err = server.stop(signal.SIGINT)
        assert (code, out, err) == (0, "interrupted: 2 requests were answered\n", "")
    with serving(f"--run_dir={trained}", "--host=::1") as server:
        assert server.url.startswith("http://[::1]:") and server.get("/healthz")
    with serving(f"--run_dir={trained}", "--host=0.0.0.0", lines=2) as server:
        assert server.lines[1] == "it listens beyond this machine: whoever can reach that address can use it\n"
        assert server.stop()[0] == 0


def test_examples_that_are_gone(monkeypatch, capsys):
    """The page goes without them, and says so; a directory that was named is used or refused."""

    def gone(config):
        raise UserError("expected mnist, received none")

    monkeypatch.setattr(serve.data, "load", gone)
    monkeypatch.setattr(serve.finished, "data_of_run", lambda *given: given)
    found = serve.find_examples(None, None, "")
    assert found.round(0)["examples"] == [] and "--data_dir" in found.round(0)["note"]
    assert capsys.readouterr().err == "the page has no examples: expected mnist, received none\n"
    with pytest.raises(UserError):
        serve.find_examples(None, None, "there")


@slow
def test_the_same_probabilities_as_predict(trained, server, digits):
    predict = [sys.executable, "-m", "mnist_mlp.predict", f"--run_dir={trained}", "--strategy=cpu"]
    done = subprocess.run(predict, capture_output=True, text=True, check=True, timeout=100)
    rows = [row[2:] for row in csv.reader(done.stdout.splitlines()[1:])]
    for scale in (1, 255):
        images = digits.test.images if scale == 1 else digits.test.images / 255
        found = server.post(PREDICT, {"instances": images.tolist()})["predictions"]
        np.testing.assert_allclose(np.array(found, np.float32), np.array(rows, np.float32), rtol=2e-5, atol=1e-8)


@slow
def test_the_backend_of_the_run_or_another(trained, digits):
    """On JAX no TensorFlow is imported, and the probabilities are the same up to rounding."""
    pytest.importorskip("jax", reason="the extra jax is not installed")
    found = []
    for backend in ("tensorflow", "jax"):
        with serving(f"--run_dir={trained}", f"--backend={backend}") as server:
            assert json.loads(server.get("/healthz"))["backend"] == backend
            answer = server.post(PREDICT, {"instances": digits.test.images[:70].tolist()})
            found.append(np.array(answer["predictions"], np.float32))
            maps = Path(f"/proc/{server.pid}/maps").read_text()
            assert ("libtensorflow" in maps) == (backend == "tensorflow")
            assert server.stop()[0] == 0
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-6)


@slow
def test_clients_that_send_too_slowly(server):
    """Nothing, half a head, half a body: 408 after two seconds; a client that takes no answer is let go."""
    body = b"x" * 100
    head = b"POST %b HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n" % PREDICT.encode()
    for sent in (b"", b"GET / HT", b"POST / HTTP/1.1\r\nhost: localhost\r\n", head, head + body):
        began = time.monotonic()
        with server.connect() as client:
            client.sendall(sent)
            answer = read_all(client)
        assert answer.startswith(b"HTTP/1.1 408 ") and b'{"error":"expected a whole request within 2' in answer
        assert 1.5 < time.monotonic() - began < 10
    began = time.monotonic()
    with server.connect() as client, contextlib.suppress(OSError):  # a byte now and then
        while time.monotonic() - began < 12:
            client.sendall(b"G" if time.monotonic() - began < 0.2 else b"E")
            time.sleep(0.2)
    assert time.monotonic() - began < 10


def read_all(client):
    received = b""
    while part := client.recv(65536):
        received += part
    return received


@slow
def test_requests_that_are_none(server):
    assert exchange(server, b"\x16\x03\x01\x02\x00\x01\x00\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert exchange(server, b"GET / HTTP/9.9\r\n\r\n").startswith(b"HTTP/1.1 ")
    endless = b"GET / HTTP/1.1\r\nhost: localhost\r\n" + b"x-more: " + b"y" * 10_000_000
    assert exchange(server, endless)[:13] in (b"HTTP/1.1 431 ", b"")
    lying = b"POST %b HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1e3\r\n\r\n" % PREDICT.encode()
    assert exchange(server, lying).startswith(b"HTTP/1.1 400 ")
    chunk = b"POST %b HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n" % PREDICT.encode()
    assert b" 400 " in exchange(server, chunk + b"2\r\n{}\r\n0\r\n\r\n", b"} ")[:20]
    assert b" 413 " in exchange(server, chunk + (b"10000\r\n" + b" " * 65536 + b"\r\n") * 200)[:20]
    claims = b"POST %b HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999999\r\n\r\n" % PREDICT.encode()
    assert b" 413 " in exchange(server, claims)[:20]


def exchange(server, sent, end=None):
    """What the server answers, as far as it is heard where the server closes while more is on its way."""
    received = b""
    with server.connect() as client, contextlib.suppress(OSError):
        client.settimeout(5)
        with contextlib.suppress(OSError):
            client.sendall(sent)
        while part := client.recv(65536):
            received += part
            if b"\r\n\r\n" in received:
                break
    return received


@slow
def test_a_million_instances(server):
    """2 MB of them are read and refused, more than 8 MiB of them not even read; and memory comes back."""
    few, many = (
        (b"0,", 400, "at most 1,000 images, received 1,000,001"),
        (b"[[1]],    ", 413, "at most 8,388,608 bytes"),
    )
    for row, status, words in (few, many):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        body = b'{"instances":[' + row * 1_000_000 + b"0]}"
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request("POST", PREDICT, body)
        answer = connection.getresponse()
        assert answer.status == status and words in json.load(answer)["error"]
        connection.close()
    before = server.resident()
    for _ in range(5):
        with pytest.raises(Exception, match="400"):
            server.post(PREDICT, b'{"instances":[' + b"[],[],[]," * 800_000 + b"0]}")
    assert server.resident() - before < 300_000_000


@slow
def test_a_thousand_open_connections(server):
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(1000)]
        for client in clients[::2]:
            client.sendall(b"POST / HTTP/1.1\r\n")
        began = time.monotonic()
        for _ in range(20):
            server.post(PREDICT, ZEROS)
        assert time.monotonic() - began < 15
        assert all(read_all(client).startswith(b"HTTP/1.1 408 ") for client in clients)


@slow
def test_schemathesis_finds_nothing(server, tmp_path):
    """Its examples, coverage and fuzzing of every path; the pictures in requests come from a module beside this one."""
    program = Path(sys.executable).with_name("st")
    if not program.exists():
        pytest.skip("schemathesis is not installed")
    paths = os.pathsep.join(filter(None, (str(Path(__file__).parent), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"SCHEMATHESIS_HOOKS": "pictures_for_schemathesis", "PYTHONPATH": paths}
    flags = ["--max-examples=30", "--generation-deterministic", "--no-color"]
    place = {"cwd": tmp_path, "env": environment, "timeout": 500}
    done = subprocess.run(
        [program, "run", f"{server.url}/openapi.json", *flags], capture_output=True, text=True, **place
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert "Tested: 10" in done.stdout


@slow
def test_many_at_once_are_each_answered_with_their_own(server, digits):
    images = digits.test.images[:200]
    expected = server.post(PREDICT, {"instances": images.tolist()})["predictions"]

    def ask(index):
        return server.post(PREDICT, {"instances": [images[index].tolist()]})["predictions"][0]

    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        found = list(threads.map(ask, range(200)))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)


@slow
def test_a_stop_under_load_loses_no_answer(trained):
    """Whoever has sent a whole request before the server stops gets a whole answer; nobody is let in afterwards."""
    broken = []
    with serving(f"--run_dir={trained}") as server:
        stopped = threading.Event()

        def work():
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
            body, answered = json.dumps(ZEROS), 0
            while True:
                late = stopped.is_set()
                try:
                    connection.request("POST", PREDICT, body)
                    answer = connection.getresponse()
                    if answer.status != 200 or len(json.load(answer)["predictions"]) != 1:
                        broken.append(answer.status)
                    answered += 1
                    if answer.will_close:
                        return answered
                except OSError as error:
                    if not late:
                        broken.append(repr(error))
                    return answered

        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            works = [threads.submit(work) for _ in range(8)]
            time.sleep(1.0)
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.05)
            stopped.set()
            answered = sum(each.result(timeout=30) for each in works)
        code, out, err = server.stop()
    assert not broken and answered > 20
    assert (code, err) == (0, "") and out == f"terminated: {answered:,} requests were answered\n"


@slow
def test_a_request_that_lies_unread_when_the_server_stops_is_answered(trained):
    """On a connection that was idle: the server is held, the request and the signal come, then it goes on."""
    body = json.dumps(ZEROS).encode()
    request = (
        b"POST %b HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % (PREDICT.encode(), len(body)) + body
    )
    with serving(f"--run_dir={trained}") as server, server.connect() as client:
        client.sendall(request)
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        time.sleep(0.3)
        server.process.send_signal(signal.SIGSTOP)
        time.sleep(0.3)
        client.sendall(request)
        server.process.send_signal(signal.SIGTERM)
        server.process.send_signal(signal.SIGCONT)
        answer = read_all(client)
        assert answer.startswith(b"HTTP/1.1 200 ") and b"connection: close" in answer
        assert server.stop(signal.SIGCONT)[0] == 0


@slow
def test_a_request_on_its_way_is_answered_and_a_second_signal_does_not_wait(trained):
    head = b"POST %b HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n"
    body = json.dumps(ZEROS).encode()
    with serving(f"--run_dir={trained}") as server, server.connect() as client:
        client.sendall(head % (PREDICT.encode(), len(body)) + body[:100])
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.7)
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", server.port), timeout=2).close()
        client.sendall(body[100:])
        answer = read_all(client)
        assert answer.startswith(b"HTTP/1.1 200 OK") and b"connection: close" in answer and b'"predictions"' in answer
        assert server.stop(signal.SIGCONT)[0] == 0
    with serving(f"--run_dir={trained}") as server, server.connect() as client:
        client.sendall(head % (PREDICT.encode(), len(body)) + body[:100])
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.7)
        code, _, err = server.stop(timeout=5)
        assert code == 143 and err == "terminated\n"
