"""`python -m mnist_mlp`: an overview of the commands, and each of them under one name.

`python -m mnist_mlp train --flag …`, and the console command `mnist-mlp train --flag …`, do what
`python -m mnist_mlp.train --flag …` does.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from mnist_mlp import __version__
from mnist_mlp.cli import program
from mnist_mlp.errors import UserError

OVERVIEW = """\
learn
  lab                     the Playground as a page on this machine, with the lecture's exercises
  lab.explain             the lecture's questions, answered by measurements
  lab.ladder              from logistic regression to a convolutional network, measured
  lab.mistakes            common mistakes: what they cost and how to recognize them
  lab.playground          the exercises of TensorFlow Playground, without a browser

train
  train                   train, evaluate and write a run; in seconds: train --preset=smoke
  tune                    find the best method and hyperparameters by cross-validation
  report                  draw the page of a run, or compare several runs
  devices.launch_workers  start several workers on this machine

check a machine
  verify                  all checks of this machine one after the other, and one verdict
  doctor                  devices and packages, what each --strategy would do, known problems
  parity                  compare every training step on this device with NumPy
  tpu_compile             compile a run for TPUs on a machine that has none

use a model
  evaluate                score a saved model again, also on corrupted images or your own pictures
  predict                 classify test images, or pictures of your own
  export                  write SavedModel, ONNX, LiteRT, .keras and arrays, each verified
  serve                   a page to draw digits on, and a REST API

take part
  training.make_references  make the references that train --gate compares with
  scripts/test            in a clone: check the code and run the tests"""
MODULES = ("train", "predict", "devices.launch_workers", "training.make_references")  # beside the folders


def main() -> None:
    """Run the command that the first argument names with the other arguments, or print the overview."""
    called_as = "mnist-mlp" if Path(sys.argv[0]).stem == "mnist-mlp" else "python -m mnist_mlp"
    if len(sys.argv) > 1 and sys.argv[1] in commands():
        name = sys.argv.pop(1)
        sys.argv[0] = f"{called_as} {name}"  # for --help
        runpy.run_module(f"mnist_mlp.{name}", run_name="__main__")
    else:
        program.run(lambda argv: answer(argv, called_as))


def commands() -> list[str]:
    """Return the names of all commands."""
    package = Path(__file__).parent
    folders = [file.parent.relative_to(package) for file in package.glob("**/__main__.py") if file.parent != package]
    return sorted([*MODULES, *(".".join(folder.parts) for folder in folders)])


def answer(argv: Sequence[str], called_as: str) -> None:
    """Print the overview, the version or the completion for bash. Raises `UserError` for anything else."""
    name = argv[0] if argv else "--help"
    if name in ("--help", "-help", "-h", "--helpfull", "help"):
        print(f"mnist_mlp {__version__}: MNIST with Keras, the same numbers on CPU, GPU and TPU\n")
        print(f"usage: {called_as} COMMAND [--flag=value …]\n")
        print(f"{OVERVIEW}\n\nAll flags of a command: {called_as} train --help")
        if called_as == "mnist-mlp":
            print("Completion in bash: source <(mnist-mlp completion bash)")
    elif name in ("--version", "-V", "version"):
        print(f"mnist_mlp {__version__}")
    elif list(argv) == ["completion", "bash"]:
        from mnist_mlp.cli import completion

        print(completion.bash(commands()), end="")
    else:
        from mnist_mlp.text import nearest, quoted

        kind = "flag" if name.startswith("-") else "command"
        near = nearest(name, ["--help", "--version"] if kind == "flag" else commands())
        raise UserError(f"unknown {kind} {quoted(name)}{near} (all commands: {called_as} --help)")


if __name__ == "__main__":
    main()
