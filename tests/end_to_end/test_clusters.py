"""The files of scripts/examples, as they are: run where the launcher is installed, else read."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.workers import left_by

from mnist_mlp.cli import flags
from mnist_mlp.config import Config
from mnist_mlp.devices import launchers, machine

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "scripts/examples"
FLAGS = ["--dataset=digits", "--model=mlp_dropout", "--units=16", "--batch_size=16", "--backend=jax"]


@pytest.fixture
def environ():
    """The environment of a user: with the cache of JAX, of which a launcher's processes should share none here."""
    names = (*machine.LAUNCHERS, "JAX_COMPILATION_CACHE_DIR")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    return kept | {"PYTHON": sys.executable, "PYTHONPATH": str(ROOT)}


def test_the_file_for_gke_describes_a_slice_whose_hosts_train_together():
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    described = yaml.safe_load((EXAMPLES / "gke_jobset.yaml").read_text())
    (job,) = described["spec"]["replicatedJobs"]
    spec = job["template"]["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    rows, columns = map(int, pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"].split("x"))
    hosts = spec["parallelism"]
    assert rows * columns == hosts * container["resources"]["limits"]["google.com/tpu"] and hosts == spec["completions"]
    assert {"containerPort": launchers.TPU_PORT} in container["ports"]
    python, m, module, *rest = container["command"]
    given = flags.given_flags(Config, rest, program="train", about="")
    assert (m, module, given["strategy"], given["resume"]) == ("-m", "mnist_mlp.train", "multiworker", True)
    assert Path(given["run_dir"]).is_relative_to(container["volumeMounts"][0]["mountPath"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["slurm.sbatch", "open_mpi.sh"])
def test_the_example_is_bash(name):
    done = subprocess.run(["bash", "-n", EXAMPLES / name], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and os.access(EXAMPLES / name, os.X_OK)


@pytest.fixture
def mpirun():
    if shutil.which("mpirun") is None:
        pytest.skip("Open MPI is not installed (Debian, Ubuntu: apt install openmpi-bin)")
    return "mpirun --oversubscribe" + (" --allow-run-as-root" if os.geteuid() == 0 else "")


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_two_processes_of_open_mpi_train(backend, mpirun, environ, tmp_path):
    command = [EXAMPLES / "open_mpi.sh", "2", *FLAGS[:-1], f"--backend={backend}", "--epochs=1", "--run_dir=run"]
    environ["MPIRUN"] = mpirun
    done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for index in (0, 1):
        assert re.search(rf"Open MPI job [0-9]+: worker {index} of 2, the chief at 127\.0\.0\.1:[0-9]+", done.stderr)
    assert json.loads((tmp_path / "run/result.json").read_text())["device"]["workers"] == 2


@pytest.fixture
def slurm():
    """A function that asks Slurm, where one is running."""
    if shutil.which("sinfo") is None or subprocess.run(["sinfo"], capture_output=True, timeout=30).returncode:
        pytest.skip("no Slurm is running here (Debian, Ubuntu: apt install slurmctld slurmd slurm-client)")
    return lambda *command: subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.slow
@pytest.mark.full
def test_a_job_of_slurm_whose_task_was_killed_is_requeued_and_resumes_to_the_same_bits(slurm, environ, tmp_path):
    def submitted():
        command = ["sbatch", "--parsable", "--ntasks=2", EXAMPLES / "slurm.sbatch", *FLAGS, "--epochs=20"]
        return subprocess.run(
            command, env=environ, cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout.strip()

    def until(job, pattern, seconds):
        output, end = tmp_path / f"slurm-{job}.out", time.monotonic() + seconds
        while not (output.exists() and re.search(pattern, output.read_text(), re.MULTILINE)):
            assert time.monotonic() < end, output.read_text() if output.exists() else "the job did not start"
            time.sleep(0.2)
        return output.read_text()

    undisturbed, job = submitted(), None
    try:
        until(undisturbed, "^run  ", 300)
        job = submitted()
        words = until(job, "^epoch +3/", 300)
        assert f"Slurm job {job}, step 0: worker 1 of 2, the chief at " in words
        os.kill(task(job, 1), signal.SIGKILL)
        words = until(job, "lost the connection to another worker.*restart all workers", 120)
        until(job, "srun: error: .*task 1: Killed", 60)
        while slurm("squeue", "--noheader", f"--jobs={job}"):
            time.sleep(0.5)
        slurm("scontrol", "requeue", job)  # Slurm waits two minutes before it starts a job again
        until(job, "^run  ", 400)
    finally:
        subprocess.run(["scancel", undisturbed, *([job] if job else [])], check=False)
    *expected, never = left_by(tmp_path / f"run-{undisturbed}")
    *found, resumed = left_by(tmp_path / f"run-{job}")
    assert found == expected and (resumed, never) == (1, 0)


def task(job, index):
    """The pid of the task `index`: its Python, and not a child of it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            variables = (process / "environ").read_bytes().split(b"\0")
            if f"SLURM_JOB_ID={job}".encode() in variables and f"SLURM_PROCID={index}".encode() in variables:
                command = (process / "cmdline").read_bytes()
                found += [int(process.name)] * (b"mnist_mlp.train" in command and b"srun" not in command)
        except OSError:
            continue  # it has ended
    return min(found)
