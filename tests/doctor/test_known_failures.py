"""`doctor --explain`: which messages it knows, in what order it shows them, and what it says of others.

The messages are in `pasted/`: after `=== NAME` what people pasted where that failure is to be found, with `---` between
two pastes. To teach the doctor another message, add a paste there first.
"""

import importlib.util
import io
import json
import re
import sys
import time
from pathlib import Path

import pytest
from helpers.programs import exit_code

from mnist_mlp.doctor import command as doctor
from mnist_mlp.doctor import known_failures
from mnist_mlp.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def pastes():
    """The name of each failure with the texts in which it is to be found, alone."""
    found = {}
    for file in sorted(Path(__file__).parent.glob("pasted/*.txt")):
        for section in re.split(r"^=== ", file.read_text("utf-8"), flags=re.MULTILINE)[1:]:
            name, _, body = section.partition("\n")
            assert name not in found
            found[name] = re.split(r"^---\n", body, flags=re.MULTILINE)
    return found


PASTED = pastes()
BEFORE = """\
(venv) ada@desk:~/code/mnist$ CUDA_VISIBLE_DEVICES=0 python -m mnist_mlp.train --run_dir=runs/a 2>&1 | tee log.txt
2026-05-14 08:01:13.402115: I tensorflow/core/common_runtime/process_util.cc:146] Creating new thread pool
Epoch 1/5
 469/1875 ━━━━━━━━━━━━━━━━━━━━ 2s 2ms/step - accuracy: 0.8127 - loss: 0.6514
Traceback (most recent call last):
  File "/usr/lib/python3.12/runpy.py", line 198, in _run_module_as_main
    return _run_code(code, main_globals, None,
"""
AFTER = """
The above exception was the direct cause of the following exception:

  File "/home/ada/code/mnist/venv/lib/python3.12/site-packages/absl/app.py", line 316, in run
    _run_main(main, args)
Any help? It worked yesterday on Ubuntu 24.04, Python 3.12.3, TensorFlow 2.21.0, RTX 4090.
"""
ORDINARY = [
    BEFORE,
    AFTER,
    "No module named 'foo'",
    "No module named 'tensorflow_datasets'",
    "No module named 'tensorflow_probability'; No module named 'kerastuner'",
    "ModuleNotFoundError: No module named 'mnist_mlp'",
    "No OpKernel was registered to support Op 'CudnnRNN' Registered devices: [CPU]",
    "epoch 5/5   loss 0.0419   accuracy 0.9862   0.35 s",
    "accuracy: 1.0000 - loss: 0.0012",
    "accuracy: 1.0000e+00 - loss: 9.8765e-05",
    "accuracy: 9.8765e-02",
    "accuracy 9.78 %, accuracy 0.1 %, accuracy: 97.79",
    "accuracy: 0.1250 - loss: 2.3013",
    "accuracy: 0.1003",
    "loss: 0.0312 - nan_guard: off",
    "error: --strategy=tpu: no TPU is attached to this machine; use --strategy=cpu",
    "ZeroDivisionError: division by zero",
    "KeyError: 'accuracy'",
    "FileNotFoundError: [Errno 2] No such file or directory: 'train-images-idx3-ubyte.gz'",
    "ValueError: could not convert string to float: 'seven'",
    "ValueError: cannot reshape array of size 47040016 into shape (60000,28,28)",
    "TypeError: '<' not supported between instances of 'NoneType' and 'float'",
    "IndexError: index 10 is out of bounds for axis 1 with size 10",
    "AttributeError: module 'tensorflow' has no attribute 'foo'",
    "AttributeError: module 'numpy' has no attribute 'foo'",
    "AttributeError: 'History' object has no attribute 'predict'",
    "bash: Inappropriate ioctl for device",
    "interrupted",
    "No matching distribution found for tensorflow-text",
    "the TPU was initialized; module 'numpy' has no attribute 'get_library_path'",
    "the file is killed by nobody; it was not found; 137 images are wrong",
    "wrote model.onnx: opset 17, IR version 8; Windows, macOS and Linux read it",
]
ON_A_GPU = """\
2024-08-23 09:12:01.100000: I tensorflow/core/util/port.cc:153] oneDNN custom operations are on. You may see slightly
WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
E0000 00:00:1724404321.1 99 cuda_dnn.cc:8310] Unable to register cuDNN factory: Attempting to register factory for
plugin cuDNN when one has already been registered
W tensorflow/compiler/tf2tensorrt/utils/py_utils.cc:38] TF-TRT Warning: Could not find TensorRT
I cuda_executor.cc:1015] successful NUMA node read from SysFS had negative value (-1), but there must be at least one
W gpu/asm_compiler.cc:231] You are using ptxas 11.0.194, but compilation requires at least 11.1
E cuda_dnn.cc:522] Loaded runtime CuDNN library: 8.9.6 but source was compiled with: 9.1.0.
  File "/home/ada/cnn.py", line 41, in <module>
tensorflow.python.framework.errors_impl.UnimplementedError: Graph execution error: DNN library is not found.
"""
AT_A_PROXY = """\
WARNING: Retrying (Retry(total=4)) after connection broken by 'SSLError(SSLCertVerificationError(1, '[SSL:
CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate in certificate chain (_ssl.c:1006)'))'
ERROR: Could not find a version that satisfies the requirement tensorflow>=2.18 (from versions: none)
ERROR: No matching distribution found for tensorflow>=2.18
"""
SEVERAL = [  # a paste, the failures in it, the most causal first
    (
        ON_A_GPU,
        ["cudnn-older-than-built-for", "cudnn-not-started", "ptxas-old", "onednn-notice", "log-notice"]
        + ["cuda-factory-notice", "tensorrt-notice", "numa-notice"],
    ),
    (AT_A_PROXY, ["no-network", "certificate-not-verified", "no-wheel-for-this-python"]),
    (
        "WARNING:tensorflow:TensorFlow GPU support is not available on native Windows for TensorFlow >= 2.11.\n"
        "Epoch 1/5\nloss: nan\nOSError: [Errno 28] No space left on device: 'C:\\\\runs\\\\a'",
        ["disk-full", "windows-gpu", "wrong-numbers"],
    ),
    (
        "Could not find cuda drivers on your machine, GPU will not be used.\nThis TensorFlow binary is optimized to\n"
        "ConnectionRefusedError: [Errno 111] Connection refused\ncoordinator: DEADLINE_EXCEEDED: Barrier timed out",
        ["worker-unreachable", "workers-waited-too-long", "gpu-libraries-missing", "cpu-features-notice"],
    ),
]


def names(rows):
    return [row.name for row in rows]


@pytest.mark.parametrize("name", PASTED)
def test_a_known_failure_is_found_as_itself_alone(name):
    for text in PASTED[name]:
        noisy = f"{BEFORE}{text}{AFTER}"
        broken = noisy.replace(" ", "\n")  # as a narrow terminal breaks it
        coloured = re.sub(r"(\w+Error|\w+Warning): ", "\x1b[0;31m\\1\x1b[0m: ", noisy)
        typeset = re.sub(r"'([^'\n]*)'", "‘\\1’", noisy).replace("\n", "\r\n")  # as a web page or Word shows it
        for pasted in (text, noisy, broken, coloured, typeset):
            assert names(known_failures.explain(pasted)) == [name], pasted


@pytest.mark.parametrize("text, expected", SEVERAL)
def test_of_several_failures_the_most_causal_comes_first(text, expected):
    assert names(known_failures.explain(text)) == expected


@pytest.mark.parametrize("text", [*ORDINARY, "\n".join(ORDINARY), ""])
def test_ordinary_text_is_no_failure(text):
    assert known_failures.explain(text) == []


def test_what_the_programs_print_is_no_failure():
    pages = [*ROOT.glob("*.md"), *ROOT.glob("mnist_mlp/**/*.md")]
    shown = [block for page in pages for block in re.findall(r"```text\n(.*?)```", page.read_text("utf-8"), re.DOTALL)]
    calm = [block for block in shown if "--explain" not in block]
    assert len(calm) > 20
    for block in calm:
        assert known_failures.explain(block) == [], block


def test_every_failure_is_complete_and_each_of_its_patterns_is_needed():
    assert set(known_failures.GROUP_OF) == set(PASTED) and set(known_failures.IRRELEVANT_ON_CPU) <= set(PASTED)
    assert len(PASTED) >= 90
    for row, patterns in known_failures.compiled():
        assert row.meaning and row.fix and row.level in ("error", "warning", "harmless")
        for program in re.findall(r"mnist_mlp\.(\w+)", row.fix):
            assert importlib.util.find_spec(f"mnist_mlp.{program}"), row.fix
        assert len(row.meaning) <= 240 and len(row.fix) <= 360 and "TODO" not in row.fix
        for source in row.source.split(", "):
            assert re.fullmatch(
                r"(tensorflow|keras|jax|colabtools|[\w.-]+/[\w.-]+)#\d+|(jax|tensorflow)/[\w/]+\.py|[\w-]+(\.[\w-]+)+/\S+"
                r"|observed in this project",
                source,
            ), source
        plain = [known_failures.plain(text) for text in PASTED[row.name]]
        for _, pattern in patterns:
            others = [other for _, other in patterns if other is not pattern]
            assert any(pattern.search(text) and not any(other.search(text) for other in others) for text in plain), (
                pattern.pattern
            )


def test_all_but_a_few_failures_have_a_public_source():
    assert len([row for row in known_failures.SYMPTOMS if row.source == "observed in this project"]) <= 4


@pytest.mark.parametrize(
    "piece",
    ["accuracy: ", "No module named  ", "\x1b[" + "1;" * 50, "Unable to initialize backend 'tpu' ", "failed call to "],
)
def test_a_long_text_takes_no_long_time(piece):
    began = time.process_time()
    assert known_failures.explain(piece * (300_000 // len(piece))) == []
    assert time.process_time() - began < 3


def test_explain_prints_meaning_fix_and_source(capsys):
    assert exit_code(doctor.main, "--explain", "libtpu.so already in use\nNo module named 'importlib_resources'") == 0
    text = capsys.readouterr().out
    assert text.index("tpu-in-use (TPU)") < text.index("importlib-resources-missing (packages)")
    assert "do      run pip install importlib_resources" in text and "jax#10192" in text
    assert exit_code(doctor.main, "--explain=ioctl failed", "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)["problems"]
    assert row["name"] == "tpu-in-use" and row["fix"] and row["where"] == ""
    assert (row["group"], row["level"]) == ("TPU", "error")


def test_explain_says_what_is_harmless(capsys):
    assert exit_code(doctor.main, "--explain", ON_A_GPU) == 0
    labels = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line[:1].strip() or line[:3] == "  !"]
    assert labels == ["!", "!", "warning", *["harmless"] * 5]


@pytest.mark.parametrize(
    "text, words", [("what is this? \x1b[2J", "no known failure matches"), (" \n", "received nothing")]
)
def test_explain_refuses_what_it_does_not_know(text, words, capsys):
    with pytest.raises(UserError, match=words) as caught:
        doctor.main([f"--explain={text}"])
    assert str(caught.value).isprintable() and capsys.readouterr().out == ""
    assert exit_code(doctor.main, f"--explain={text}x", "--json") == 2
    assert json.loads(capsys.readouterr().out) == {"problems": []}


@pytest.mark.parametrize(
    "text, name",
    [
        ("cuDNN handle could not be made: CUDNN_STATUS_MAPPING_ERROR", "cudnn-not-started"),
        ("OSError: truncated HDF5 signature in weights", "model-file-damaged"),
        ("onnxruntime: the feed lacks an input of that name", "onnx-input-name"),
        ("sqlite3.OperationalError: database disk image is malformed", "study-locked"),
    ],
)
def test_of_what_it_does_not_know_explain_shows_the_likeliest_three(text, name, capsys):
    similar = names(known_failures.likeliest(text))
    assert name in similar and len(similar) == len(set(similar)) <= 3
    with pytest.raises(UserError, match=r"share words? with it|shares words with it") as caught:
        doctor.main([f"--explain={text}"])
    shown = capsys.readouterr().out
    assert [line.split()[1] for line in shown.splitlines() if line.startswith("  ?")] == similar
    assert "python -m mnist_mlp.doctor to check this machine" in str(caught.value) and "would mean" in shown


def test_explain_reads_standard_input(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "LONGEST", 20_000)
    text = b"\xff\x00" + b"a log line\n" * 4000 + b"\x1b[31mThe TPU is already in use\x1b[0m by process with pid 1\n"
    assert len(text) > doctor.LONGEST
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert exit_code(doctor.main, "--explain=-") == 0 and "tpu-in-use" in capsys.readouterr().out
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UserError, match="closed"):
        doctor.main(["--explain=-"])
