"""Keeps what TensorFlow's C++ code prints for its developers off the user's terminal.

TensorFlow prints before it reads TF_CPP_MIN_LOG_LEVEL (tensorflow#100442), straight to file descriptor 2, where
Python's logging does not reach. So descriptor 2 becomes a pipe to a small child process that drops the known chatter
and passes everything else on. A child, not a thread: the last words of a process that aborts must come through.
"""

from __future__ import annotations

import os
import re
import signal
import sys

from mnist_mlp.devices import Plan

CHATTER = re.compile(
    rb"I\d{4} "  # absl's prefix of an INFO message
    rb"|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: I "  # the same in older TensorFlow
    rb"|WARNING: All log messages before absl::InitializeLog\(\) is called"
    rb"|To enable the following instructions: "  # second line of an INFO message
    rb"|.*Unable to register cu(FFT|DNN|BLAS) factory"  # tensorflow#62075: harmless, every GPU wheel
    rb"|.*computation placer already registered"
)
NO_DRIVER = re.compile(rb".*failed call to cuInit")  # harmless where no GPU is wanted, news where one is


def silence(plan: Plan) -> None:
    """Filters this process's standard error from now on. Python's own `sys.stderr` is not touched.

    What the GPU's driver says is passed on where a GPU is planned. Does nothing if the user asked for TensorFlow's
    messages by setting TF_CPP_MIN_LOG_LEVEL, nor where there is no `fork`.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ or not hasattr(os, "fork"):
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "1"  # no INFO, once TensorFlow has read it
    sys.stderr.flush()
    terminal = os.dup(2)
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(writer)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends when the pipe does
        filter_lines(reader, terminal, [CHATTER] if plan.strategy == "gpu" else [CHATTER, NO_DRIVER])
        os._exit(0)
    os.close(reader)
    os.dup2(writer, 2)
    os.close(writer)
    sys.stderr = os.fdopen(terminal, "w", buffering=1, errors="backslashreplace")


def filter_lines(reader: int, writer: int, dropped: list[re.Pattern[bytes]]) -> None:
    """Copies lines from one descriptor to another, without those that a pattern begins, until the end."""
    with os.fdopen(reader, "rb", buffering=0) as source:
        for line in source:
            if not any(pattern.match(line) for pattern in dropped):
                os.write(writer, line)
