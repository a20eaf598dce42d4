"""Environments that launchers make, as read from their documentation and sources, and what they are taken for."""

import dataclasses
import os
import re
import threading

import pytest

from mnist_mlp.cli import variables
from mnist_mlp.devices import acquainted, launchers, rendezvous
from mnist_mlp.devices.machine import Machine, detect
from mnist_mlp.devices.strategy import Request, choose
from mnist_mlp.errors import UserError

SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NODELIST": "node[001-002]",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_PROCID": "3",
}
BATCH_SCRIPT = {"SLURM_JOB_ID": "7", "SLURM_PROCID": "0"}  # and no step
OPEN_MPI = {
    "OMPI_COMM_WORLD_RANK": "1",
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
    "OMPI_MCA_orte_hnp_uri": "98172928.0;tcp://10.0.0.1,10.1.0.1:34723;tcp6://[fd00::2]:55961",
    "PMIX_NAMESPACE": "98172929",
}
HERE = {"OMPI_COMM_WORLD_LOCAL_SIZE": "4"}
JAX = {"JAX_COORDINATOR_ADDRESS": "10.0.0.1:1234", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "1"}
GKE = {"TPU_WORKER_HOSTNAMES": "t-0.s,t-1.s,t-2.s,t-3.s", "TPU_WORKER_ID": "2"}
MULTISLICE = GKE | {
    "MEGASCALE_COORDINATOR_ADDRESS": "t-0.s:8080",
    "MEGASCALE_NUM_SLICES": "2",
    "MEGASCALE_SLICE_ID": "1",
}
KAGGLE = {"TPU_PROCESS_ADDRESSES": "local", "ISTPUVM": "1", "TPU_WORKER_ID": "0"}  # eight chips on one host
COLAB = {"TPU_WORKER_HOSTNAMES": "localhost", "TPU_WORKER_ID": "0"}


def without(environ, *names):
    return {name: value for name, value in environ.items() if name not in names}


@pytest.mark.parametrize(
    "environ, name, chief, count, index",
    [
        (SLURM, "Slurm job 7, step 0", "node001:", 4, 3),
        (SLURM | {"SLURM_STEP_NODELIST": "a,b"}, "Slurm job 7, step 0", "a:", 4, 3),
        (SLURM | {"SLURM_STEP_NODELIST": "r[2,4-6]n[01-09]-ib,x"}, "Slurm job 7, step 0", "r2n01-ib:", 4, 3),
        (OPEN_MPI, "Open MPI job 98172929", "10.0.0.1:", 4, 1),
        (OPEN_MPI | HERE, "Open MPI job 98172929", "127.0.0.1:", 4, 1),
        (without(OPEN_MPI | HERE, "OMPI_MCA_orte_hnp_uri"), "Open MPI job 98172929", "127.0.0.1:", 4, 1),  # Open MPI 5
        (OPEN_MPI | {"OMPI_MCA_orte_hnp_uri": "1.0;tcp6://[fd00::2]:5"}, "Open MPI job 98172929", "[fd00::2]:", 4, 1),
        (BATCH_SCRIPT | OPEN_MPI, "Open MPI job 98172929", "10.0.0.1:", 4, 1),  # mpirun in a job of Slurm
        (JAX, "JAX's variables", "10.0.0.1:1234", 2, 1),
        (SLURM | JAX, "JAX's variables", "10.0.0.1:1234", 2, 1),
        (GKE, "Cloud TPU slice", "t-0.s:8482", 4, 2),
        (GKE | {"TPU_PROCESS_ADDRESSES": "a:8471,b:8471", "TPU_WORKER_ID": "1"}, "Cloud TPU slice", "a:8482", 2, 1),
        (MULTISLICE, "2 Cloud TPU slices", "t-0.s:8482", 8, 6),
    ],
)
def test_launchers_are_recognized(environ, name, chief, count, index):
    found = launchers.recognized(environ)
    assert (found.name, found.count, found.index) == (name, count, index)
    assert found.chief.startswith(chief) and re.fullmatch(r".+:[0-9]{4,5}", found.chief)
    assert int(found.chief.rpartition(":")[2]) < 65536


@pytest.mark.parametrize("environ", [{}, KAGGLE, COLAB, {"TPU_WORKER_ID": "0"}, {"TPU_WORKER_HOSTNAMES": ""}])
def test_one_host_is_no_cluster(environ):
    assert launchers.recognized(environ) is None


@pytest.mark.parametrize(
    "environ, words",
    [
        (BATCH_SCRIPT, "Slurm job 7: this process is not a task of a step, but the job's script; start it with srun"),
        (SLURM | {"SLURM_PROCID": "4"}, "Slurm job 7, step 0: expected a process from 0 to 3, received 4"),
        (SLURM | {"SLURM_STEP_NUM_TASKS": "two"}, "SLURM_STEP_NUM_TASKS: expected a whole number, received 'two'"),
        (without(OPEN_MPI, "OMPI_MCA_orte_hnp_uri"), "of which it does not say where rank 0 is; use --workers="),
        (without(OPEN_MPI, "OMPI_COMM_WORLD_SIZE"), "OMPI_COMM_WORLD_SIZE: expected a whole number, found none"),
        (without(JAX, "JAX_NUM_PROCESSES"), "found no JAX_NUM_PROCESSES; set all three"),
        (JAX | {"JAX_PROCESS_ID": "-1"}, "JAX_PROCESS_ID: expected a whole number, received '-1'"),
        (without(GKE, "TPU_WORKER_ID"), "TPU_WORKER_ID: expected a whole number, found none"),
        (GKE | {"TPU_WORKER_ID": "4"}, "Cloud TPU slice: expected a process from 0 to 3, received 4"),
        (without(MULTISLICE, "MEGASCALE_COORDINATOR_ADDRESS"), "found no MEGASCALE_COORDINATOR_ADDRESS"),
        (
            JAX | {"JAX_COORDINATOR_ADDRESS": "nowhere"},
            "JAX's variables: expected addresses as HOST:PORT, received 'no",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(environ, words):
    with pytest.raises(UserError) as caught:
        choose(Request("multiworker"), dataclasses.replace(LAPTOP, launch=environ))
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_the_port_is_one_for_a_job_and_another_for_the_next():
    assert {launchers.port_of(f"{job}.0") for job in range(50)} <= set(range(61440, 65536))
    assert len({launchers.port_of(f"{job}.0") for job in range(50)}) > 45


TF = {"tensorflow": "2.21.0", "keras": "3.15.1"}
TPU = {"jax": "0.10.2", "jaxlib": "0.10.2", "keras": "3.15.1", "libtpu": "0.0.52"}
LAPTOP = Machine(installed=TF)
TPU_HOST = Machine(tpu_chips=4, tpu_kind="v5e", installed=TPU, libtpu="/libtpu.so")


def test_flags_and_tf_config_come_before_a_launcher():
    cluster = '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 0}}'
    machine = dataclasses.replace(LAPTOP, launch=SLURM, tf_config=cluster)
    by_flags = choose(Request("multiworker", workers="c:1,d:2", worker_index=1), machine)
    assert (by_flags.workers, by_flags.cluster) == (("c:1", "d:2"), "--workers")
    by_tf_config = choose(Request("multiworker"), machine)
    assert (by_tf_config.workers, by_tf_config.cluster) == (("a:1", "b:2"), "TF_CONFIG")
    by_slurm = choose(Request("multiworker"), dataclasses.replace(LAPTOP, launch=SLURM))
    assert by_slurm.cluster == "Slurm job 7, step 0" and by_slurm.workers[1:] == ("", "", "")
    assert by_slurm.worker_index == 3 and "TF_CONFIG" not in by_slurm.environment


def test_none_refuses_what_the_environment_says():
    with pytest.raises(UserError, match="--workers=none leaves --strategy=multiworker without workers; use --workers="):
        choose(Request("multiworker", workers="none"), dataclasses.replace(LAPTOP, launch=SLURM))
    assert choose(Request("auto", workers="none"), dataclasses.replace(LAPTOP, launch=SLURM)).workers == ()


def test_a_tpu_slice_is_no_tpu_of_one_host():
    host = dataclasses.replace(TPU_HOST, launch=GKE)
    words = "this is host 2 of 4 of a Cloud TPU slice; use --strategy=multiworker on each of them, or --workers=none"
    with pytest.raises(UserError, match=f"--strategy=tpu: {words}"):
        choose(Request("tpu"), host)
    (note,) = choose(Request("auto"), host).notes
    assert note.startswith(f"a TPU is attached but not used: {words}")
    assert choose(Request("tpu", workers="none"), host).device == "tpu"
    all_hosts = choose(Request("multiworker"), host)
    assert (all_hosts.backend, all_hosts.device, all_hosts.workers[0]) == ("jax", "tpu", "t-0.s:8482")
    assert choose(Request("tpu"), dataclasses.replace(TPU_HOST, launch=KAGGLE)).device == "tpu"


def test_detect_keeps_the_variables_of_launchers_alone(tmp_path):
    for environ in (SLURM, OPEN_MPI, JAX, MULTISLICE, {"TPU_PROCESS_ADDRESSES": "a,b"}):
        assert detect(tmp_path, environ | {"SLURM_JOB_NAME": "x", "HOME": "/"}).launch == environ
    kept = dict(JAX | {"JAX_ENABLE_X64": "1"})
    variables.remove_ignored(kept)
    variables.ignored.pop("JAX_ENABLE_X64")
    assert kept == JAX


# The processes learn of one another where a launcher names the chief alone.


def introduced(count, chief, timeout=10.0):
    """The addresses that each of `count` processes ends with, or what it says."""
    ends = {}

    def one(index):
        try:
            ends[index] = rendezvous.introduce(chief, count, index, timeout)
        except UserError as error:
            ends[index] = str(error)

    threads = [threading.Thread(target=one, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return ends


def chief_here():
    with rendezvous.socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def test_processes_that_know_the_chief_alone_learn_all_addresses():
    chief = chief_here()
    ends = introduced(4, chief)
    assert set(ends) == {0, 1, 2, 3} and len(set(ends.values())) == 1
    workers = ends[0]
    assert workers[0] == chief and len(set(workers)) == 4
    assert all(re.fullmatch(r"127\.0\.0\.1:[0-9]+", worker) for worker in workers)


class Seen:
    """A connection between these addresses."""

    def __init__(self, theirs, ours):
        self.getpeername, self.getsockname = lambda: (theirs, 1), lambda: (ours, 2)


def test_those_beside_the_chief_get_the_address_that_others_know_it_by():
    beside = rendezvous.Visitor(Seen("127.0.0.1", "127.0.1.1"), 5001)
    elsewhere = rendezvous.Visitor(Seen("::ffff:10.0.0.2", "::ffff:10.0.0.1"), 5002)
    present = {2: elsewhere, 1: beside}
    assert rendezvous.written("node1:61440", present) == b"10.0.0.1:61440,10.0.0.1:5001,10.0.0.2:5002"
    present = {1: rendezvous.Visitor(Seen("fd00::2", "fd00::1"), 5001)}
    assert rendezvous.written("node1:61440", present) == b"[fd00::1]:61440,[fd00::2]:5001"


def test_a_plan_is_completed_with_what_it_was_taken_for(capsys, monkeypatch):
    known = ("10.0.0.1:1", "10.0.0.2:2", "10.0.0.2:3", "10.0.0.2:4")
    asked = []
    monkeypatch.setattr(rendezvous, "introduce", lambda *given: asked.append(given) or known)
    plan = acquainted(choose(Request("multiworker"), dataclasses.replace(LAPTOP, launch=SLURM)), 17)
    ((chief, count, index, timeout),) = asked
    assert (chief.partition(":")[0], count, index, timeout) == ("node001", 4, 3, 17)
    assert plan.workers == known and '"index": 3' in plan.environment["TF_CONFIG"]
    assert capsys.readouterr().err == (
        f"Slurm job 7, step 0: worker 3 of 4, the chief at {chief}; "
        "if that is wrong, use --workers=HOST:PORT,HOST:PORT, or none\n"
    )
    by_flags = choose(Request("multiworker", workers="a:1,b:1", worker_index=0), LAPTOP)
    assert acquainted(by_flags, 17) is by_flags and len(asked) == 1 and not capsys.readouterr().err
    assert os.environ.get("TF_CONFIG") is None
