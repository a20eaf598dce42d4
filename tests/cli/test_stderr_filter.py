"""What reaches the terminal: nothing of TensorFlow's chatter, all that is news."""

import gc
import itertools
import os
import re
import signal
import sys
from types import SimpleNamespace

import pytest
from helpers.fork_server import run_code

from mnist_mlp.cli import load_framework, stderr_filter
from mnist_mlp.devices import Plan

CHATTER = [
    "I0000 00:00:1795360575.911611    2586 port.cc:153] oneDNN custom operations are on.",
    "2025-09-17 14:44:05.157831: I external/local_xla/xla/tsl/cuda/cudart_stub.cc:32] Could not find cuda drivers",
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    "To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow",
    "E0000 00:00:1758131045.203198 3722035 cuda_dnn.cc:8579] Unable to register cuDNN factory: Attempting",
    "W0000 00:00:1758131045.2 1 computation_placer.cc:177] computation placer already registered. Please check linkage",
    "E0000 00:00:1795360582.8 2586 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error: Failed call to "
    "cuInit: UNKNOWN ERROR (303)",
    "E0000 00:00:1795421629.4 4294 text_format.cc:378] Error parsing text-format tensorflow.XlaSerializedCacheEntry: "
    "2:1: Expected identifier, got: 5",
    "E0000 00:00:1795421629.4 4294 cpu_aot_loader.cc:220] Loading XLA:CPU AOT result. Target machine feature "
    "+prefer-no-scatter is not  supported on the host machine. Machine type used for XLA:CPU compilation doesn't match",
    "[Gloo] Rank 1 is connected to 1 peer ranks. Expected number of connected peer ranks is : 1",
]
NEWS = [
    "W0000 00:00:1795361661.265839 19753 util.cc:163] something to look at",
    "E0000 00:00:1.2 1 cuda_platform.cc:52] failed call to cuInit: CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
    "F0000 00:00:1.2 1 cpu_feature_guard.cc:1] The TensorFlow library was compiled to use AVX instructions",
    "E0000 00:00:1.2 1 cpu_aot_loader.cc:220] Loading XLA:CPU AOT result. Target machine feature +avx512f is not  "
    "supported on the host machine. Machine type used for XLA:CPU compilation doesn't match",
    "UserWarning: I am from Python",
    "In 2026 a line may begin with I",
]
SAY = "import os, sys; from mnist_mlp.cli import stderr_filter as chatter; chatter.silence();"


def say(code, **environment):
    clean = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    return run_code(SAY + code, backend=None, env=clean | environment)


def test_chatter_is_dropped_and_news_pass_in_order():
    lines = [line for pair in itertools.zip_longest(CHATTER, NEWS, fillvalue="") for line in pair if line]
    done = say(f"os.write(2, {chr(10).join(lines).encode()!r} + b'\\n')")
    assert done.stderr.splitlines() == NEWS


def test_the_last_words_of_an_abort_come_through():
    done = say("os.write(2, b'I0000 chatter\\nF0000 no AVX here\\n'); os.abort()")
    assert done.returncode < 0 and done.stderr == "F0000 no AVX here\n"


JAX_ABORTS = """\
F1130 18:40:48.868617 19280 client.h:80] Terminating process because the JAX distributed service detected fatal errors.
RPC: /xla.coordination.CoordinationService/PollForError
*** Check failure stack trace: ***
    @     0x7f4b535c0634  absl::lts_20260107::log_internal::LogMessage::SendToLog()
    @     0x7f4b62ea71f5  (unknown)
"""


def test_what_to_do_stands_in_place_of_the_stack_of_a_worker_that_jax_aborts():
    lines = say(f"os.write(2, {JAX_ABORTS.encode()!r})").stderr.splitlines()
    assert lines[:2] == JAX_ABORTS.splitlines()[:2]
    assert lines[2:] == [stderr_filter.WHAT_TO_DO.decode().rstrip()]


def test_the_stack_of_any_other_abort_is_kept():
    others = JAX_ABORTS.replace("the JAX distributed service", "a bug")
    assert say(f"os.write(2, {others.encode()!r})").stderr == others


def test_python_writes_past_the_filter():
    assert say("print('I0000 but mine', file=sys.stderr)").stderr == "I0000 but mine\n"


def test_what_c_code_writes_to_standard_output_is_no_part_of_it():
    done = say(
        "chatter.keep_standard_output(); os.write(1, b'[Gloo] Rank 1 is connected to 1\\nnews\\n'); print('ours')"
    )
    assert (done.stdout, done.stderr) == ("ours\n", "news\n")


def test_who_asks_for_the_messages_gets_them():
    done = say("os.write(2, b'I0000 chatter\\n')", TF_CPP_MIN_LOG_LEVEL="0")
    assert done.stderr == "I0000 chatter\n"


@pytest.mark.parametrize("left_out", stderr_filter.PATTERNS)
def test_each_pattern_is_needed(left_out):
    others = re.compile(b"|".join(pattern for pattern in stderr_filter.PATTERNS if pattern != left_out))
    assert [line for line in CHATTER if not others.match(line.encode())]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_keras_does_not_import_what_it_can_do_without(backend, full):
    """And who wants it can still have it. TensorFlow Lite's converters of Keras' models work without SciPy and JAX."""
    code = """
import sys
from importlib.util import find_spec
from mnist_mlp.cli import load_framework
load_framework.install()
import keras
backend = keras.backend.backend()
left_out = {*load_framework.KERAS, *load_framework.KERAS_ON[backend]}
left_out |= {*load_framework.TENSORFLOW} if backend == "tensorflow" else set()
print(sorted(left_out & set(sys.modules)), load_framework.left_out())
if backend == "tensorflow":
    import tensorflow as tf
    network = tf.keras.Sequential([tf.keras.Input((2,)), tf.keras.layers.Dense(1)])
    print(len(tf.lite.TFLiteConverter.from_keras_model(network).convert()) > 0)
    print(sorted(set(load_framework.TENSORFLOW) & set(sys.modules)))
print([name for name in left_out if find_spec(name) is None])
import IPython, psutil, requests, PIL
from jax.experimental import sparse
print(sparse.linalg.spsolve.__name__, backend)
"""
    start_anew = {"PYTHONHASHSEED": "0"} if full else {}
    done = run_code(code, backend=backend, env={**os.environ, **start_anew})
    converted = ["True", "[]"] if backend == "tensorflow" else []
    lines = [line for line in done.stdout.splitlines() if line]
    assert [line for line in lines if line[0] in "[T"] == ["[] ()", *converted, "[]"], done.stderr
    assert lines[-1] == f"spsolve {backend}"


@pytest.mark.full  # the test before looks for the same, where Keras imports it
def test_tensorflow_does_not_import_jax_and_scipy():
    """Where it is imported alone."""
    code = (
        "import sys; from mnist_mlp.cli import load_framework as lean_keras; lean_keras.install(); import tensorflow; "
        "print(sorted(set(lean_keras.TENSORFLOW) & set(sys.modules)))"
    )
    done = run_code(code, backend=None)
    assert done.stdout == "[]\n", done.stderr


def test_loading_sets_the_environment_first_and_lets_signals_wait(monkeypatch):
    events = []

    def import_module(name):
        events.append((name, os.environ["KERAS_BACKEND"], gc.isenabled()))
        signal.raise_signal(signal.SIGINT)
        events.append("imported")

    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setattr(load_framework, "importlib", SimpleNamespace(import_module=import_module))
    with pytest.raises(KeyboardInterrupt):
        load_framework.load(Plan("jax", "cpu", "cpu", {"KERAS_BACKEND": "jax"}))
    assert events == [("keras", "jax", False), "imported"]
