"""What takes the place of the process of a run, for tests of the queue: it obeys commands and trains nothing.

python live_stand_in.py FOLDER DESCRIPTOR
"""

import os
import signal
import sys
import time
from pathlib import Path

from mnist_mlp.errors import UserError
from mnist_mlp.files import lock
from mnist_mlp.lab.live.training.events import EventLog
from mnist_mlp.lab.live.training.observing import Commands

STEPS = 50


def main(folder, descriptor):
    commands = Commands(descriptor)
    with lock.held(folder), EventLog(folder / "events.jsonl", folder.name) as log:
        log.write("state", state="starting")
        log.write("begin", step=0, steps=STEPS, history=[], network="mlp")
        log.write("state", state="training", step=0)
        step = 0
        while step < STEPS:
            step += 1
            log.write("step", epoch=1, step=step, loss=1 / step, accuracy=0.5, images=32, seconds=0.03)
            for command in commands.received(0.03):
                if command["do"] == "stop":
                    log.write("state", state="stopped", message="stopped on request")
                    return 75
                if command["do"] == "rate" and command["learning_rate"] == 666:
                    os.kill(os.getpid(), signal.SIGKILL)
                if command["do"] == "rate" and command["learning_rate"] == 2:
                    raise UserError(f"error: cannot read {folder}")
                log.write("rate", step=step, to=command.get("learning_rate"))
            if commands.closed:
                log.write("state", state="stopped", message="stopped, because the server ended")
                return 75
        time.sleep(0.1)
        log.write("state", state="finished")
        return 0


if __name__ == "__main__":
    try:
        sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
