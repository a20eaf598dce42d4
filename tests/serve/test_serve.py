"""The server as a process: its flags and lines, how it ends, clients that are slow, many, greedy or broken."""

import concurrent.futures
import contextlib
import csv
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from helpers.fork_server import run
from helpers.programs import program, refused
from helpers.serving import serving

from mnist_mlp.cli.signals import AGAIN
from mnist_mlp.config import Config
from mnist_mlp.data.batches import split_validation
from mnist_mlp.errors import UserError
from mnist_mlp.serve import command as serve

pytestmark = pytest.mark.xla(False)

for package in ("fastapi", "httptools", "orjson", "prometheus_client", "uvicorn"):
    pytest.importorskip(package, reason="the extra serve is not installed")

from mnist_mlp.serve import server as listening

PREDICT = "/v1/models/mnist:predict"
ZEROS = {"instances": [[[0] * 28] * 28]}
slow = pytest.mark.slow


@pytest.fixture(scope="module")
def server(trained):
    """The program as it is, on TensorFlow."""
    with serving(f"--run_dir={trained}") as server:
        yield server
        code, out, err = server.stop()
    assert (code, err) == (0, "") and re.fullmatch(r"terminated: [\d,]+ requests were answered\n", out)


@pytest.fixture(scope="module")
def plain(trained):
    """One without a framework."""
    with serving(f"--run_dir={trained}", stand_in=True) as server:
        yield server


@pytest.fixture(scope="module")
def hasty(trained):
    """One without a framework that gives clients a second."""
    with serving(f"--run_dir={trained}", "--timeout=1", stand_in=True) as server:
        yield server


@pytest.fixture(autouse=True)
def alive(request):
    """Whatever a test has done to a server, it answers afterwards."""
    yield
    for name in {"server", "plain", "hasty"} & set(request.fixturenames):
        assert len(request.getfixturevalue(name).post(PREDICT, ZEROS)["predictions"][0]) == 10


@pytest.mark.parametrize(
    "flags, words",
    [
        ([], "use --run_dir=DIR"),
        (["--run_dir=/nowhere"], "--run_dir=/nowhere: expected the directory of a finished run"),
        (["--port=65536"], "--port: expected a whole number from 0 to 65,535"),
        (["--port=-1"], "--port: expected a whole number"),
        (["--max_instances=0"], "--max_instances: expected a whole number from 1"),
        (["--timeout=0"], "--timeout: expected a number from 0.1"),
        (["--hots=::"], "did you mean '--host'?"),
    ],
)
def test_flags(flags, words):
    with pytest.raises(UserError) as error:
        serve.main(["--strategy=cpu", *flags])
    assert words in str(error.value)


@pytest.mark.slow
def test_an_origin_that_is_none_is_refused_before_a_port_is_bound(trained, monkeypatch):
    monkeypatch.setattr(listening, "bind", None)
    with pytest.raises(UserError, match="--origin: expected the origin of a page, .*try --origin=https://lab.example"):
        serve.main([f"--run_dir={trained}", "--strategy=cpu", "--origin", "http://a", "lab.example", "--behind_proxy"])


def test_a_wrong_flag_ends_the_program_with_one_line():
    refused(program("serve", "--hots=::"), "did you mean '--host'?")


@pytest.mark.parametrize(
    "host, words",
    [
        ("127.0.0.1", "try another --port=N"),
        ("192.0.2.1", "try an address of this machine"),
        ("no.such.name.invalid", "expected a name or an address of this machine"),
    ],
)
def test_places_that_cannot_be_had(host, words):
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UserError) as error:
        listening.bind(host, taken.getsockname()[1])
    assert words in str(error.value)


@slow
def test_a_port_that_is_taken_ends_the_program_before_a_framework_is_imported(trained):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = program("serve", f"--run_dir={trained}", "--strategy=cpu", f"--port={taken.getsockname()[1]}")
    refused(done, "try another --port=N")


@slow
def test_without_the_extra(trained):
    done = run("serve", f"--run_dir={trained}", "--strategy=cpu", backend=None, absent=["uvicorn"])
    refused(done, "packages that cannot be imported: uvicorn", "-m pip install 'mnist_mlp[serve]'")


@slow
def test_lines_and_the_end(trained):
    with serving(f"--run_dir={trained}", stand_in=True) as server:
        (line,) = server.lines
        assert line.startswith("http://127.0.0.1:") and "mlp of run" in line and "press Ctrl-C to stop" in line
        assert server.get("/healthz")
        with server.connect():
            assert b"mnist_connections 2.0" in server.get("/metrics")
        code, out, err = server.stop(signal.SIGINT)
        assert (code, out, err) == (0, "interrupted: 2 requests were answered\n", "")
    with serving(f"--run_dir={trained}", "--host=::1", stand_in=True) as server:
        assert server.url.startswith("http://[::1]:") and server.get("/healthz")
    with serving(f"--run_dir={trained}", "--host=0.0.0.0", stand_in=True, lines=2) as server:
        assert server.lines[1] == "warning: every machine that can reach this address can use the server\n"
        assert server.stop()[0] == 0


def test_examples_that_are_gone(monkeypatch, capsys):
    """The page goes without them, and says so; a directory that was named is used or refused."""

    def gone(config):
        raise UserError("expected mnist, received none")

    monkeypatch.setattr(serve.data, "load", gone)
    monkeypatch.setattr(serve.saved, "data_of_run", lambda *given: given)
    found, training = serve.find_images(None, None, None, "")
    assert training is None and found.round(0)["examples"] == [] and "--data_dir" in found.round(0)["note"]
    assert capsys.readouterr().err == "the page will have no examples: expected mnist, received none\n"
    with pytest.raises(UserError):
        serve.find_images(None, None, None, "there")


def test_the_nearest_images_are_those_that_the_run_was_trained_on(monkeypatch, digits):
    config = Config(dataset="digits", validation_fraction=0.2, seed=3)
    monkeypatch.setattr(serve.data, "load", lambda config: digits)
    monkeypatch.setattr(serve.saved, "data_of_run", lambda *given: given)
    for others in (False, True):
        monkeypatch.setattr(serve.saved, "trained_on_others", lambda *given, others=others: others)
        examples, training = serve.find_images(Path("run"), config, None, "")
        assert len(examples.round(0)["examples"]) == 10 and (training is None) == others
        if training:
            expected, _ = split_validation(digits.train, 0.2, 3)
            assert len(training) == len(expected) and (training.images == expected.images).all()


@slow
def test_the_same_probabilities_as_predict(trained, server, digits):
    done = run("predict", f"--run_dir={trained}", "--strategy=cpu", backend="tensorflow")
    rows = [row[2:] for row in csv.reader(done.stdout.splitlines()[1:])]
    for scale in (1, 255):
        images = digits.test.images if scale == 1 else digits.test.images / 255
        found = server.post(PREDICT, {"instances": images.tolist()})["predictions"]
        np.testing.assert_allclose(np.array(found, np.float32), np.array(rows, np.float32), rtol=2e-5, atol=1e-8)


@slow
def test_the_backend_of_the_run_or_another(trained, server, digits):
    """On JAX no TensorFlow is imported, and the probabilities are the same up to rounding."""
    pytest.importorskip("jax", reason="the extra jax is not installed")
    found = []
    with serving(f"--run_dir={trained}", backend="jax") as other:
        for backend, each in (("tensorflow", server), ("jax", other)):
            health = json.loads(each.get("/healthz"))
            assert health["backend"] == backend and len(health["computed_on"]) == 1
            assert health["hidden"] == [["hidden_1", 128], ["hidden_2", 64]]
            answer = each.post(PREDICT, {"instances": digits.test.images[:70].tolist()})
            found.append(np.array(answer["predictions"], np.float32))
            maps = Path(f"/proc/{each.pid}/maps").read_text()
            assert ("libtensorflow" in maps) == (backend == "tensorflow")
        assert json.loads(server.get("/healthz"))["computed_on"] == ["CPU:0"]
        assert other.stop()[0] == 0
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-6)


@slow
def test_clients_that_send_too_slowly(hasty):
    """Nothing, half a head, half a body: 408 after a second; a client that sends without end is let go."""
    body = b"x" * 100
    head = b"POST %b HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n" % PREDICT.encode()
    parts = (b"", b"GET / HT", b"POST / HTTP/1.1\r\nhost: localhost\r\n", head, head + body)

    def send(sent):
        began = time.monotonic()
        with hasty.connect() as client:
            client.sendall(sent)
            answer = read_all(client)
        return answer, time.monotonic() - began

    def trickle():  # a byte now and then
        with hasty.connect() as client, contextlib.suppress(OSError):
            client.sendall(b"G")
            for _ in range(300):
                time.sleep(0.1)
                client.sendall(b"E")
            return False
        return True

    with concurrent.futures.ThreadPoolExecutor(6) as threads:
        endless = threads.submit(trickle)
        for answer, seconds in threads.map(send, parts):
            assert answer.startswith(b"HTTP/1.1 408 ") and b'{"error":"expected a complete request within 1' in answer
            assert seconds > 0.75
        assert endless.result()


def read_all(client):
    received = b""
    while part := client.recv(65536):
        received += part
    return received


def read_one(client):
    """An answer of a connection that stays open."""
    received = b""
    while not (found := re.search(rb"(?i)content-length: (\d+)\r\n(?s:.*?)\r\n\r\n", received)) or len(
        received
    ) < found.end() + int(found[1]):
        received += client.recv(65536)
    return received


def settled(server):
    """Waits until the server has read what others have sent it before."""
    for _ in range(3):
        assert server.get("/healthz")


@slow
def test_requests_that_are_none(plain):
    assert exchange(plain, b"\x16\x03\x01\x02\x00\x01\x00\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert exchange(plain, b"GET / HTTP/9.9\r\n\r\n").startswith(b"HTTP/1.1 ")
    endless = b"GET / HTTP/1.1\r\nhost: localhost\r\n" + b"x-more: " + b"y" * 10_000_000
    assert exchange(plain, endless)[:13] in (b"HTTP/1.1 431 ", b"")
    lying = b"POST %b HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1e3\r\n\r\n" % PREDICT.encode()
    assert exchange(plain, lying).startswith(b"HTTP/1.1 400 ")
    chunk = b"POST %b HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n" % PREDICT.encode()
    assert b" 400 " in exchange(plain, chunk + b"2\r\n{}\r\n0\r\n\r\n", b"} ")[:20]
    assert b" 413 " in exchange(plain, chunk + (b"10000\r\n" + b" " * 65536 + b"\r\n") * 200)[:20]
    claims = b"POST %b HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999999\r\n\r\n" % PREDICT.encode()
    assert b" 413 " in exchange(plain, claims)[:20]


def exchange(server, sent, end=None):
    """What the server answers, as far as it is heard where the server closes while more is on its way."""
    received = b""
    with server.connect() as client, contextlib.suppress(OSError):
        client.settimeout(60)
        with contextlib.suppress(OSError):
            client.sendall(sent)
        while part := client.recv(65536):
            received += part
            if b"\r\n\r\n" in received:
                break
    return received


@pytest.mark.full
def test_a_million_instances(plain):
    """2 MB of them are read and refused, more than 8 MiB of them not even read; and memory comes back."""
    few, many = (
        (b"0,", 400, "at most 1,000 images, received 1,000,001"),
        (b"[[1]],    ", 413, "at most 8,388,608 bytes"),
    )
    for row, status, words in (few, many):
        connection = http.client.HTTPConnection("127.0.0.1", plain.port, timeout=30)
        body = b'{"instances":[' + row * 1_000_000 + b"0]}"
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request("POST", PREDICT, body)
        answer = connection.getresponse()
        assert answer.status == status and words in json.load(answer)["error"]
        connection.close()
    sizes = []
    for _ in range(3):  # the lists of one are well over 130 MB
        with pytest.raises(Exception, match="400"):
            plain.post(PREDICT, b'{"instances":[' + b"[],[],[]," * 800_000 + b"0]}")
        sizes.append(plain.resident())
    assert sizes[2] - sizes[0] < 130_000_000


@slow
def test_a_thousand_open_connections(hasty):
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(hasty.connect()) for _ in range(1000)]
        for client in clients[::2]:
            client.sendall(b"POST / HTTP/1.1\r\n")
        for _ in range(20):  # answered, or this fails, while all the others wait
            hasty.post(PREDICT, ZEROS)
        assert all(read_all(client).startswith(b"HTTP/1.1 408 ") for client in clients)


@pytest.mark.full
@slow
def test_schemathesis_finds_nothing(trained, tmp_path):
    """Its examples, coverage and fuzzing of every path; the pictures in requests come from a module beside this one."""
    program = Path(sys.executable).with_name("st")
    if not program.exists():
        pytest.skip("schemathesis is not installed")
    paths = os.pathsep.join(filter(None, (str(Path(__file__).parents[1] / "helpers"), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"SCHEMATHESIS_HOOKS": "pictures_for_schemathesis", "PYTHONPATH": paths}
    flags = ["--max-examples=30", "--generation-deterministic", "--no-color", "--request-timeout=100"]
    place = {"cwd": tmp_path, "env": environment, "timeout": 900}
    with serving(f"--run_dir={trained}", stand_in=True) as server:
        done = subprocess.run(
            [program, "run", f"{server.url}/openapi.json", *flags], capture_output=True, text=True, **place
        )
        assert len(server.post(PREDICT, ZEROS)["predictions"][0]) == 10
    assert done.returncode == 0, done.stdout[-5000:]
    assert "Tested: 12" in done.stdout


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
    broken, counted = [], []
    with serving(f"--run_dir={trained}", stand_in=True) as server:
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
                    counted.append(answered)
                    if answer.will_close:
                        return answered
                except OSError as error:
                    if not late:
                        broken.append(repr(error))
                    return answered

        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            works = [threads.submit(work) for _ in range(8)]
            wait_until(lambda: len(counted) > 50)
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.05)
            stopped.set()
            answered = sum(each.result(timeout=30) for each in works)
        code, out, err = server.stop()
    assert not broken and answered > 50
    assert (code, err) == (0, "") and out == f"terminated: {answered:,} requests were answered\n"


@slow
def test_a_request_that_lies_unread_when_the_server_stops_is_answered(trained):
    """On a connection that was idle: the server is held, the request and the signal come, then it goes on.

    Whichever it sees first, it answers; and it says that it closes if that was the signal.
    """
    body = json.dumps(ZEROS).encode()
    request = (
        b"POST %b HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % (PREDICT.encode(), len(body)) + body
    )
    for _ in range(20):
        with serving(f"--run_dir={trained}", stand_in=True) as server, server.connect() as client:
            client.sendall(request)
            assert read_one(client).startswith(b"HTTP/1.1 200 ")
            settled(server)
            server.process.send_signal(signal.SIGSTOP)
            wait_until(
                lambda pid=server.pid: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
            )
            time.sleep(0.3)  # more than a tick of its loop
            client.sendall(request)
            server.process.send_signal(signal.SIGTERM)
            server.process.send_signal(signal.SIGCONT)
            answer = read_all(client)
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert server.stop(signal.SIGCONT)[0] == 0
        if b"connection: close" in answer:
            return
    pytest.fail("it never saw the signal first")


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def lets_nobody_in(server):
    try:
        socket.create_connection(("127.0.0.1", server.port), timeout=20).close()
    except OSError:
        return True
    return False


@slow
def test_a_request_on_its_way_is_answered_and_a_second_signal_does_not_wait(trained):
    head = b"POST %b HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n"
    body = json.dumps(ZEROS).encode()
    with serving(f"--run_dir={trained}", stand_in=True) as server, server.connect() as client:
        client.sendall(head % (PREDICT.encode(), len(body)) + body[:100])
        settled(server)
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: lets_nobody_in(server))
        client.sendall(body[100:])
        answer = read_all(client)
        assert answer.startswith(b"HTTP/1.1 200 OK") and b"connection: close" in answer and b'"predictions"' in answer
        assert server.stop(signal.SIGCONT)[0] == 0
    with serving(f"--run_dir={trained}", stand_in=True) as server, server.connect() as client:
        client.sendall(head % (PREDICT.encode(), len(body)) + body[:100])
        settled(server)
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: lets_nobody_in(server))
        time.sleep(AGAIN + 0.1)  # what follows sooner is the same request
        code, _, err = server.stop()
        assert code == 143 and err == "terminated\n"
