"""The runs of the room: one process each that trains, one at a time unless more are wanted, the others in a queue.

Everything that must outlast this server is in files (see `orders`): another server finds the same runs there, and those
that were under way can be resumed. Use a `Runner` on one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mnist_mlp.cli.child_process import outcome_of, with_this_package
from mnist_mlp.config import Config, differing
from mnist_mlp.errors import UserError
from mnist_mlp.files import lock
from mnist_mlp.lab.live.training import events, orders
from mnist_mlp.lab.live.training.redaction import without_paths
from mnist_mlp.lab.live.training.tail import Tail
from mnist_mlp.lab.live.training.watching import WATCHERS
from mnist_mlp.serve.limits import Refused

IN_VIEW = 6  # runs that are shown, and so at most that many under way and in the queue
HIDDEN = "hidden"  # a file in the folder of a run that is not shown any more
LOOK, IDLE = 0.1, 0.5  # seconds between two reads of the events: with watchers, and without
LONGEST_END = 60.0  # seconds that the end of the server waits for a run to be saved
ENDED = ("stopped", "finished", "failed")
COMMANDS = ("pause", "go_on", "stop", "rate", "digit", "hide")
OUTPUT = 2000  # bytes of the end of what a process printed, for the message if it wrote no event


@dataclasses.dataclass
class LiveRun:
    """A run, as this server knows it. `state`: queued, starting, training, paused, or one of ENDED."""

    folder: Path
    config: Config
    ordered: float  # seconds since 1970
    tail: Tail
    state: str = "queued"
    message: str = ""
    process: subprocess.Popen | None = None
    commands: int = -1  # the pipe to the process
    started_at: int = 0  # identity of the last event before the process
    elsewhere: bool = False  # whether a process of a former server is still ending

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def active(self) -> bool:
        """Whether a process trains it, or is to."""
        return self.process is not None or self.elsewhere or self.state == "queued"

    def standing(self) -> dict[str, Any]:
        """Return how it stands, without what its events tell."""
        given, own = self.config.to_dict(), Config().to_dict()
        return {
            "run": self.name,
            "state": self.state,
            "message": self.message,
            "ordered": self.ordered,
            "goes_on": self.state == "stopped" and not self.active,
            "options": {name: given[name] for name in orders.FROM_A_PAGE if given[name] != own[name]},
        }

    def summary(self) -> dict[str, Any]:
        """Return all that a list of runs shows."""
        last = self.tail.last
        began, point, row = last.get("begin", {}), last.get("step", {}), last.get("epoch", {})
        result = last.get("result", {}).get("result", {}) if self.state == "finished" else {}
        keys = ("correct", "total", "accuracy", "interval", "loss")
        return {
            **self.standing(),
            "step": max((event.get("step", 0) for event in (began, point, row)), default=0),
            **{name: began.get(name) for name in ("steps", "epochs", "network", "parameters", "backend", "device")},
            "dataset": began.get("dataset", {}).get("name"),
            **{name: point.get(name) for name in ("epoch", "loss", "accuracy", "images_per_second", "learning_rate")},
            "test": {key: result["test"][key] for key in keys} if result else None,
        }

    def update(self) -> bool:
        """Read the new events. Return whether there were any."""
        found = self.tail.read()
        if self.tail.newest.get("state", 0) > self.started_at:
            last = self.tail.last["state"]
            self.state, self.message = last["state"], last.get("message", "")
        return found

    def send(self, **command: Any) -> None:
        """Send a command to the process. Raise `Refused` if it has too many to do."""
        try:
            os.write(self.commands, events.as_line(command))
        except BlockingIOError:
            raise Refused(429, "too many commands are waiting for this run; try again in a second") from None
        except BrokenPipeError:
            raise Refused(409, "this run is just ending; look again in a second") from None

    def printed(self) -> str:
        """Return the last line that the process printed."""
        with contextlib.suppress(OSError), open(self.folder / orders.OUTPUT, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - OUTPUT))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
            return lines[-1].removeprefix("error: ") if lines else ""
        return ""


class Runner:
    """Starts, steers and lists the runs in the directory `room`, which it locks until `close`.

    Raises `UserError` if the directory cannot be used, or another server uses it.

    `at_once` runs train at the same time. `operator` are options that every run has and no page can set, such as
    `data_dir`.
    """

    def __init__(self, room: Path, *, at_once: int = 1, **operator: Any):
        self.room, self.at_once, self.operator = room, at_once, operator
        orders.config_of({}, **operator)  # wrong ones are reported at once
        try:
            room.mkdir(parents=True, exist_ok=True)
            found = orders.folders(room)
        except OSError as error:
            raise UserError(f"{room}: expected a directory for the runs, received: {error.strerror}") from None
        self.open = contextlib.ExitStack()
        self.open.enter_context(lock.held(room, "room"))
        self.runs: dict[str, LiveRun] = {}
        shown = [folder for folder in found if not (folder / HIDDEN).exists()]
        for folder in reversed(shown[:IN_VIEW]):
            self.add_found(folder)
        self.version, self.news = 0, asyncio.Event()
        self.watchers = 0
        self.program = ("-m", f"{__package__}.child")
        self.ticking: asyncio.Task[None] | None = None

    def add_found(self, folder: Path) -> None:
        """Add a run that a former server has left."""
        try:
            config, ordered = orders.read(folder)
        except UserError:
            return  # damaged: whoever runs the server sees it in the directory
        run = LiveRun(folder, config, ordered, Tail(folder / events.NAME), "stopped", "never started")
        run.update()
        run.started_at = run.tail.position  # only what a process that is still ending writes from now on is news
        run.elsewhere = is_held(folder)
        if run.state not in ENDED:
            run.state, run.message = "stopped", "its process ended with a former server"
        self.runs[run.name] = run

    @property
    def secrets(self) -> tuple[str, ...]:
        """The paths that messages may hold."""
        return (str(self.room), str(self.operator.get("data_dir", "")))

    # What a page asks for.

    def in_view(self) -> list[LiveRun]:
        """Return the runs that are shown: all that are active, and the newest others, oldest first."""
        active = [run for run in self.runs.values() if run.active]
        others = [run for run in self.runs.values() if not run.active]
        shown = {run.name for run in [*active, *others[max(0, len(others) - IN_VIEW + len(active)) :]]}
        return [run for run in self.runs.values() if run.name in shown]

    def find(self, name: str) -> LiveRun:
        """Return a run. Raise `Refused` if there is none of that name."""
        if name not in self.runs:
            raise Refused(404, f"no such run: {name[:60]!r}; /training/runs lists them")
        return self.runs[name]

    def order(self, options: Mapping[str, Any]) -> LiveRun:
        """Order a run with these options. Raise `UserError` for wrong ones, and `Refused` if too many are waiting."""
        config = orders.config_of(options, **self.operator)
        self.check_room()
        folder = self.room / orders.new_name()
        folder.mkdir()
        orders.write(folder, config)
        run = LiveRun(folder, config, time.time(), Tail(folder / events.NAME))
        self.runs[run.name] = run
        self.advance()
        return run

    def check_room(self) -> None:
        """Raise `Refused` if no further run can be under way or wait."""
        if sum(run.active for run in self.runs.values()) >= IN_VIEW:
            raise Refused(429, f"expected at most {IN_VIEW} runs under way and in the queue; stop one, or wait")

    def command(self, name: str, body: Mapping[str, Any]) -> LiveRun:
        """Do what a page asks of a run. Raise `Refused` or `UserError`."""
        run, do = self.find(name), body.get("do")
        if do not in COMMANDS:
            raise Refused(400, f"do: expected one of {', '.join(COMMANDS)}; received {str(do)[:40]!r}")
        takes = {"rate": {"learning_rate"}, "digit": {"index"}, "go_on": {"epochs"}}.get(do, set())
        if unknown := sorted(body.keys() - {"do"} - takes):
            raise Refused(400, f"expected {' and '.join(['do', *sorted(takes)])}, received also {unknown[0][:40]!r}")
        getattr(self, f"do_{do}")(run, **{key: value for key, value in body.items() if key != "do"})
        self.announce()
        return run

    def do_pause(self, run: LiveRun) -> None:
        self.expect(run, "starting", "training")
        run.send(do="pause")

    def do_go_on(self, run: LiveRun, epochs: Any = None) -> None:
        """Continue a paused run, or resume one that was stopped, with more epochs if wanted."""
        if run.state == "paused" and run.process is not None and epochs is None:
            run.send(do="go_on")
            return
        self.expect(run, "stopped", *(["finished"] if epochs is not None else ["paused"]))
        if run.process is not None and run.state == "paused":
            raise Refused(409, "expected a run that has ended; its epochs cannot change while it is paused")
        if run.active:
            raise Refused(409, "the former process of this run is still ending; try again in a second")
        self.check_room()
        if epochs is not None:
            run.config = with_epochs(run, epochs)
            orders.write(run.folder, run.config)
        run.state, run.message = "queued", ""
        self.runs[run.name] = self.runs.pop(run.name)  # at the end of the queue
        self.advance()

    def do_stop(self, run: LiveRun) -> None:
        self.expect(run, "queued", "starting", "training", "paused")
        if run.process is None:
            run.state, run.message = "stopped", "taken from the queue"
        elif run.state == "starting":
            run.process.terminate()  # there is nothing to save yet, and it would read its commands late
        else:
            run.send(do="stop")

    def do_rate(self, run: LiveRun, learning_rate: Any = None) -> None:
        self.expect(run, "starting", "training", "paused")
        checked = dataclasses.replace(run.config, learning_rate=learning_rate).learning_rate
        if checked is None:
            raise Refused(400, "learning_rate: expected a number, received none")
        if run.config.schedule != "constant" or run.config.warmup:
            raise Refused(
                409,
                "expected a run with a constant learning rate, that of this one follows a schedule; start another with "
                "--schedule=constant --warmup=0",
            )
        run.send(do="rate", learning_rate=checked)

    def do_digit(self, run: LiveRun, index: Any = None) -> None:
        self.expect(run, "starting", "training", "paused")
        if type(index) is not int or not 0 <= index < 10**7:
            raise Refused(400, f"index: expected the number of an image, from 0 on, received {str(index)[:40]!r}")
        run.send(do="digit", index=index)

    def do_hide(self, run: LiveRun) -> None:
        """Show a run no longer; its files stay."""
        if run.active:
            raise Refused(409, f"this run is {run.state}; stop it first")
        (run.folder / HIDDEN).touch()
        del self.runs[run.name]

    def expect(self, run: LiveRun, *states: str) -> None:
        """Raise `Refused` for a run in another state."""
        alive = run.process is not None or run.state in ("queued", *ENDED)
        if run.state not in states or not alive:
            raise Refused(409, f"expected a run that is {' or '.join(dict.fromkeys(states))}, this one is {run.state}")

    # Processes.

    def advance(self) -> None:
        """Start what is next in the queue, as far as it may, and see to what runs."""
        for run in list(self.runs.values()):
            busy = sum(other.process is not None or other.elsewhere for other in self.runs.values())
            if run.state == "queued" and busy < self.at_once:
                self.start(run)
        self.announce()
        self.see_to_runs()

    def start(self, run: LiveRun) -> None:
        """Start the process of a run."""
        run.tail.read()
        run.started_at, run.state, run.message = run.tail.position, "starting", ""
        reading, run.commands = os.pipe()
        os.set_blocking(run.commands, False)
        with open(run.folder / orders.OUTPUT, "ab") as output:
            run.process = subprocess.Popen(
                [sys.executable, *self.program, str(run.folder), str(reading)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=with_this_package(os.environ),
                pass_fds=[reading],
                start_new_session=True,  # Ctrl-C is for the server; the process stops when its pipe closes
            )
        os.close(reading)

    def see_to_runs(self) -> None:
        """Read events and end processes from now on, as long as there are any."""
        if self.ticking is None or self.ticking.done():
            self.ticking = asyncio.get_running_loop().create_task(self.tick())

    async def tick(self) -> None:
        while busy := [run for run in self.runs.values() if run.process is not None or run.elsewhere]:
            for run in busy:
                if run.update():
                    self.announce()
                if run.process is not None and run.process.poll() is not None:
                    self.ended(run, run.process.returncode)
                if run.elsewhere and not is_held(run.folder):
                    run.elsewhere = False
                    self.advance()
            await asyncio.sleep(LOOK if self.watchers else IDLE)

    def ended(self, run: LiveRun, code: int) -> None:
        """Note that the process of a run has ended, and start the next one."""
        run.update()
        os.close(run.commands)
        run.process, run.commands = None, -1
        if run.state not in ENDED:  # it wrote no event about its end
            if code in (2, 1):
                run.state, run.message = "failed", without_paths(run.printed(), self.secrets)
            else:
                run.state, run.message = "stopped", f"its process {outcome_of(code)}"
        self.advance()

    def close(self) -> None:
        """Let the runs that are under way stop by themselves, saved: their pipes close."""
        for run in self.runs.values():
            if run.process is not None:
                os.close(run.commands)
                with contextlib.suppress(subprocess.TimeoutExpired):  # it ends later, by itself
                    run.process.wait(LONGEST_END)
                run.process, run.commands = None, -1
        self.open.close()

    # Watchers.

    def announce(self) -> None:
        """Wake everybody who waits for news."""
        self.version += 1
        before, self.news = self.news, asyncio.Event()
        before.set()

    async def changed(self, version: int, seconds: float) -> bool:
        """Wait up to `seconds` for news since `version`. Return whether there is any."""
        if version == self.version:
            # Not wait_for: before Python 3.12 it drops a cancellation that comes together with the news.
            waiting = asyncio.ensure_future(self.news.wait())
            try:
                await asyncio.wait({waiting}, timeout=seconds)
            finally:
                waiting.cancel()
        return version != self.version

    def check_watchers(self) -> None:
        """Raise `Refused` if there are too many already."""
        if self.watchers >= WATCHERS:
            raise Refused(429, f"expected at most {WATCHERS} watchers at once; try again in a second")

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Count a watcher within the block."""
        self.watchers += 1
        self.see_to_runs()
        try:
            yield
        finally:
            self.watchers -= 1


def with_epochs(run: LiveRun, epochs: Any) -> Config:
    """Return the config of a run with more epochs. Raise `UserError` or `Refused`."""
    longer = dataclasses.replace(run.config, epochs=epochs)
    if differing(longer, run.config):
        raise Refused(409, "the learning rate of this run follows its number of epochs, which cannot change any more")
    last = run.tail.last
    rows = [*last.get("begin", {}).get("history", []), last.get("epoch", {}).get("row", {})]
    done = max((row.get("epoch", 0) for row in rows), default=0)
    if longer.epochs <= done:
        raise Refused(409, f"epochs: expected more than the {done:,} that are done, received {longer.epochs:,}")
    return longer


def is_held(folder: Path) -> bool:
    """Whether a process holds the lock of a folder."""
    file = folder / lock.NAME
    with contextlib.suppress(OSError):
        return lock.lives(file.read_text(errors="replace").strip())
    return False
