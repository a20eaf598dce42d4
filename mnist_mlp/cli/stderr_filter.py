"""Filter TensorFlow's C++ log noise from stderr.

TensorFlow logs before it reads TF_CPP_MIN_LOG_LEVEL (tensorflow#100442), directly to file descriptor 2, which Python's
logging does not control. So descriptor 2 becomes a pipe to a small child process that drops known noise and passes
everything else on. It is a child, not a thread, so that the last message of a process that aborts gets through.
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
    # Of the compilation cache: TensorFlow first tries to read an entry as text, and LLVM lists tuning preferences.
    rb".*Error parsing text-format tensorflow\.XlaSerializedCacheEntry: ",
    rb".*Target machine feature \+prefer-no-(gather|scatter) is not +supported on the host machine",
    # No CUDA library, or all GPUs hidden. If a GPU was requested, engine/tensorflow/devices.py reports that.
    rb".*failed call to cuInit: .*(UNKNOWN ERROR \(303\)|CUDA_ERROR_NO_DEVICE)",
)
NOISE = re.compile(b"|".join(PATTERNS))

# JAX aborts a worker that misses another one before an exception can reach Python (a callback of its own for this
# cannot be written in Python: std::bad_cast). Then its C++ stack is replaced by what to do.
LOST_WORKER = re.compile(rb"F\d{4} .*the JAX distributed service detected fatal errors")
STACK = re.compile(rb"\*\*\* Check failure stack trace|    @ +0x")
WHAT_TO_DO = (
    b"error: --strategy=multiworker: lost the connection to another worker; restart all workers with --resume\n"
)


def silence() -> None:
    """Filter what this process writes to descriptor 2 from now on. Python's own `sys.stderr` bypasses the filter.

    Does nothing if the user requests TensorFlow's messages with TF_CPP_MIN_LOG_LEVEL=0, or without `fork`.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0" or not hasattr(os, "fork"):
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")  # no INFO once TensorFlow has read it
    sys.stderr.flush()
    terminal = os.dup(2)
    reader, writer = os.pipe()
    signals = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # the child keeps them blocked and ends with the pipe
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
    """Redirect what C++ code writes to standard output to descriptor 2; only Python's `sys.stdout` still writes there.

    Gloo, which connects JAX's workers, logs to standard output, where a script may expect one JSON object.
    """
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = os.fdopen(stdout, "w", encoding=sys.stdout.encoding, errors="backslashreplace")


def filter_lines(reader: int, writer: int) -> None:
    """Copy lines from one descriptor to another, without the noise, until the end."""
    rest, lost = b"", False
    while received := os.read(reader, 65536):
        *lines, rest = (rest + received).split(b"\n")
        for line in lines:
            lost = lost or bool(LOST_WORKER.match(line))
            if lost and STACK.match(line):
                write(writer, WHAT_TO_DO if line.startswith(b"*") else b"")  # once, for the first line of the stack
            elif not NOISE.match(line):
                write(writer, line + b"\n")
    if not NOISE.match(rest):
        write(writer, rest)


def write(descriptor: int, data: bytes) -> None:
    """Write all of the data."""
    while data:
        data = data[os.write(descriptor, data) :]
