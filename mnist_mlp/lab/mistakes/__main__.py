"""`python -m mnist_mlp.lab.mistakes`: see command.py."""

from mnist_mlp.cli.program import start

if __name__ == "__main__":
    start("mnist_mlp.lab.mistakes.command")
