"""`python -m mnist_mlp.parity`: see command.py."""

import os

from mnist_mlp.cli.program import start

if __name__ == "__main__":
    # NumPy's threads busy-wait and compete with the framework's: with one thread everything takes half the time.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    start("mnist_mlp.parity.command")
