"""`python -m mnist_mlp.lab`: see command.py."""

from mnist_mlp.cli.program import start

if __name__ == "__main__":
    start("mnist_mlp.lab.command")
