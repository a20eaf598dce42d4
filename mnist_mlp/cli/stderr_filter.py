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

PATTERNS = (
    rb"I\d{4} ",  # absl's prefix of an INFO message
    rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: I ",  # the same in older TensorFlow
    rb"WARNING: All log messages before absl::InitializeLog\(\) is called",
    rb"\[Gloo\] Rank \d+ is connected to ",
    rb"To enable the following instructions: ",  # second line of an INFO message
    rb".*Unable to register cu(FFT|DNN|BLAS) factory",  # tensorflow#62075: harmless, every GPU wheel
    rb".*computation placer already registered",
    # Of kept_programs.py: first read as text; and LLVM's preferences at compiling, which are no instructions.
    rb".*Error parsing text-format tensorflow\.XlaSerializedCacheEntry: ",
    rb".*Target machine feature \+prefer-no-(gather|scatter) is not +supported on the host machine",
    # No CUDA library, or all GPUs hidden. Where a GPU was asked for, engine/tensorflow.py says it in plain words.
    rb".*failed call to cuInit: .*(UNKNOWN ERROR \(303\)|CUDA_ERROR_NO_DEVICE)",
)
CHATTER = re.compile(b"|".join(PATTERNS))


def silence() -> None:
    """Filters what this process writes to descriptor 2 from now on; Python's own `sys.stderr` goes past the filter.

    Does nothing if the user asked for TensorFlow's messages with TF_CPP_MIN_LOG_LEVEL=0, nor without `fork`.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0" or not hasattr(os, "fork"):
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")  # no INFO, once TensorFlow has read it
    sys.stderr.flush()
    terminal = os.dup(2)
    reader, writer = os.pipe()
    signals = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # the child keeps them blocked: it ends with the pipe
    if os.fork() == 0:
        try:
            os.close(writer)
            filter_lines(reader, terminal)
        finally:
            os._exit(0)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    os.close(reader)
    os.dup2(writer, 2)
    os.close(writer)
    encoding = sys.stderr.encoding
    sys.stderr = os.fdopen(terminal, "w", buffering=1, encoding=encoding, errors="backslashreplace")


def keep_standard_output() -> None:
    """From now on only Python's `sys.stdout` reaches standard output; what C++ code writes there goes to descriptor 2.

    Gloo, through which JAX's workers talk, greets on standard output, where a JSON object may be awaited.
    """
    sys.stdout.flush()
    ours = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = os.fdopen(ours, "w", encoding=sys.stdout.encoding, errors="backslashreplace")


def filter_lines(reader: int, writer: int) -> None:
    """Copies the lines from one descriptor to another, without the chatter, until there are no more."""
    rest = b""
    while received := os.read(reader, 65536):
        *lines, rest = (rest + received).split(b"\n")
        for line in lines:
            if not CHATTER.match(line):
                write(writer, line + b"\n")
    if not CHATTER.match(rest):
        write(writer, rest)


def write(descriptor: int, data: bytes) -> None:
    """Writes all of it."""
    while data:
        data = data[os.write(descriptor, data) :]
