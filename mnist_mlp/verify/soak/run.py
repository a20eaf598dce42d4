"""Soak all devices at once, each in a process of its own, and replace those that die or hang."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mnist_mlp.cli import signals
from mnist_mlp.cli.child_process import Child
from mnist_mlp.cli.terminal import Reporter
from mnist_mlp.devices.machine import detect
from mnist_mlp.verify.context import Context
from mnist_mlp.verify.findings import Finding
from mnist_mlp.verify.soak import placement
from mnist_mlp.verify.soak.placement import Slot
from mnist_mlp.verify.soak.tally import Account, Tally, duration, missing_flags
from mnist_mlp.verify.soak.worker import request_of

WORKER = "mnist_mlp.verify.soak.worker"
POLL = 0.2  # seconds
START = 600.0  # seconds for a framework's start and the first repetition, besides the start of the device
SILENCE = 120.0  # seconds after which a process hangs; longer if its repetitions are
FAILED_STARTS = 2  # in a row, after which a device is given up
GRACE = 60.0  # seconds after the time is up for a device that has not repeated anything
PARTING = 5.0  # seconds for the repetition at the end


def soak(context: Context, seconds: float, reporter: Reporter) -> Finding:
    """Soak the devices of a verification for `seconds`, counted from the first repetition.

    Ctrl-C and SIGTERM end it: the finding is then about what was done so far. Raise `UserError` if there is no such
    device.
    """
    plan = context.plan
    cores, memory = placement.usable_cores(), placement.free_memory()
    slots = placement.slots(plan, detect(), context.device, cores, memory)
    directory = context.work / "soak"
    directory.mkdir(exist_ok=True)
    tally = Tally([Account(slot.name, slot.kind) for slot in slots])
    with signals.requests() as stop, Fleet(slots, tally, context, directory, reporter) as fleet:
        while fleet.processes and not stop and not fleet.over(seconds):
            fleet.listen()
            fleet.replace()
            fleet.show(seconds)
        fleet.part()
        tally.interrupted = stop.word if stop else ""
        flags = missing_flags(plan.backend, slots[0].kind, os.environ)
        return tally.finding(seconds, fleet.seconds, flags)


class Process:
    """A process that soaks a device, seen from here."""

    def __init__(self, slot: Slot, account: Account, seed: int, directory: Path):
        self.slot, self.account = slot, account
        account.starts += 1
        account.in_start, account.device = 0, ""
        self.references = directory / f"{slot.index}-{account.starts}.npz"
        self.descriptor, theirs = os.pipe()
        os.set_blocking(self.descriptor, False)
        environment = {"OPENBLAS_NUM_THREADS": "1", **os.environ, **slot.environment}
        arguments = ["-m", WORKER, str(theirs), request_of(slot, seed, self.references)]
        try:
            self.child = Child(arguments, environment, pass_fds=[theirs])
        finally:
            os.close(theirs)
        self.text = b""
        self.silent = False  # it has closed its end of the pipe
        self.heard = time.monotonic()
        self.began: float | None = None  # the first repetition
        self.longest = 0.0  # seconds of a repetition
        self.child_error = ""  # its last line on standard error, once it has ended

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield what the process has told since the last time."""
        with contextlib.suppress(BlockingIOError):
            while part := os.read(self.descriptor, 2**16):
                self.heard = time.monotonic()
                self.text += part
            self.silent = True
        *lines, self.text = self.text.split(b"\n")
        for line in lines:
            event: dict[str, Any] = json.loads(line)
            if event["event"] == "repetition":
                self.longest = max(self.longest, event["seconds"])
                if self.began is None:
                    self.began = time.monotonic() - event["seconds"]
            yield event

    def outcome(self, patience: float) -> str:
        """Return how the process ended, or that it hangs; "" if it lives."""
        if self.silent:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(POLL)
                return self.child.outcome
        limit = patience if self.began is None else max(SILENCE, 20 * self.longest)
        silence = time.monotonic() - self.heard
        return f"was silent for {silence:.0f} s and was killed" if silence > limit else ""

    def tell_to_stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.child.process.send_signal(signal.SIGTERM)

    def close(self) -> None:
        self.child.__exit__(None, None, None)
        os.close(self.descriptor)


class Fleet:
    """All processes of a soak. Used in a `with`, none is left at the end of the block."""

    def __init__(self, slots: list[Slot], tally: Tally, context: Context, directory: Path, reporter: Reporter):
        self.tally, self.context, self.directory, self.reporter = tally, context, directory, reporter
        self.failed_starts = dict.fromkeys((slot.name for slot in slots), 0)
        self.processes: list[Process] = []
        self.began: float | None = None  # the first repetition of all
        self.ended: float | None = None
        self.shown = float("-inf")
        self.asked: dict[Any, tuple[Path, Path]] = {}  # digests of two devices: the files that these are to write
        for slot, account in zip(slots, tally.accounts, strict=True):
            self.start(slot, account)

    def start(self, slot: Slot, account: Account) -> None:
        self.processes.append(Process(slot, account, self.context.seed, self.directory))

    @property
    def seconds(self) -> float:
        if self.began is None:
            return 0.0
        return (self.ended or time.monotonic()) - self.began

    def over(self, seconds: float) -> bool:
        """Return whether the time is up, and, if need be a little later, each device has compared something."""
        compared = all(account.compared or account.given_up or account.varies for account in self.tally.accounts)
        return self.seconds >= seconds + (0 if compared else GRACE)

    def listen(self) -> None:
        """Wait a little for what the processes tell, and note it."""
        select.select([process.descriptor for process in self.processes if not process.silent], [], [], POLL)
        for process in self.processes:
            for event in process.events():
                self.report(self.tally.add(process.account, event))
            if process.began is not None:
                self.began = process.began if self.began is None else min(self.began, process.began)
        self.compare_references()

    def report(self, lines: list[str]) -> None:
        for line in lines:
            self.reporter.line(line)

    def replace(self) -> None:
        """Note the processes that have ended or hang, and start others for their devices."""
        for process in list(self.processes):
            outcome = process.outcome(START + self.context.device["start_timeout"])
            if not outcome:
                continue
            account, code = process.account, process.child.returncode
            self.retire(process)
            if account.varies:
                continue
            printed = process.child_error
            if code == 2 and process.began is None:  # an error that the same command would have again
                account.given_up = printed
                self.report([f"✗ {time.strftime('%H:%M:%S')}  {account.name}: {printed}"])
                continue
            self.report(self.tally.end(account, outcome))
            failed = self.failed_starts[account.name] + 1 if process.began is None else 0
            self.failed_starts[account.name] = failed
            if failed < FAILED_STARTS:
                self.start(process.slot, account)
            else:
                account.given_up = f"{failed} starts in a row failed, it is left out"

    def retire(self, process: Process) -> None:
        """Close a process that has ended, or kill it."""
        process.child_error = (process.child.stderr.strip().splitlines() or [""])[-1].removeprefix("error: ")
        if process.began is not None:
            process.account.alive += process.heard - process.began
        self.processes.remove(process)
        process.close()

    def compare_references(self) -> None:
        """Have two devices with different results write them, and look where they differ."""
        from mnist_mlp.verify.soak.references import first_difference

        for found in self.tally.disagreements():
            if found.difference:
                continue
            if found.pair not in self.asked:
                at = {process.account.name: process for process in self.processes}
                if found.right.name in at and found.wrong.name in at:
                    self.asked[found.pair] = at[found.right.name].references, at[found.wrong.name].references
                    for file in self.asked[found.pair]:
                        if not file.exists():
                            file.with_suffix(".wanted").touch()
            elif all(file.exists() for file in self.asked[found.pair]):
                self.tally.located[found.pair] = first_difference(*self.asked[found.pair])
                self.report(self.tally.news())

    def show(self, seconds: float) -> None:
        """Show about once a second how far the soak is."""
        if time.monotonic() - self.shown < 1:
            return
        self.shown = time.monotonic()
        if self.began is None:
            self.reporter.progress(f"soak: starting {len(self.processes)} processes")
        else:
            self.reporter.progress(f"soak of {duration(seconds)}: {self.tally.figure(self.seconds)}")

    def part(self) -> None:
        """Let the processes end, and note what they tell until then."""
        self.ended = time.monotonic()
        for process in self.processes:
            process.tell_to_stop()
        while any(not process.silent for process in self.processes) and time.monotonic() - self.ended < PARTING:
            self.listen()
        for process in list(self.processes):
            self.retire(process)

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *error: object) -> None:
        for process in self.processes:
            process.close()
