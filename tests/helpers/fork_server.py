"""Run programs of the package in processes forked from one that has already imported a framework.

A start of Python with TensorFlow takes seconds, a fork milliseconds; the forked process is a real one, with its own
exit code, signals, environment, directory, standard streams and modules of the package.

    run("train", "--preset=smoke", f"--run_dir={path}", backend="tensorflow")    a CompletedProcess
    start("train", …, backend="jax")                                             a Popen
    run_code("print(1)", backend=None)                                           Python code instead of a program

`backend` says what is imported before the fork: Keras on "tensorflow" or on "jax", or (None) NumPy alone; `absent`
names modules whose import fails in the process. Where a variable that is read at that import would differ
(`READ_AT_IMPORT`), and where there is no fork, Python is started anew; so the answer is the same, only later. Tests
that are about the start itself use `subprocess`.
"""

from __future__ import annotations

import atexit
import contextlib
import inspect
import os
import pickle
import select
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
READ_AT_IMPORT = (
    "KERAS_",
    "JAX_",
    "TF_",
    "XLA_",
    "PYTHON",
    "OMP_",
    "OPENBLAS_",
    "ONEDNN_",
    "DNNL_",
    "LD_",
    "LC_",
    "LANG",
)
ANEW = f"""import sys; sys.path.insert(0, {str(ROOT / "tests")!r})
from helpers import fork_server
del sys.path[0]
absent, argv = map(eval, sys.argv[1:])
sys.modules.update(dict.fromkeys(absent))
fork_server.execute(argv)"""
WITHOUT_XLA = "MNIST_MLP_TESTS_WITHOUT_XLA"  # a variable: in a process forked TensorFlow does not compile
QUICKLY = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"  # compiled, not run
_servers: dict[str | None, Server] = {}
_environment: dict[str, str] = {}  # of the servers, which begin when they are first asked


def remember_environment() -> None:
    """Let servers begin with the environment of now, whatever the test changes that asks first."""
    _environment.update(os.environ)


def restore_environment() -> None:
    """Take back what a test has left in the variables that a framework reads: else each later fork starts anew."""
    for name in {*os.environ, *_environment}:
        if name.startswith(READ_AT_IMPORT) and os.environ.get(name) != _environment.get(name):
            os.environ.pop(name, None)
            if name in _environment:
                os.environ[name] = _environment[name]


def with_xla() -> dict[str, str]:
    """The environment for what many tests share: compiled, though the first that asks for it may be `xla(False)`."""
    return {name: value for name, value in os.environ.items() if name != WITHOUT_XLA}


def run(name: str, *argv: object, backend: str | None, **options: Any) -> subprocess.CompletedProcess:
    """`python -m mnist_mlp.NAME ARGV…`, with its output as text; `options` are those of `subprocess.run`."""
    return _finish(["-m", f"mnist_mlp.{name}", *map(str, argv)], backend, options)


def run_code(code: str, *argv: object, backend: str | None, **options: Any) -> subprocess.CompletedProcess:
    """`python -c CODE ARGV…`, with its output as text."""
    return _finish(["-c", code, *map(str, argv)], backend, options)


def start(name: str, *argv: object, backend: str | None, **options: Any) -> subprocess.Popen:
    """`python -m mnist_mlp.NAME ARGV…` in the background; `options` are those of `subprocess.Popen`."""
    return _popen(["-m", f"mnist_mlp.{name}", *map(str, argv)], backend, {"text": True, **options})


def start_code(code: str, *argv: object, backend: str | None, **options: Any) -> subprocess.Popen:
    """`python -c CODE ARGV…` in the background."""
    return _popen(["-c", code, *map(str, argv)], backend, {"text": True, **options})


def _finish(argv: list[str], backend: str | None, options: dict[str, Any]) -> subprocess.CompletedProcess:
    words, timeout = options.pop("input", None), options.pop("timeout", 300)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    pipes["stdin"] = subprocess.DEVNULL if words is None else subprocess.PIPE
    with _popen(argv, backend, {**pipes, **options}) as process:
        try:
            out, err = process.communicate(words, timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def _popen(argv: list[str], backend: str | None, options: dict[str, Any]) -> subprocess.Popen:
    environment = {**(options.pop("env", None) or os.environ), **variables(backend)}
    absent = list(options.pop("absent", ()))
    command = [sys.executable, *argv]
    prepared = [sys.executable, "-c", ANEW, *map(repr, (absent, argv))]
    anew = prepared if absent or WITHOUT_XLA in environment else command
    if not hasattr(os, "fork") or sys.platform == "darwin":  # where a fork of a process with threads is not safe
        return subprocess.Popen(anew, env=environment, **options)
    if backend not in _servers:
        began_with = {**(_environment or os.environ), **variables(backend)}
        _servers[backend] = Server([sys.executable, __file__, backend or ""], began_with)
    if not _servers[backend].fits(environment):
        return subprocess.Popen(anew, env=environment, **options)
    return ForkedPopen(_servers[backend], command, absent, env=environment, **options)


def variables(backend: str | None) -> dict[str, str]:
    """What a run on the CPU sets before it imports the framework."""
    found = {"KERAS_BACKEND": backend} if backend else {}
    return found | ({"JAX_PLATFORMS": "cpu"} if backend == "jax" else {})


class Server:
    """The process that is forked, seen from the one that asks it.

    `command` starts it, and is given the descriptor of the socket on which it must `serve`.
    """

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.environment = environment
        self.socket, theirs = socket.socketpair()
        command = [*command, str(theirs.fileno())]
        self.process = subprocess.Popen(command, env=environment, pass_fds=[theirs.fileno()], cwd=ROOT)
        theirs.close()
        atexit.register(self.socket.close)  # at which the server ends

    def fits(self, environment: dict[str, str]) -> bool:
        """Whether what was read when the server began is what a program with this environment would read."""
        both = self.environment.keys() | environment.keys()
        return all(
            self.environment.get(name) == environment.get(name) for name in both if name.startswith(READ_AT_IMPORT)
        )

    def fork(self, request: dict[str, Any], descriptors: list[int]) -> None:
        message = pickle.dumps(request)
        socket.send_fds(self.socket, [len(message).to_bytes(4, "big")], descriptors)
        self.socket.sendall(message)


class ForkedPopen(subprocess.Popen):
    """A `Popen` whose process is forked by a server, which also tells how it ended."""

    def __init__(self, server: Server, args: list[str], absent: list[str], **options: Any) -> None:
        self._server, self._absent = server, absent
        super().__init__(args, **options)

    def _execute_child(self, *values: Any) -> None:
        asked = dict(zip(list(inspect.signature(subprocess.Popen._execute_child).parameters)[1:], values, strict=True))
        self._status, status = os.pipe()
        streams = [asked["p2cread"], asked["c2pwrite"], asked["errwrite"]]
        streams = [number if stream == -1 else stream for number, stream in enumerate(streams)]
        request = {"argv": asked["args"][1:], "cwd": str(asked["cwd"] or os.getcwd()), "env": asked["env"]}
        request |= {"session": asked["start_new_session"], "absent": self._absent}
        sys.stdout.flush()
        self._server.fork(request, [*streams, status])
        os.close(status)
        self._close_pipe_fds(*(asked[name] for name in _PIPES))
        self.pid = self._heard()
        self._child_created = True

    def _heard(self) -> int:
        """The next number about the process. An empty pipe must be no 0, which would be a success."""
        number = os.read(self._status, 8)
        if len(number) != 8:
            raise ChildProcessError(f"the process that forks {self.args} is gone: it was killed, or memory is short")
        return int.from_bytes(number, "big")

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if wait_flags == os.WNOHANG and not select.select([self._status], [], [], 0)[0]:
            return 0, 0
        try:
            return self.pid, self._heard()
        finally:
            os.close(self._status)

    def _internal_poll(self, *ignored: Any, **also: Any) -> int | None:
        if self.returncode is None and self._waitpid_lock.acquire(False):
            try:
                if self.returncode is None:
                    pid, status = self._try_wait(os.WNOHANG)
                    if pid:
                        self._handle_exitstatus(status)
            finally:
                self._waitpid_lock.release()
        return self.returncode


_PIPES = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")


# The server's own side.


def do_without_xla(replace: Callable[[Any, str, Any], None] = setattr) -> None:
    """Let TensorFlow be as a wheel without its compiler."""
    from mnist_mlp.devices import strategy

    replace(strategy, "has_xla", lambda backend, seen: backend == "jax")


def execute(argv: list[str]) -> None:
    """Do what Python does with these arguments."""
    import runpy

    if WITHOUT_XLA in os.environ:
        do_without_xla()
        os.environ.setdefault("XLA_FLAGS", QUICKLY)  # for JAX, which has no other way
    if argv[0] == "-c":
        sys.argv = ["-c", *argv[2:]]
        exec(compile(argv[1], "<string>", "exec"), {"__name__": "__main__", "__builtins__": __builtins__})
    else:
        sys.argv = argv[1:]
        runpy.run_module(argv[1], run_name="__main__", alter_sys=True)


def serve(connection: socket.socket) -> list[str]:
    """Fork for each request, and return, in the forked process, what it is to run."""
    while True:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        head, descriptors, _, _ = socket.recv_fds(connection, 4, 4)
        if not head:
            os._exit(0)
        size, message = int.from_bytes(head, "big"), b""
        while len(message) < size:
            message += connection.recv(size - len(message))
        if os.fork() == 0:
            connection.close()
            return become(pickle.loads(message), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def become(request: dict[str, Any], stdin: int, stdout: int, stderr: int, status: int) -> list[str]:
    """Turn this fork into the process that was asked for; a second one between tells of its end."""
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    child = os.fork()
    if child:
        for descriptor in (stdin, stdout, stderr):
            os.close(descriptor)
        os.setsid()  # a signal to the group of whoever asked is not for this one
        os.write(status, child.to_bytes(8, "big"))
        with contextlib.suppress(BrokenPipeError):
            os.write(status, os.waitpid(child, 0)[1].to_bytes(8, "big"))
        os._exit(0)
    os.close(status)
    if request["session"]:
        os.setsid()
    for number, descriptor in enumerate((stdin, stdout, stderr)):
        os.dup2(descriptor, number)
    for descriptor in {stdin, stdout, stderr} - {0, 1, 2}:
        os.close(descriptor)
    at_once = 1 if os.isatty(1) or "PYTHONUNBUFFERED" in os.environ else -1
    sys.stdin = sys.__stdin__ = _stream(0, "r", -1, "strict")
    sys.stdout = sys.__stdout__ = _stream(1, "w", at_once, "strict")
    sys.stderr = sys.__stderr__ = _stream(2, "w", 1, "backslashreplace")
    sys.path[0] = ""
    sys.modules.update(dict.fromkeys(request["absent"]))  # type: ignore[arg-type]
    return request["argv"]


def _stream(descriptor: int, mode: str, buffering: int, errors: str) -> Any:
    return open(descriptor, mode, buffering, "utf-8", errors, closefd=False)  # noqa: SIM115 (open to the end)


def import_framework(backend: str) -> None:
    """As the programs of the package import it; their own modules each process imports anew."""
    import numpy.random  # noqa: F401

    if backend:
        finders = list(sys.meta_path)
        from mnist_mlp.cli import load_framework

        load_framework.install()
        with load_framework.importing():
            import keras  # noqa: F401
        sys.meta_path[:] = finders
    for name in [name for name in sys.modules if name.partition(".")[0] == "mnist_mlp"]:
        del sys.modules[name]


def main() -> None:
    backend, descriptor = sys.argv[1:]
    sys.path[0] = ""
    import_framework(backend)
    import gc
    import warnings

    gc.collect()
    gc.freeze()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # JAX warns of forks; nothing has been computed yet
        argv = serve(socket.socket(fileno=int(descriptor)))
    execute(argv)


if __name__ == "__main__":
    main()
