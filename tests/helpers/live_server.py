"""The room as a server of its own, for tests of its connections.

    python live_server.py ROOM SECONDS [PROGRAM]

SECONDS is the time for a request and its response; PROGRAM takes the place of the process of a run.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from helpers.live_training import application
from mnist_mlp.lab.live.training.runner import Runner
from mnist_mlp.serve import server
from mnist_mlp.serve.metrics import Metrics


def main(room, seconds, *program):
    runner = Runner(Path(room))
    if program:
        runner.program = program
    listener = server.bind("127.0.0.1", 0)
    app = application(runner)
    server.run(app, listener, float(seconds), lambda: print(server.url_of(listener), flush=True), Metrics().connections)
    runner.close()
    print("ended", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
