#!/usr/bin/env python3
"""`python -m mnist_mlp.training.make_references` under the name that it had in version 0.1."""

from mnist_mlp.cli.program import start

if __name__ == "__main__":
    start("mnist_mlp.training.make_references")
