"""Who trains together, how they meet, and who holds a directory: in this process, on sockets of this machine."""

import base64
import errno
import json
import os
import socket
import threading
from types import SimpleNamespace

import pytest

from mnist_mlp.devices import cluster as workers
from mnist_mlp.devices import rendezvous
from mnist_mlp.devices.cluster import Cluster, as_tf_config, cluster
from mnist_mlp.errors import UserError
from mnist_mlp.files import lock

TWO = "a:1,b:2"

# The addresses


def tf_config(jobs, kind="worker", index=0) -> str:
    return json.dumps({"cluster": jobs, "task": {"type": kind, "index": index}})


def test_flags_name_the_workers_and_the_place():
    assert cluster(" a:1 , b:65535", 1, "") == Cluster(("a:1", "b:65535"), 1)
    assert cluster("[::1]:5", 0, "").workers == ("[::1]:5",)
    assert cluster(TWO, 0, "ignored").index == 0
    told = json.loads(as_tf_config(("a:1", "b:2"), 1))
    assert told == {"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 1}}


def test_the_chief_comes_before_the_workers_of_tf_config():
    jobs = {"chief": ["c:3"], "worker": ["a:1", "b:2"]}
    assert cluster("", None, tf_config(jobs, "worker", 1)) == Cluster(("c:3", "a:1", "b:2"), 2, "TF_CONFIG")
    assert cluster("", None, tf_config(jobs, "chief", 0)).index == 0
    assert cluster("", None, tf_config({"worker": ["a:1", "b:2"]}, "worker", 1)) == Cluster(
        ("a:1", "b:2"), 1, "TF_CONFIG"
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((TWO, None, ""), "--workers needs the index of this process"),
        (("", 0, ""), "--worker_index needs the addresses of all workers"),
        (
            ("", None, ""),
            "--strategy=multiworker: found no Slurm, Open MPI, TPU slice, TF_CONFIG or variables of JAX; use",
        ),
        ((TWO, 2, ""), "--workers: expected a worker index from 0 to 1, received 2"),
        ((TWO, -1, ""), "--workers: expected a worker index from 0 to 1, received -1"),
        (("a:1,a:1", 0, ""), "--workers: expected a different address for each worker, received a:1 twice"),
        (("a:0", 0, ""), "--workers: expected addresses as HOST:PORT, received 'a:0'"),
        (("a:65536", 0, ""), "--workers: expected addresses as HOST:PORT, received 'a:65536'"),
        (("a", 0, ""), "--workers: expected addresses as HOST:PORT, received 'a'"),
        ((":5", 0, ""), "--workers: expected addresses as HOST:PORT, received ':5'"),
        (("a..b:5", 0, ""), "--workers: expected addresses as HOST:PORT, received 'a..b:5'"),
        (("x" * 64 + ":5", 0, ""), "--workers: expected addresses as HOST:PORT"),
        (("a:1,", 0, ""), "--workers: expected addresses as HOST:PORT, received ''"),
        (("", None, "{"), "TF_CONFIG: expected {"),
        (("", None, "[]"), "TF_CONFIG: expected {"),
        (("", None, tf_config({"worker": ["a:1"]}, "worker", 1)), "TF_CONFIG: expected {"),
        (("", None, tf_config({"worker": ["a:1"]}, "worker", -1)), "TF_CONFIG: expected {"),
        (("", None, tf_config({"worker": ["a:1"]}, "chief", 0)), "TF_CONFIG: expected {"),
        (("", None, tf_config({"worker": ["a:1"], "ps": ["b:2"]})), "TF_CONFIG: expected {"),
        (("", None, tf_config({"worker": ["a:1"]}, "evaluator", 0)), "TF_CONFIG: expected {"),
        (("", None, tf_config({"worker": ["a"]})), "TF_CONFIG: expected addresses as HOST:PORT, received 'a'"),
    ],
)
def test_what_is_no_cluster_is_refused(given, words):
    with pytest.raises(UserError) as error:
        cluster(*given)
    assert str(error.value).startswith(words)


def test_why_a_tf_config_is_refused():
    for jobs, kind, index, why in (
        ({"worker": ["a:1"]}, "worker", 1, "the cluster has no worker 1"),
        ({"worker": ["a:1"], "ps": ["b:2"]}, "worker", 0, "only the jobs chief and worker are supported"),
    ):
        with pytest.raises(UserError) as error:
            cluster("", None, tf_config(jobs, kind, index))
        assert str(error.value).endswith(f"({why})")
    assert workers.checked(("x" * 63 + ":5",), 0, "").index == 0


# The rendezvous


@pytest.fixture
def pair():
    one, other = socket.socketpair()
    yield one, other
    one.close()
    other.close()


@pytest.fixture
def quick(monkeypatch):
    """Short looks for each other."""
    monkeypatch.setattr(rendezvous, "ATTEMPT", 0.01)
    monkeypatch.setattr(rendezvous, "LAST_CALL", 0.05)


@pytest.fixture
def clock(monkeypatch):
    """The time that the module sees, which a test sets."""
    now = SimpleNamespace(seconds=1000.0, monotonic=lambda: now.seconds, sleep=lambda seconds: None)
    monkeypatch.setattr(rendezvous, "time", now)
    return now


def test_the_time_is_over_after_it_and_signs_of_life_come_between(clock, capsys):
    deadline = rendezvous.Deadline(25)
    clock.seconds += 10
    assert deadline.passed("worker 1") == "" and not capsys.readouterr().err
    clock.seconds += 0.5
    assert deadline.passed("worker 1") == "" and capsys.readouterr().err == "waiting for worker 1 (10 s) ...\n"
    clock.seconds += 10
    assert deadline.passed("worker 1") == "" and not capsys.readouterr().err  # 10 s since the last sign
    clock.seconds += 4.5
    assert deadline.passed("worker 1") == ""  # 25 s
    clock.seconds += 0.5
    assert deadline.passed("worker 1", more=0.5) == ""
    assert deadline.passed("worker 1") == f"worker 1 did not connect within 25 seconds; {rendezvous.SAME_COMMAND}"


def test_addresses_are_split_at_the_last_colon():
    assert rendezvous.split("host:80") == ("host", 80) and rendezvous.split("[fe80::1]:5") == ("fe80::1", 5)


def test_messages_arrive_whole_or_not_at_all(pair):
    one, other = pair
    rendezvous.send(one, {"a": ["é", 1]})
    assert rendezvous.receive(other, 5) == {"a": ["é", 1]}
    one.sendall(b'"' + b"x" * 50)
    with pytest.raises(TimeoutError):
        rendezvous.receive(other, 0.02)
    one.sendall(b"y" * 12 + b"\n")
    with pytest.raises(ConnectionError):
        rendezvous.receive(other, 5, longest=12)  # 13 bytes
    one.sendall(b'"' + b"y" * 9 + b'"\n')
    assert rendezvous.receive(other, 5, longest=12) == "y" * 9
    one.sendall(b"no json\n")
    with pytest.raises(ValueError):
        rendezvous.receive(other, 5)
    one.close()
    with pytest.raises(ConnectionError):
        rendezvous.receive(other, 5)


def test_who_has_hung_up_is_not_there(pair):
    one, other = pair
    assert rendezvous.is_there(one) and one.gettimeout() is None
    other.close()
    assert not rendezvous.is_there(one)


MINE = {"index": 0, "has": {"seed": "1", "model": "mlp"}}
PLACES = range(1, 3)


def greeted(pair, index, has, came):
    """What the chief thinks of a worker, and what it tells it at once, if it does."""
    theirs, chiefs = pair
    rendezvous.send(theirs, {"index": index, "has": has})
    verdict = rendezvous.greet(chiefs, MINE, came, PLACES)
    theirs.setblocking(False)
    try:
        told = theirs.recv(65536)
    except BlockingIOError:
        told = b""
    return verdict, json.loads(told) if told else None


@pytest.mark.parametrize("place", [1, 2])
def test_a_worker_with_the_same_takes_its_place(pair, place):
    came = {}
    assert greeted(pair, place, MINE["has"], came) == (rendezvous.GO, None) and came == {place: (pair[1], 0)}


def test_a_worker_with_something_else_hears_it_with_all_others(pair):
    came = {}
    verdict, told = greeted(pair, 1, {"seed": "1", "model": "cnn"}, came)
    assert verdict.startswith("worker 1 has a different model from the chief; ")
    assert told is None and came == {1: (pair[1], 0)}


@pytest.mark.parametrize("place", [0, 3, -1])
def test_a_place_that_there_is_not_is_answered_at_once(pair, place):
    came = {}
    verdict, told = greeted(pair, place, MINE["has"], came)
    assert verdict == f"two processes have --worker_index={place}; {rendezvous.SAME_COMMAND}"
    assert told == {"answer": verdict, "handed_out": ""} and not came


def test_a_place_is_given_twice_only_where_the_first_has_gone(pair):
    first, far = socket.socketpair()
    with first, far:
        came = {1: rendezvous.Visitor(first, 0)}
        verdict, told = greeted(pair, 1, MINE["has"], came)
        assert verdict.startswith("two processes have --worker_index=1;") and told["answer"] == verdict
        assert came == {1: (first, 0)}
        far.close()
        assert greeted(pair, 1, MINE["has"], came)[0] == rendezvous.GO and came == {1: (pair[1], 0)}


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\n", b"[]\n", b'{"index": 1}\n', b'{"index": 1, "has": 3}\n'])
def test_strangers_are_sent_away(pair, said):
    theirs, chiefs = pair
    theirs.sendall(said)
    came = {}
    assert rendezvous.greet(chiefs, MINE, came, PLACES) == rendezvous.GO and not came
    assert theirs.recv(10) == b""


def free() -> str:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return f"127.0.0.1:{found.getsockname()[1]}"


def met(places, has=None, timeout=20.0):
    """What `meet` gives or says to each of some workers, all at the same time; the chief hands out some bytes."""
    addresses = [free() for _ in range(max(places) + 1)]
    found = {}

    def go(index):
        try:
            what = (has or {}).get(index, {"seed": "1"})
            found[index] = rendezvous.meet(
                addresses, index, timeout, what, hand_out=b"bytes \xff" if not index else b""
            )
        except UserError as error:
            found[index] = str(error)

    threads = [threading.Thread(target=go, args=(index,)) for index in places]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found, addresses


def test_all_get_what_the_chief_hands_out(quick):
    assert met([0, 1, 2])[0] == dict.fromkeys(range(3), b"bytes \xff")


def test_all_hear_what_differs(quick):
    found, _ = met([0, 1, 2], has={2: {"seed": "2"}})
    words = "--strategy=multiworker: worker 2 has a different seed from the chief; "
    assert len(found) == 3 and all(said.startswith(words) for said in found.values())


def test_who_is_missing_is_named(quick):
    found, addresses = met([0, 1, 3], timeout=0.3)
    words = f"--strategy=multiworker: worker 2 ({addresses[2]}) did not connect within 0.3 seconds; "
    assert len(found) == 3 and all(said.startswith(words) for said in found.values())


def test_a_worker_without_a_chief_says_so(quick):
    found, addresses = met([1], timeout=0.05)
    assert found[1].startswith(
        f"--strategy=multiworker: the chief, worker 0 ({addresses[0]}) did not connect within 0.05 seconds; "
    )


def test_a_port_that_is_taken_is_told():
    with socket.create_server(("", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UserError, match=f"cannot listen on {address} .*use a free port of this machine"):
            rendezvous.listen([address], 0)


def test_what_is_handed_out_travels_as_text():
    assert rendezvous.ANSWER > rendezvous.LONGEST and base64.b64decode(base64.b64encode(b"\x00\xff")) == b"\x00\xff"
    assert rendezvous.MESSAGE < rendezvous.HANDING_OUT


# The lock of a directory


def test_a_directory_is_held_by_name_and_let_go(tmp_path):
    file = tmp_path / lock.NAME
    with lock.held(tmp_path) as check:
        assert file.read_text() == f"{os.getpid()} on {socket.gethostname()}\n"
        check()
        with pytest.raises(UserError) as error, lock.held(tmp_path, "study"):
            pass
        assert str(error.value).startswith(f"--study_dir={tmp_path}: this study is locked by process {os.getpid()} on ")
        assert file.exists()
    assert not file.exists()
    file.write_text("what an owner left that was killed and had a long name\n")
    with lock.held(tmp_path):
        assert file.read_text() == f"{lock.ourselves()}\n"


def test_a_directory_that_was_moved_is_noticed_and_the_other_ones_lock_stays(tmp_path):
    place = tmp_path / "run"
    place.mkdir()
    with lock.held(place) as check:
        place.rename(tmp_path / "elsewhere")
        with pytest.raises(UserError, match="--run_dir=.*was moved or replaced"):
            check()
        place.mkdir()
        (place / lock.NAME).write_text("somebody else's")
        with pytest.raises(UserError, match="this directory was moved or replaced while the run was writing to it"):
            check()
    assert (place / lock.NAME).read_text() == "somebody else's"


def test_an_owner_without_a_name_is_another_process(tmp_path):
    (tmp_path / lock.NAME).write_bytes(b"\x1b[31m")
    descriptor = lock.acquire(tmp_path / lock.NAME, "run")
    with pytest.raises(UserError, match="locked by another process; wait"):
        lock.acquire(tmp_path / lock.NAME, "run")
    os.close(descriptor)


@pytest.mark.parametrize("number", lock.NO_LOCKS)
def test_without_locks_the_owner_that_lives_is_told_by_its_number(tmp_path, monkeypatch, number):
    file = tmp_path / lock.NAME

    def flock(*_):
        raise OSError(number, "no locks")

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    os.close(lock.acquire(file, "run"))  # there is no owner
    file.write_text("1 on another-machine\n")
    with pytest.raises(UserError, match="locked by process 1 on another-machine; wait"):
        lock.acquire(file, "run")


def test_an_error_of_the_disk_is_none_of_a_lock(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    with pytest.raises(OSError, match="broken"):
        lock.acquire(tmp_path / lock.NAME, "run")


@pytest.mark.parametrize(("error", "lives"), [(None, True), (ProcessLookupError, False), (PermissionError, True)])
def test_an_owner_lives_if_the_kernel_knows_it(monkeypatch, error, lives):
    asked = []

    def kill(process, signal):
        asked.append((process, signal))
        if error:
            raise error

    monkeypatch.setattr(lock.os, "kill", kill)
    assert lock.lives(f"999999999 on {socket.gethostname()}") is lives
    assert asked == [(999_999_999, 0)]
    assert not lock.lives(lock.ourselves()) and not lock.lives("") and not lock.lives("x on y")
    assert lock.lives("5 on elsewhere") and len(asked) == 1


def test_an_unknown_address_is_not_guessed(monkeypatch):
    """The chief's own name is known before those of the others, as where containers start one after the other."""
    known = {"chief": "127.0.1.1", "alone": "127.0.0.1"}
    monkeypatch.setattr(rendezvous, "address_of", lambda worker: known.get(rendezvous.split(worker)[0], ""))
    assert rendezvous.own_host(["chief:1", "later:1"], 0) == ""
    assert rendezvous.own_host(["alone:1", "alone:2"], 0) == "127.0.0.1"
    with rendezvous.listen(["chief:0", "later:1"], 0) as server:
        assert server.getsockname()[0] in ("0.0.0.0", "::")  # all
