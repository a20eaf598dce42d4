"""`python -m mnist_mlp.tune`: see command.py."""

from mnist_mlp.cli.program import start

if __name__ == "__main__":
    start("mnist_mlp.tune.command")
