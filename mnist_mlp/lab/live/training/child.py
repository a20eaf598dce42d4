"""The process of one run in the room: `train`, with an observer. It ends with `train`'s exit codes.

    python -m mnist_mlp.lab.live.training.child FOLDER DESCRIPTOR

FOLDER is that of the order (see `orders`), DESCRIPTOR the end of a pipe on which the server sends commands. When the
pipe closes, the server has ended, however it did: the run is saved and this process stops.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports below: a signal ends them without a traceback
    from mnist_mlp.cli.program import start

    start("mnist_mlp.lab.live.training.child")

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from mnist_mlp.cli.terminal import PRINT
from mnist_mlp.errors import Stopped, UserError
from mnist_mlp.files import lock
from mnist_mlp.lab.live.training import events, orders
from mnist_mlp.lab.live.training.observing import Commands, LiveObserver
from mnist_mlp.lab.live.training.redaction import without_paths
from mnist_mlp.train import train_and_evaluate


def main(argv: Sequence[str]) -> None:
    folder, commands = Path(argv[0]), Commands(int(argv[1]))
    config, _ = orders.read(folder)
    secrets = (str(folder), config.data_dir)
    with lock.held(folder), events.EventLog(folder / events.NAME, folder.name) as log:
        log.write("state", state="starting")
        observer = LiveObserver(log, commands, folder / orders.WEIGHTS)
        config = dataclasses.replace(config, resume=True)  # starts the run if there is none yet
        try:
            result = train_and_evaluate(
                config, folder / orders.RUN, reporter=PRINT, keep_programs=True, observer=observer
            )
            observer.ended()
            log.write("result", result=without_paths(result.to_dict(), secrets))
            log.write("state", state="finished")
        except (Stopped, KeyboardInterrupt):
            log.write("state", state="stopped", message=observer.reason or "stopped by a signal")
            raise
        except Exception as error:
            what = str(error) if isinstance(error, UserError) else f"a bug: {type(error).__name__}: {error}"
            log.write("state", state="failed", message=without_paths(what, secrets))
            raise
