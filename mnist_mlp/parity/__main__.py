"""`python -m mnist_mlp.parity`: see command.py."""

import os

from mnist_mlp.cli.program import start

if __name__ == "__main__":
    # NumPy's threads, where they wait for each other, take the processor from the framework's: half of the time.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    start("mnist_mlp.parity.command")
