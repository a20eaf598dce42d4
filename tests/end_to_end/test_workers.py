"""Several processes: they meet, they train together, and none waits for ever for one that is gone."""

import functools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import fork_server
from helpers.workers import TRAIN, addresses, left_by, start_two, uninterrupted_run, until_epoch

from mnist_mlp.devices import launch_workers, timeout
from mnist_mlp.devices.rendezvous import meet
from mnist_mlp.errors import UserError
from mnist_mlp.runs import checkpoint

pytestmark = pytest.mark.xla(False)


def meeting(workers, has, start_timeout=5.0, indices=None):
    """What each worker's `meet` came to, "" or the error; `has` is what each has."""
    ends = [None] * len(has)

    def one(position, index):
        try:
            meet(workers, index, start_timeout, has[position])
            ends[position] = ""
        except UserError as error:
            ends[position] = str(error)

    threads = [
        threading.Thread(target=one, args=(position, index))
        for position, index in enumerate(indices or range(len(has)))
    ]
    for thread in reversed(threads):  # the chief last
        thread.start()
        time.sleep(0.1)  # two of one index try their address one after the other
    for thread in threads:
        thread.join(30)
    return ends


def test_workers_that_have_the_same_go_on():
    assert meeting(addresses(3), [{"--batch_size": "32"}] * 3) == ["", "", ""]


def test_workers_that_differ_stop_all_of_them():
    ends = meeting(addresses(3), [{"--batch_size": "32"}, {"--batch_size": "32"}, {"--batch_size": "16"}])
    assert len(set(ends)) == 1
    assert "worker 2 has a different --batch_size from the chief" in ends[0]


@pytest.mark.slow  # one of them waits for the other
def test_two_of_one_index_stop_all_of_them():
    ends = meeting(addresses(3), [{}] * 3, indices=[0, 1, 1])
    assert all("two processes have --worker_index=1" in end for end in ends)


def test_a_worker_whose_own_address_is_taken_says_so_before_it_meets():
    with socket.create_server(("", 0)) as taken:
        workers = [*addresses(1), f"127.0.0.1:{taken.getsockname()[1]}"]
        with pytest.raises(UserError, match=f"cannot listen on {workers[1]}"):
            meet(workers, 1, 5, {})


@pytest.mark.slow
@pytest.mark.parametrize("index, missing", [(0, "worker 1 (127.0.0.1:"), (1, "the chief, worker 0 (127.0.0.1:")])
def test_a_worker_does_not_wait_longer_than_its_patience(index, missing):
    began = time.monotonic()
    with pytest.raises(UserError) as caught:
        meet(addresses(2), index, 0.5, {})
    assert time.monotonic() - began < 20  # and not for ever, be the machine ever so busy
    assert missing in str(caught.value) and "did not connect within 0.5 seconds" in str(caught.value)


def test_a_stranger_at_the_chiefs_address_changes_nothing():
    workers = addresses(2)
    host, port = workers[0].split(":")
    chief = threading.Thread(target=meet, args=(workers, 0, 10, {}))
    chief.start()
    for words in (b"GET / HTTP/1.1\r\n\r\n", b"[]\n", b"\xff" * 200_000, b'{"index": "one", "has": []}\n', b""):
        for _ in range(50):
            try:
                with socket.create_connection((host, int(port)), 1) as stranger:
                    stranger.sendall(words)
                break
            except ConnectionRefusedError:
                time.sleep(0.05)
            except OSError:
                break  # it would not hear us out
    meet(workers, 1, 10, {})
    chief.join(10)
    assert not chief.is_alive()


class Stuck:
    """A worker that needs a moment to die."""

    def __init__(self):
        self.killed, self.polls = 0, 0

    def poll(self):
        self.polls += bool(self.killed)
        return -9 if self.polls > 3 else None

    def kill(self):
        self.killed += 1


def test_workers_that_do_not_exit_are_killed_once(monkeypatch, capsys):
    monkeypatch.setattr(launch_workers, "GRACE", 0.0)
    stuck = Stuck()
    assert launch_workers.wait_for([SimpleNamespace(poll=lambda: 2), stuck]) == 2
    assert stuck.killed == 1 and capsys.readouterr().err.count("killed them") == 1


@pytest.mark.slow  # they wait for each other
def test_a_stranger_that_says_little_and_slowly_does_not_hold_the_chief(monkeypatch):
    monkeypatch.setattr("mnist_mlp.devices.rendezvous.MESSAGE", 0.5)
    workers = addresses(2)
    ends = []
    chief = threading.Thread(target=lambda: ends.append(meeting_of_one(workers, 0, 1.0)))
    began = time.monotonic()
    chief.start()
    time.sleep(0.3)
    host, port = workers[0].split(":")
    with socket.create_connection((host, int(port)), 1) as stranger:
        while chief.is_alive() and time.monotonic() - began < 30:
            try:
                stranger.sendall(b"x")
            except OSError:
                break
            time.sleep(0.1)
        chief.join(10)
    assert time.monotonic() - began < 20 and "did not connect within 1 seconds" in ends[0]


def meeting_of_one(workers, index, start_timeout):
    try:
        meet(workers, index, start_timeout, {})
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.slow  # they wait for each other
def test_a_worker_that_was_started_again_is_no_second_one():
    workers = addresses(3)
    ends = {}
    threads = {
        index: threading.Thread(target=lambda i=index: ends.update({i: meeting_of_one(workers, i, 10)}))
        for index in (0, 1, 2)
    }
    threads[0].start()
    host, port = workers[0].split(":")
    hello = {"index": 1, "has": {"list of workers": ",".join(workers)}}
    time.sleep(0.3)
    with socket.create_connection((host, int(port)), 1) as first_life:
        first_life.sendall(json.dumps(hello).encode() + b"\n")
        time.sleep(0.5)
    for index in (1, 2):
        threads[index].start()
    for thread in threads.values():
        thread.join(15)
    assert ends == {0: "", 1: "", 2: ""}


@pytest.mark.slow  # they wait for each other
def test_all_that_came_hear_whom_the_chief_missed():
    ends = meeting(addresses(3), [{}, {}], start_timeout=1.0, indices=[0, 1])
    assert len(set(ends)) == 1 and "worker 2 (127.0.0.1:" in ends[0] and "within 1 seconds" in ends[0]


def test_workers_meet_over_ipv6():
    try:
        held = [socket.create_server(("::1", 0), family=socket.AF_INET6) for _ in range(2)]
    except OSError:
        pytest.skip("this machine has no IPv6")
    workers = [f"[::1]:{server.getsockname()[1]}" for server in held]
    for server in held:
        server.close()
    assert meeting(workers, [{}, {}]) == ["", ""]


def test_the_chief_says_that_its_address_is_taken():
    with socket.create_server(("", 0)) as taken, pytest.raises(UserError, match="cannot listen on"):
        meet([f"127.0.0.1:{taken.getsockname()[1]}", "127.0.0.1:1"], 0, 5, {})


def test_within_gives_the_value_or_the_error_of_the_call():
    assert timeout.within(5, "it", "wait", lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        timeout.within(5, "it", "wait", lambda: 1 / 0)


def test_within_does_not_wait_for_ever():
    with pytest.raises(UserError, match="no answer from a TPU within 0.2 seconds; reboot"):
        timeout.within(0.2, "a TPU", "reboot", lambda: time.sleep(3))


@pytest.mark.slow
def test_a_call_that_lets_no_python_run_is_ended_all_the_same():
    """TensorFlow waits for its workers with Python's global lock in its hands; so does this call to C."""
    code = """
import ctypes
from mnist_mlp.devices import timeout
timeout.GRACE = 0.3
timeout.within(0.3, "a TPU", "reboot", lambda: ctypes.PyDLL(None).sleep(30))
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=25)
    assert found.returncode == -signal.SIGKILL
    assert found.stderr.strip() == "error: no answer from a TPU within 0.3 seconds; reboot"


def test_the_launcher_explains_itself(capsys):
    main = launch_workers.main
    assert main(["--help"]) == 0 and "usage: python -m mnist_mlp.devices.launch_workers N --" in capsys.readouterr().out
    for wrong in ([], ["two"], ["0"], ["2", "--epochs", "1"]):
        assert main(wrong) == 2 and "expected N -- FLAGS, received" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("backend, asked", [("tensorflow", 1), pytest.param("jax", 0, marks=pytest.mark.full)])
def test_workers_stop_together_when_one_is_asked_to(backend, asked, tmp_path):
    """Between workers both frameworks catch SIGTERM themselves."""
    processes = until_epoch(start_two(backend, tmp_path / "run", 100_000), 1)
    processes[asked].terminate()
    said = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [75, 75], said
    step = checkpoint.newest(tmp_path / "run")[0].total_steps
    for index, words in enumerate(said):
        assert f"{'terminated' if index == asked else 'stopped'} after step {step:,} of 600,000" in words
    (stopped,) = [line for line in said[0].splitlines() if f" after step {step:,} of" in line]
    assert stopped.endswith("resume with: the same command and --resume on each worker")


LATE = """
import sys, time
from mnist_mlp.report import run_page
if "--worker_index=1" in sys.argv:
    run_page.write = lambda session: time.sleep(1.5)  # in place of its last work, of which nobody reads the result
"""


@pytest.mark.slow
def test_the_chief_does_not_leave_before_a_worker_that_is_late(tmp_path):
    """JAX would abort the worker: its chief holds the connection."""
    processes = start_two("jax", tmp_path / "run", epochs=1, before=LATE)
    ends = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ends
    assert "coordination" not in ends[1][1]


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory):
    return functools.partial(uninterrupted_run, tmp_path_factory)


@pytest.mark.slow
def test_two_workers_train_and_the_chief_reports(uninterrupted, trained, tmp_path):
    """That their steps are those of one device test_replicas shows; here, what is told of them is so too."""
    run_dir = uninterrupted("jax")
    result = json.loads((run_dir.parent / "stdout").read_text())  # one worker alone has printed
    assert (result["device"]["replicas"], result["device"]["workers"]) == (2, 2)
    flags = [*TRAIN, "--epochs=2", "--backend=jax", "--strategy=cpu", f"--run_dir={tmp_path / 'alone'}", "--json"]
    expected = json.loads(fork_server.run("train", *flags, backend="jax").stdout)
    for row, other in zip(result["epochs"], expected["epochs"], strict=False):
        assert row["loss"] == pytest.approx(other["loss"], rel=1e-3)  # 12 steps hardly come apart
    assert np.sum(result["test"]["confusion"]) == np.sum(expected["test"]["confusion"]) == 360
    assert sorted(os.listdir(run_dir)) == sorted(os.listdir(tmp_path / "alone"))


# Either worker on either backend; a quick run looks at one.
@pytest.mark.slow
@pytest.mark.parametrize(
    "backend, victim",
    [
        ("tensorflow", 1),
        pytest.param("jax", 0, marks=pytest.mark.full),
        pytest.param("tensorflow", 0, marks=pytest.mark.full),
        pytest.param("jax", 1, marks=pytest.mark.full),
    ],
)
def test_a_worker_that_dies_ends_the_other_and_both_go_on_to_the_same_bits(backend, victim, tmp_path, uninterrupted):
    processes = until_epoch(start_two(backend, tmp_path / "run"), 3)
    processes[victim].kill()
    _, words = processes[1 - victim].communicate(timeout=300)
    if processes[1 - victim].returncode == -signal.SIGABRT:  # JAX itself was faster than its error reached us
        assert (backend, victim) == ("jax", 0) and "This most likely indicates that another task died" in words
    else:
        assert processes[1 - victim].returncode == 2, words
        assert "error: --strategy=multiworker: lost the connection to another worker" in words
    assert "Traceback" not in words
    if victim == 1:
        (error,) = [line for line in words.splitlines() if line.startswith("error: ")]  # TensorFlow may log after it
        assert error.endswith("resume with: the same command and --resume on each worker")
    processes = start_two(backend, tmp_path / "run")
    ends = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ends
    assert "resumed  at " in ends[0][0], ends
    *found, resumed = left_by(tmp_path / "run")
    *expected, never = left_by(uninterrupted(backend))
    assert found == expected and (resumed, never) == (1, 0)


def test_the_chief_hands_out_what_it_has():
    workers, handed = addresses(2), {}
    has = {"--batch_size": "32"}
    packed = os.urandom(3_000_000)
    threads = [
        threading.Thread(target=lambda i=i: handed.update({i: meet(workers, i, 10, has, hand_out=packed * (not i))}))
        for i in (0, 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert handed == {0: packed, 1: packed}
