"""The doctor: what it says of machines that nobody here owns, what it asks the frameworks, and its exit codes."""

import functools
import json
import resource
import signal
import subprocess
import sys
import time

import pytest
from helpers.programs import exit_code

from mnist_mlp.cli import variables
from mnist_mlp.devices.machine import Machine
from mnist_mlp.devices.strategy import Request
from mnist_mlp.doctor import command as doctor
from mnist_mlp.doctor import framework_check
from mnist_mlp.doctor.framework_check import Answer, Question
from mnist_mlp.doctor.text import report

TF = {"tensorflow": "2.21.0", "keras": "3.15.1"}
JAX = {"jax": "0.7.2", "jaxlib": "0.7.2", "keras": "3.13.2", "libtpu": "0.0.21.1"}
TPU_TF = {"tensorflow-tpu": "2.19.1", "keras": "3.15.1", "libtpu": "0.0.10"}
NEEDED = {name: "1.0" for name in doctor.NEEDED if name != "keras"}
MACHINES = {
    "laptop": Machine(installed=TF),
    "bare": Machine(),
    "four GPUs": Machine(gpus=4, cuda_libraries=True, installed=TF),
    "GPU for JAX alone": Machine(gpus=1, installed=TF | JAX | {"jax-cuda12-plugin": "0.7.2"}),
    "Colab TPU": Machine(host="colab", tpu_chips=1, tpu_kind="v5e", installed=JAX, libtpu="/site/libtpu.so"),
    "chip held": Machine(tpu_chips=1, tpu_kind="v5e", tpu_holder=4711, installed=JAX, libtpu="/site/libtpu.so"),
    "both wheels": Machine(installed=TF | TPU_TF, libtpu="/site/libtpu.so"),
    "newer libtpu": Machine(
        tpu_chips=4, tpu_kind="v4", installed=TPU_TF | {"libtpu": "0.0.21"}, libtpu="/site/libtpu.so"
    ),
    "TPU wheel and JAX": Machine(installed=JAX | TPU_TF, libtpu="/site/libtpu.so"),
}


def diagnose(name, request=None, *, others=NEEDED, check=None):
    return doctor.diagnose(request or Request(), MACHINES[name], others, check=check)


def answers(**errors):
    """Stands in for the frameworks: each answers that it does what it was asked, or with the error given here."""
    asked = {}

    def ask(questions):
        asked.update(questions)
        return {name: Answer(errors.get(name, ""), question.device) for name, question in questions.items()}

    ask.asked = asked
    return ask


def test_the_object_is_whole(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "detect", lambda: MACHINES["laptop"])
    monkeypatch.setattr(framework_check, "ask", answers())
    for arguments, code in [((), 0), (("--strategy=tpu",), 2), (("--noprobe",), 0)]:
        assert exit_code(doctor.main, "--json", *arguments) == code
        found = json.loads(capsys.readouterr().out)
        assert list(found) == ["machine", "software", "strategies", "probes", "problems", "asked", "works"]
        assert found["works"] is (code == 0) and bool(found["asked"]["refusal"]) is (code == 2)
        assert list(found["probes"]) == ([] if "--noprobe" in arguments else ["tensorflow"])
    assert list(found["strategies"]) == ["auto", "cpu", "gpu", "tpu", "mirrored", "multiworker"]
    assert found["strategies"]["cpu"]["backend"] == "tensorflow" and found["strategies"]["cpu"]["device"] == "cpu"
    assert found["strategies"]["gpu"]["refusal"].endswith("use --strategy=cpu")


ASKED = [  # machine, request → works, words of the verdict
    ("laptop", Request(), True, "train --strategy=auto would run on the CPU, tensorflow, 1 replica"),
    ("laptop", Request("cpu", replicas=4), True, "--strategy=cpu --replicas=4 would run on the CPU, tensorflow, 4 rep"),
    ("laptop", Request("tpu"), False, "train --strategy=tpu would not run: no TPU is attached"),
    ("laptop", Request("cpu", backend="jax"), False, "--backend=jax would not run: JAX is not installed"),
    ("laptop", Request("tpu", tpu="grpc://a:8470"), True, "would run on the TPU grpc://a:8470, which was not tried"),
    ("bare", Request(), False, "TensorFlow is not installed; run pip install 'tensorflow>=2.18'"),
    ("four GPUs", Request("mirrored"), True, "would run on 4 GPUs, tensorflow, 4 replicas"),
    ("four GPUs", Request("gpu", replicas=5), False, "expected at most the 4 visible GPUs"),
    ("GPU for JAX alone", Request(), True, "would run on 1 GPU, jax, 1 replica"),
    ("Colab TPU", Request("tpu"), True, "would run on the cores of the TPU v5e, jax, a replica on each"),
    ("Colab TPU", Request("gpu"), False, "would not run: expected an NVIDIA GPU"),
    (
        "chip held",
        Request("tpu"),
        False,
        "process 4711 is using the TPU, which serves one process at a time; run kill 4711",
    ),
    ("both wheels", Request(), False, "are both installed and overwrite each other"),
    ("newer libtpu", Request("tpu"), False, "tensorflow-tpu 2.19.1 needs libtpu 0.0.10, found 0.0.21"),
    (
        "laptop",
        Request("multiworker", workers="a:1,b:1", worker_index=1),
        True,
        "on the CPU, worker 1 of 2, tensorflow",
    ),
]


@pytest.mark.parametrize("name, request_, works, words", ASKED)
def test_the_verdict_on_machines(name, request_, works, words):
    found = diagnose(name, request_, check=answers())
    text = report(found)
    assert found["works"] is works
    assert words in " ".join(text.split()), text
    assert max(map(len, text.splitlines())) <= 120


def test_each_strategy_says_why():
    text = report(diagnose("Colab TPU"))
    for line in [
        "auto         ✓ the cores of the TPU v5e, jax",
        "cpu          ✓ the CPU, jax",
        "gpu          ✗ expected",
    ]:
        assert line in text
    assert "no NVIDIA GPU, TPU v5e, 1 chip, on Colab" in text and "problems none known" in text
    assert "process 4711 is using the TPU" in report(diagnose("chip held"))
    assert "4 GPUs are visible, only one of them is used" in report(diagnose("four GPUs"))
    # The flags of one strategy do not make the others fail.
    others = diagnose("laptop", Request("multiworker", workers="a:1", worker_index=0))["strategies"]
    assert others["cpu"]["accepted"] and others["auto"]["accepted"]
    assert diagnose("laptop", Request("tpu", tpu="x"))["strategies"]["cpu"]["accepted"]


def problems(name, **more):
    return {row["name"]: row for row in diagnose(name, **more)["problems"]}


def test_what_is_installed_may_be_a_known_problem():
    assert problems("laptop") == problems("Colab TPU") == {}
    assert "pip uninstall -y tensorflow tensorflow-tpu" in problems("both wheels")["several-tensorflows"]["fix"]
    assert problems("newer libtpu")["tensorflow-tpu-unfit"]["fix"] == "run pip install libtpu==0.0.10"
    assert "jax#29989" in problems("TPU wheel and JAX")["libtpu-overwritten"]["source"]
    without = {name: version for name, version in NEEDED.items() if name != "importlib_resources"}
    assert problems("laptop", others=without)["importlib-resources-missing"]["fix"].startswith("run pip install")
    assert diagnose("laptop", others=without)["software"]["missing"] == ["importlib_resources"]
    assert problems("laptop", others=NEEDED | {"matplotlib": "3.11.2"}) == {}


def test_a_framework_that_fails_is_a_refusal_only_for_the_strategy_that_takes_it():
    assert not diagnose("laptop", check=answers(tensorflow="tensorflow failed: x"))["works"]
    found = diagnose("GPU for JAX alone", Request("gpu"), check=answers(tensorflow="tensorflow failed: x"))
    assert found["works"] and set(found["probes"]) == {"tensorflow", "jax"}
    assert not diagnose("GPU for JAX alone", Request("cpu"), check=answers(tensorflow="tensorflow failed: x"))["works"]


def test_what_is_asked_of_the_frameworks(monkeypatch):
    def asked(name, request):
        ask = answers()
        diagnose(name, request, check=ask)
        return ask.asked

    gpu = asked("four GPUs", Request("mirrored"))["tensorflow"]
    assert (gpu.device, gpu.devices, gpu.environment["CUDA_VISIBLE_DEVICES"]) == ("gpu", 4, "0,1,2,3")
    assert asked("four GPUs", Request("cpu"))["tensorflow"].device == "cpu"
    assert asked("Colab TPU", Request("tpu"))["jax"].environment["JAX_PLATFORMS"] == "tpu"
    assert asked("laptop", Request("tpu", tpu="grpc://a:8470"))["tensorflow"].device == "cpu"  # that of auto
    assert asked("laptop", Request("cpu", replicas=8))["tensorflow"].devices == 1
    assert asked("bare", Request()) == {}

    workers = asked("laptop", Request("multiworker", workers="a:1,b:1", worker_index=1))["tensorflow"]
    monkeypatch.delenv("TPU_SKIP_MDS_QUERY", raising=False)
    child = framework_check.environment(workers)
    assert "TF_CONFIG" in workers.environment and "TF_CONFIG" not in child
    assert child["TPU_SKIP_MDS_QUERY"] == "1" and child["KERAS_BACKEND"] == "tensorflow"
    assert "TPU_SKIP_MDS_QUERY" not in framework_check.environment(asked("Colab TPU", Request("tpu"))["jax"])


def test_what_the_frameworks_print_is_searched():
    def ask(questions):
        printed = (
            "Could not find cuda drivers on your machine\nFailed to get TPU metadata\n" + "I0000 chatter\n" * 10_000
        )
        return {name: Answer("", question.device, printed=printed) for name, question in questions.items()}

    on_cpu = diagnose("laptop", check=ask)
    assert [row["name"] for row in on_cpu["problems"]] == ["metadata-query"]  # the CPU is what was wanted
    assert "chatter" not in report(on_cpu) and len(on_cpu["probes"]["tensorflow"]["printed"]) <= 4000
    on_gpu = diagnose("four GPUs", check=ask)
    assert [row["name"] for row in on_gpu["problems"]] == ["metadata-query", "gpu-libraries-missing"]


def test_a_failure_that_is_not_known_says_where_to_look():
    words = "problems none known; --json shows the end of the framework's output"
    assert words in report(diagnose("laptop", check=answers(tensorflow="tensorflow was ended by SIGSEGV")))
    assert words not in report(diagnose("laptop", check=answers()))


def test_no_character_steers_the_terminal(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "detect", lambda: MACHINES["laptop"])
    monkeypatch.setattr(framework_check, "ask", answers(tensorflow="tensorflow failed: \x1b]0;title\x07\x9b2J\r \x7f"))
    monkeypatch.setenv("XLA_FLAGS", "--x=\x1b[31m\nsecond line")
    assert exit_code(doctor.main) == 2
    text = capsys.readouterr().out
    assert text.replace("\n", "").isprintable() and "\\x1b[31m second line" in text and "failed: \\x1b]0;title" in text
    assert exit_code(doctor.main, "--json") == 2
    assert capsys.readouterr().out.strip().isprintable()


# Stand-ins for the frameworks, found before the real ones.
STAND_INS = {
    "keras": """
import os
__version__ = "3.0"
class backend:
    def backend():
        return os.environ.get("STAND_IN_KERAS") or os.environ["KERAS_BACKEND"]
""",
    "jaxlib": "__version__ = '0.1'",
    "jax": """
import os, jaxlib
__version__ = "0.2"
class Device:
    def __init__(self, id):
        self.platform, self.id, self.device_kind = os.environ.get("STAND_IN_PLATFORM", "cpu"), id, "a kind"
everything = [Device(0), Device(1)]
def devices():
    return everything
class Found:
    def __init__(self, value):
        self.value = value
    def devices(self):
        return {everything[int(os.environ.get("STAND_IN_PLACE", 0))]} if "STAND_IN_NOWHERE" not in os.environ else set()
class numpy:
    def matmul(a, b):
        return Found(a @ b + float(os.environ.get("STAND_IN_ERROR", 0)))
jit = lambda function: function
device_put = lambda value, device: value
device_get = lambda found: found.value
print("words on standard output")
""",
}
SLEEPER = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open(os.environ["STAND_IN_PIDS"], "w").write(f"{os.getpid()} {child.pid} ")
print("Failed to get TPU metadata", file=sys.stderr, flush=True)
time.sleep(60)
"""


@pytest.fixture
def stand_ins(tmp_path, monkeypatch):
    """A directory of stand-ins before all others; returns a function that replaces one."""
    folder = tmp_path / "stand-ins"
    folder.mkdir()

    def write(name, code):
        (folder / f"{name}.py").write_text(code)

    for name, code in STAND_INS.items():
        write(name, code)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("STAND_IN_PIDS", str(tmp_path / "pids"))
    return write


def ask_jax(device="cpu", devices=1, seconds=60.0):
    environment = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": device}
    return framework_check.ask({"jax": Question("jax", device, environment, devices)}, seconds)["jax"]


@pytest.mark.slow
def test_a_framework_that_works(stand_ins):
    answer = ask_jax(devices=2)
    assert (answer.error, answer.devices) == ("", ("CPU:0 a kind", "CPU:1 a kind"))
    assert answer.versions == {"jax": "0.2", "jaxlib": "0.1", "keras": "3.0"}
    assert set(answer.seconds) == {"import", "compute"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "variable, value, error",
    [
        ("STAND_IN_ERROR", "1", "jax computes wrong numbers on the CPU"),
        ("STAND_IN_NOWHERE", "", "jax did not compute on the CPU"),
        ("STAND_IN_PLATFORM", "gpu", "jax finds GPU:0, GPU:1 instead of 1 CPU"),
        ("STAND_IN_KERAS", "torch", "Keras runs on torch instead of jax"),
    ],
)
def test_a_framework_that_does_not_do_what_was_asked(stand_ins, monkeypatch, variable, value, error):
    monkeypatch.setenv(variable, value)
    assert ask_jax().error == error


@pytest.mark.slow
@pytest.mark.parametrize(
    "code, error",
    [
        ("raise AttributeError('no such thing')", "jax exited with code 1: AttributeError: no such thing"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "jax was killed by signal 4 (SIGILL)"),
        ("raise SystemExit(3)", "jax exited with code 3"),
        ("print('no answer'); 1 / 0", "jax exited with code 1: ZeroDivisionError: division by zero"),
    ],
)
def test_a_framework_that_fails(stand_ins, code, error):
    stand_ins("jax", code)
    assert ask_jax().error == error


def gone(pids, seconds=30.0):
    """Whether the processes have ended (their number may still wait for its parent)."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        states = [state(pid) for pid in pids]
        if all(letter in ("", "Z", "X") for letter in states):
            return True
        time.sleep(0.02)
    return False


def state(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]
    except OSError:
        return ""


@pytest.mark.slow
def test_a_framework_that_hangs_is_ended_with_its_children(stand_ins, tmp_path):
    stand_ins("jax", SLEEPER)
    began = time.monotonic()
    answer = ask_jax(seconds=1.5)
    assert time.monotonic() - began < 30  # it would sleep for 60
    assert answer.error.startswith("jax did not answer within 1.5 s") and "TPU metadata" in answer.printed
    pids = (tmp_path / "pids").read_text().split()
    assert len(pids) == 2 and gone(pids)
    assert "train waits for --start_timeout seconds" in ask_jax("tpu", seconds=0.1).error


@pytest.mark.slow
def test_ctrl_c_leaves_no_process_behind(stand_ins, tmp_path):
    for name in ("jax", "tensorflow"):
        stand_ins(name, SLEEPER)
    command = [sys.executable, "-m", "mnist_mlp.doctor", "--strategy=cpu"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    pids = tmp_path / "pids"
    until = time.monotonic() + 60
    while not (pids.exists() and len(pids.read_text().split()) == 2) and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "interrupted\n")
    assert gone(pids.read_text().split())


@pytest.mark.slow
def test_without_probes_it_answers_in_a_second_and_imports_no_framework():
    code = (
        "import sys; from mnist_mlp.doctor import command as doctor; doctor.main(['--probe=false', '--strategy=cpu']); "
        "print(sorted({'keras', 'tensorflow', 'jax', 'sklearn', 'matplotlib'} & set(sys.modules)))"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
    assert "none: --noprobe" in done.stdout and "would run on the CPU" in done.stdout
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1


def cli(*arguments, **more):
    return subprocess.run(
        [sys.executable, "-m", "mnist_mlp.doctor", *arguments], capture_output=True, text=True, timeout=60, **more
    )


@pytest.mark.slow
def test_exit_codes_of_the_program():
    refused = cli("--noprobe", "--strategy=mirrored", "--replicas=1000")
    assert (refused.returncode, refused.stderr) == (2, "") and "would not run" in refused.stdout
    known = cli("--explain=-", input="The TPU is already in use")
    assert (known.returncode, known.stderr) == (0, "")
    unknown = cli("--explain", "hello")
    assert (unknown.returncode, unknown.stdout) == (2, "") and unknown.stderr.startswith("error: no known failure")


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", pytest.param("jax", marks=pytest.mark.full)])  # see the notebook
def test_the_frameworks_that_are_here_compute_rightly(backend, monkeypatch, capfd):
    flags = ["--strategy=cpu", f"--backend={backend}"]
    if exit_code(doctor.main, "--noprobe", *flags):
        pytest.skip(f"{backend} is not installed")
    capfd.readouterr()
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "1")
    monkeypatch.setattr(
        framework_check, "ask", functools.partial(framework_check.ask, seconds=200)
    )  # on a machine that is busy
    code = exit_code(doctor.main, "--json", *flags)
    out, err = capfd.readouterr()
    found = json.loads(out)
    probe = found["probes"][backend]
    assert (code, err, probe["error"], found["works"]) == (0, "", "", True)
    assert probe["devices"] == ["CPU:0"] and {backend, "keras"} <= set(probe["versions"])
    assert found["problems"] == []


def test_a_file_that_hides_a_module_stops_a_run(tmp_path, monkeypatch):
    """Keras itself, or what a framework imports, which is known once it was tried."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "tabnanny.py").touch()  # of Python; nothing imports it

    def ask(modules):
        return lambda questions: {"tensorflow": Answer("", "cpu", modules=modules)}

    assert diagnose("laptop", Request("cpu"), check=ask(("json",)))["works"]
    found = diagnose("laptop", Request("cpu"), check=ask(("json", "tabnanny")))
    assert not found["works"] and "modules" not in found["probes"]["tensorflow"]
    what = f"{tmp_path}/tabnanny.py hides Python's own module tabnanny; rename it"
    assert found["asked"]["refusal"].startswith(what)
    assert what in " ".join(report(found).split())
    (tmp_path / "keras.py").touch()
    found = diagnose("laptop", Request("cpu"))
    assert not found["works"] and found["asked"]["refusal"].startswith(f"{tmp_path}/keras.py hides the installed ")


def test_variables_that_change_numbers_are_shown(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setattr(variables, "ignored", {"JAX_ENABLE_X64": "1"})
    text = report(diagnose("laptop"))
    assert "OMP_NUM_THREADS=3\n" in text and "JAX_ENABLE_X64=1 is ignored\n" in text
