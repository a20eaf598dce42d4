"""`mnist-mlp completion bash`, in a real bash."""

import os
import pty
import select
import shutil
import subprocess
import time

import pytest
from helpers.programs import door

BASH = shutil.which("bash")
pytestmark = pytest.mark.skipif(BASH is None, reason="no bash")


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    done = door("completion", "bash")
    assert done.returncode == 0, done.stderr
    file = tmp_path_factory.mktemp("completion") / "mnist-mlp"
    file.write_text(done.stdout)
    return file


@pytest.mark.parametrize(
    "words, expected",
    [
        ("ev", "evaluate"),
        ("lab.p", "lab.playground"),
        ("train --mo", "--model="),
        ("train --jso", "--json"),
        ("train --model = mlp_d", "mlp_dropout"),
        ("train --model so", "softmax"),
        ("train --engine =", "compiled fit"),
        ("evaluate --strategy = m", "mirrored"),  # train would have two
        ("train --strategy = m", "mirrored multiworker"),
        ("parity --against = n", ""),  # names of files, by bash itself
        ("train --seed = 1", ""),
    ],
)
def test_what_is_proposed(words, expected, script):
    """As bash calls the function: it makes a word of its own of each =."""
    code = 'source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _mnist_mlp 2>/dev/null; echo "${COMPREPLY[*]}"'
    done = subprocess.run([BASH, "-c", code, script, "mnist-mlp", *words.split()], capture_output=True, text=True)
    assert done.stdout == expected + "\n"


@pytest.mark.slow
def test_the_tab_key(script):
    terminal, bash_end = pty.openpty()
    environment = {"PATH": os.environ["PATH"], "TERM": "dumb", "PS1": "> "}
    options = ["--norc", "--noprofile", "-i"]
    shell = subprocess.Popen([BASH, *options], stdin=bash_end, stdout=bash_end, stderr=bash_end, env=environment)
    os.close(bash_end)
    os.write(terminal, f"mnist-mlp() {{ echo called with $*.; }}; source {script}\n".encode())
    os.write(terminal, b"mnist-mlp par\t--stra\tgp\t --js\t\n")
    printed, deadline = "", time.monotonic() + 20
    while "called with parity" not in printed and time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.5)[0]:
            printed += os.read(terminal, 65536).decode()
    shell.kill()
    shell.wait()
    os.close(terminal)
    assert "called with parity --strategy=gpu --json." in printed
