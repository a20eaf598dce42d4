"""Workers on two hosts: network namespaces, in each of which its own name means 127.0.1.1, as on Debian."""

import json
import subprocess
import threading
import time

import pytest
from helpers import fork_server, hosts
from helpers.once import once
from helpers.workers import WORKER, left_by, start_one, uninterrupted_run, until_epoch

pytestmark = [pytest.mark.slow, pytest.mark.xla(False)]
WRITTEN = {  # how --workers names a host
    "IPv4": lambda host: host.ipv4,
    "IPv6": lambda host: f"[{host.ipv6}]",
    "names": lambda host: host.name,
}


FLAGS = ("--dataset=digits", "--model=mlp", "--units=16", "--batch_size=256")  # without dropout: comparable


def one_process(factory, backend):
    """The directory of a run of two epochs in one process."""

    def make(place):
        more = ["--epochs=2", f"--backend={backend}", "--strategy=cpu", f"--run_dir={place / 'run'}"]
        done = fork_server.run("train", *FLAGS, *more, backend=backend)
        assert done.returncode == 0, done.stderr

    return once(factory, f"one-process-{backend}", make)


@pytest.fixture
def two_hosts():
    with hosts.two_hosts() as both:
        yield both


def start_on(both, backend, run_dir, written="IPv4", delay=0.0, **options):
    """A worker on each host; the second one `delay` seconds later."""
    at = [f"{WRITTEN[written](host)}:{2222 + index}" for index, host in enumerate(both)]
    known = "".join(f"{host.ipv4} {host.name}\n" for host in both)  # below 127.0.1.1, which comes first
    started = []
    for index, host in enumerate(both):
        time.sleep(delay * index)
        started.append(start_one(backend, run_dir, at, index, before=host.enter(known), **options))
    return started


def ends_of(processes):
    """What all of them have written, and how each has ended. Reads from all at once: none waits for a full pipe."""
    written = {}
    readers = [
        threading.Thread(target=lambda index=index, process=process: written.update({index: process.communicate()}))
        for index, process in enumerate(processes)
    ]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(300)
    return [process.returncode for process in processes], [written[index] for index in range(len(processes))]


@pytest.mark.parametrize(
    "backend, written",
    [
        ("jax", "IPv4"),
        pytest.param("jax", "IPv6", marks=pytest.mark.full),
        pytest.param("jax", "names", marks=pytest.mark.full),
        pytest.param("tensorflow", "IPv4", marks=pytest.mark.full),
        pytest.param("tensorflow", "IPv6", marks=pytest.mark.full),
        pytest.param("tensorflow", "names", marks=pytest.mark.full),
    ],
)
def test_two_hosts_train_with_the_numbers_of_one_process(backend, written, two_hosts, tmp_path, tmp_path_factory):
    codes, words = ends_of(start_on(two_hosts, backend, tmp_path / "run", written, epochs=2, flags=FLAGS))
    assert codes == [0, 0], words
    found = json.loads((tmp_path / "run/result.json").read_text())
    assert (found["device"]["workers"], found["device"]["replicas"]) == (2, 2)
    alone = json.loads((one_process(tmp_path_factory, backend) / "run/result.json").read_text())
    for row, other in zip(found["epochs"], alone["epochs"], strict=True):
        assert row["loss"] == pytest.approx(other["loss"], rel=1e-5)
    assert found["test"]["confusion"] == alone["test"]["confusion"]


@pytest.mark.full
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_a_link_that_goes_down_ends_both_hosts_and_they_resume_to_the_same_bits(
    backend, two_hosts, tmp_path, tmp_path_factory
):
    processes = until_epoch(start_on(two_hosts, backend, tmp_path / "run"), 3)
    two_hosts[0].ip("link", "set", "veth", "down")
    began = time.monotonic()
    codes, words = ends_of(processes)
    assert time.monotonic() - began < 60
    for code, (_, written) in zip(codes, words, strict=True):
        assert code == 2 if backend == "tensorflow" else code in (2, -6), words  # -6: aborted by JAX
        assert "error: --strategy=multiworker: lost the connection to another worker" in written
        assert "restart all workers" in written and "Traceback" not in written and "    @ " not in written
    two_hosts[0].ip("link", "set", "veth", "up")
    codes, words = ends_of(start_on(two_hosts, backend, tmp_path / "run"))
    assert codes == [0, 0], words
    *found, resumed = left_by(tmp_path / "run")
    *expected, never = left_by(uninterrupted_run(tmp_path_factory, backend))
    assert found == expected and (resumed, never) == (1, 0)


@pytest.mark.full
def test_a_host_that_starts_late_is_waited_for(two_hosts, tmp_path):
    codes, words = ends_of(start_on(two_hosts, "jax", tmp_path / "run", delay=12.0, epochs=1))
    assert codes == [0, 0], words
    assert "waiting for worker 1 (10.77.0.2:2223) (10 s) ..." in words[0][1]


@pytest.mark.full
def test_hosts_that_know_the_name_of_the_chief_alone_find_each_other(two_hosts, tmp_path):
    """As launchers name it; on the chief's own host that name means 127.0.1.1."""
    known = "".join(f"{host.ipv4} {host.name}\n" for host in two_hosts)
    flags = [*FLAGS, "--epochs=1", "--backend=jax", "--strategy=multiworker", f"--run_dir={tmp_path / 'run'}"]
    processes = []
    for index, host in enumerate(two_hosts):
        said = {"JAX_COORDINATOR_ADDRESS": "first:2222", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": str(index)}
        before = f"{host.enter(known)}\nos.environ.update({said})\n"
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        processes.append(fork_server.start_code(before + WORKER, *flags, backend="jax", **pipes))
    codes, words = ends_of(processes)
    assert codes == [0, 0], words
    assert words[1][1].startswith("JAX's variables: worker 1 of 2, the chief at first:2222; ")
    assert json.loads((tmp_path / "run/result.json").read_text())["device"]["workers"] == 2


def test_each_host_knows_the_address_at_which_the_other_reaches_it(two_hosts):
    code = """
import sys
from mnist_mlp.devices import rendezvous
print(rendezvous.own_host(sys.argv[1].split(","), int(sys.argv[2])))"""
    for written in WRITTEN:
        at = ",".join(f"{WRITTEN[written](host)}:{2222 + index}" for index, host in enumerate(two_hosts))
        known = "".join(f"{host.ipv4} {host.name}\n" for host in two_hosts)
        for index, host in enumerate(two_hosts):
            done = fork_server.run_code(host.enter(known) + code, at, index, backend=None)
            assert done.stdout.strip() == (host.ipv6 if written == "IPv6" else host.ipv4), done.stderr
