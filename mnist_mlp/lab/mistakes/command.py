"""Make each classic mistake on purpose, and diagnose it from the curves, activations and counts of the run.

The exit code is 4 if a mistake is not recognized with every seed, or if the correct program is diagnosed with one. To
diagnose a run of your own, use `train --diagnose`.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import sys
import textwrap
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_mlp import data, devices
from mnist_mlp.checks import diagnosis, evidence
from mnist_mlp.cli import flags
from mnist_mlp.cli.load_framework import load
from mnist_mlp.cli.terminal import PRINT, Reporter, Terminal
from mnist_mlp.config import ONE_PROCESS, Config
from mnist_mlp.data.sets import not_mnist
from mnist_mlp.errors import UserError
from mnist_mlp.files import figures
from mnist_mlp.lab.mistakes import figure as mistakes_figure
from mnist_mlp.lab.mistakes.programs import BATCH_SIZE, MISTAKES, PROGRAMS, RIGHT, Outcome, Program
from mnist_mlp.options import check, option, option_of
from mnist_mlp.runs.result import dataset_block, finite, versions
from mnist_mlp.text import nearest, quoted, remarks

if TYPE_CHECKING:
    from mnist_mlp.training.multi_seed import MultiSeedTrainer


def flag_value(name: str) -> str:
    """Return the name of a mistake as --only takes it: "ReLU on the logits" is relu_on_the_logits."""
    return name.lower().replace(" ", "_")


BY_FLAG_VALUE = {flag_value(name): name for name in MISTAKES}


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags of this program."""

    only: tuple[str, ...] = option((), f"make only these mistakes (default: all): {', '.join(BY_FLAG_VALUE)}")
    dataset: str = option_of(Config, "dataset")
    data_dir: str = option_of(Config, "data_dir")
    data_source: str = option_of(Config, "data_source")
    epochs: int = option(5, "passes over the training images in each run", low=1, high=1_000_000)
    seed: int = option(0, "first seed", low=0, high=2**31)
    seeds: int = option(1, "number of seeds for each program, starting at --seed", low=1, high=1000)
    strategy: str = option("auto", "device, as in train", choices=ONE_PROCESS)
    backend: str = option_of(Config, "backend")
    figure: str = option("", f"also plot the losses of the first seed to this file ({', '.join(figures.FORMATS)})")
    json: bool = option(False, "print the diagnoses as one JSON object; the report goes to standard error")

    def __post_init__(self) -> None:
        check(self)
        for value in self.only:
            if value not in BY_FLAG_VALUE:
                raise UserError(
                    f"--only: expected one or more of {', '.join(BY_FLAG_VALUE)}; "
                    f"received {quoted(value)}{nearest(value, list(BY_FLAG_VALUE))}"
                )


class Misdiagnosed(UserError):
    """A mistake was not recognized, or one was diagnosed that was not made."""

    exit_code = 4
    prefix = ""


def main(argv: Sequence[str]) -> None:
    options = flags.parse(Options, argv, program="lab.mistakes", about=__doc__ or "")
    with Terminal(sys.stderr if options.json else sys.stdout) as terminal:
        result = make(options, reporter=terminal)
    if options.json:
        print(json.dumps(finite(result), allow_nan=False))
    if result["untold"]:
        raise Misdiagnosed("; ".join(result["untold"]))


def make(options: Options, *, reporter: Reporter = PRINT) -> dict[str, Any]:
    """Make the mistakes, and return what `--json` prints. Raise `UserError`."""
    began = time.perf_counter()
    figure = figures.file_to_write("figure", options.figure) if options.figure else None
    plan = devices.plan(options)
    dataset = data.load(options)  # type: ignore[arg-type]  # it has the options that are read
    load(plan)

    result: dict[str, Any] = {"dataset": dataset_block(dataset, len(dataset.train), 0), "epochs": options.epochs}
    result["seeds"] = list(range(options.seed, options.seed + options.seeds))
    reporter.line(opening(result))
    outcomes: dict[str, list[Outcome]] = {}
    rows: list[dict[str, Any]] = []
    common: MultiSeedTrainer | None = None  # of the correct program, shared by those with the same network and data
    for name in (RIGHT, *(BY_FLAG_VALUE[value] for value in dict.fromkeys(options.only or BY_FLAG_VALUE))):
        program = PROGRAMS[name]
        shared = program.compiled_as == PROGRAMS[RIGHT].compiled_as
        trainer = common if shared and common else compile_program(program, plan, dataset)
        common = common or trainer
        outcomes[name] = run(program, trainer, result["seeds"], options.epochs)
        rows.append(row_of(name, outcomes[name]))
        reporter.line(block(rows[-1], rows[0], len(rows) - 1))
        device, backend = trainer.engine.devices.name, trainer.engine.backend
    result |= {"right": rows[0], "mistakes": rows[1:], "untold": misdiagnosed(rows), "device": device}
    result |= {"versions": versions(backend), "seconds": time.perf_counter() - began}
    reporter.line(closing(result))
    if figure:
        first = {name: by_seed[0] for name, by_seed in outcomes.items()}
        figures.save(mistakes_figure.draw(first, result), figure)
        reporter.line(f"figure   {figure}")
    return result


def compile_program(program: Program, plan: devices.Plan, dataset: data.Dataset) -> MultiSeedTrainer:
    """Compile the program's network for its version of the data."""
    from mnist_mlp.training import optimizers
    from mnist_mlp.training.multi_seed import MultiSeedTrainer

    def make_optimizer() -> Any:
        return optimizers.make_optimizer("adam", None)

    return MultiSeedTrainer(plan, program.make_model, make_optimizer, program.change(dataset), BATCH_SIZE)


def run(program: Program, trainer: MultiSeedTrainer, seeds: Sequence[int], epochs: int) -> list[Outcome]:
    """Train the program with each seed, score the test images, and diagnose the run."""
    from mnist_mlp.models.initialization import initialize

    train, test, model = trainer.dataset.train, trainer.dataset.test, program.make_model()
    examples = program.fixed_order(train.labels)
    shuffle = examples is None
    outcomes = []
    for seed in seeds:
        curve = trainer.fit(seed, epochs, examples=examples, learning_rate=program.learning_rate, shuffle=shuffle)
        batches = trainer.batches(np.arange(len(train)) if examples is None else examples, seed, 0, shuffle)
        initialize(model, seed)
        gathered = evidence.gather(
            model,
            trainer.engine.state(),
            evidence.sample(train, test, batches),
            losses=curve.losses.tolist(),
            confusion=program.score(trainer),
            step_losses=curve.step_losses,
        )
        outcomes.append(Outcome(curve, gathered, diagnosis.diagnose(gathered)))
    return outcomes


def row_of(name: str, outcomes: list[Outcome]) -> dict[str, Any]:
    """Summarize a program over its seeds; the losses and counts are those of the first seed."""
    counts = collections.Counter(each.name for outcome in outcomes for each in outcome.diagnoses)
    first = outcomes[0]
    confusion = first.evidence.confusion
    own = next((each for outcome in outcomes for each in outcome.diagnoses if each.name == name), None)
    return {
        "name": name,
        "how": PROGRAMS[name].how,
        "accuracy": [outcome.accuracy for outcome in outcomes],
        "correct": int(np.trace(confusion)),  # type: ignore[arg-type]
        "scored": int(confusion.sum()),  # type: ignore[union-attr]
        "loss": [float(outcome.curve.losses[-1]) for outcome in outcomes],
        "losses": [float(loss) for loss in first.curve.losses],
        "of": len(outcomes),
        "diagnosed": counts[name] if name != RIGHT else sum(not outcome.diagnoses for outcome in outcomes),
        "others": {other: count for other, count in counts.items() if other != name},
        "diagnosis": dataclasses.asdict(own) if own else None,
    }


def misdiagnosed(rows: list[dict[str, Any]]) -> list[str]:
    """Return a sentence for each wrong diagnosis; the first row is that of the correct program."""
    right, *mistakes = rows
    found = [f"{row['name']}: recognized in {row['diagnosed']} of {row['of']} seeds" for row in mistakes if missed(row)]
    if missed(right):
        found.append(f"the correct program: diagnosed with {also(right)}")
    return found


def missed(row: dict[str, Any]) -> bool:
    return row["diagnosed"] < row["of"]


def also(row: dict[str, Any]) -> str:
    """Return the diagnoses of other mistakes than the row's own: "dead ReLUs (2)"."""
    return ", ".join(f"{name} ({count})" for name, count in row["others"].items())


def opening(result: dict[str, Any]) -> str:
    """Describe the data and the training."""
    block, seeds = result["dataset"], result["seeds"]
    lines = [
        f"data     {block['name']}: {block['train_examples']:,} training + {block['test_examples']:,} test images "
        f"({block['source']})",
        *remarks(block["notes"]),
        f"trained  {result['epochs']} epochs, seed{'s' * (len(seeds) > 1)} "
        + (f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"{seeds[0]}"),
    ]
    return "\n".join(lines)


def block(row: dict[str, Any], right: dict[str, Any], number: int) -> str:
    """Compare a program with the correct one; all numbers but the counts of seeds are those of the first seed."""
    if row is right:
        diagnosis = f"no mistake in {row['diagnosed']} of {row['of']} seeds"
        if row["others"]:
            diagnosis += f", but {also(row)}"
        lines = [RIGHT, *labelled("program", row["how"]), f"   test     {test_of(row)}, loss {row['loss'][0]:.3g}"]
        return "\n".join(["", *lines, *labelled("found", diagnosis)])
    also_found = f"; also {also(row)}" if row["others"] else ""
    lines = [
        f"{number}. {row['name']}",
        *labelled("broken", row["how"]),
        f"   test     {test_of(row)}, loss {row['loss'][0]:.3g} "
        f"({RIGHT}: {test_of(right)}, loss {right['loss'][0]:.3g})",
        *labelled("found", f"{row['name']}, in {row['diagnosed']} of {row['of']} seeds{also_found}"),
    ]
    for label, key in (("evidence", "told_by"), ("seen", "seen"), ("means", "means"), ("do", "remedy")):
        if row["diagnosis"]:
            lines += labelled(label, row["diagnosis"][key])
    return "\n".join(["", *lines])


def labelled(label: str, text: str) -> list[str]:
    """Return a label and its text, wrapped."""
    return textwrap.wrap(text, 118, initial_indent=f"   {label:<9}", subsequent_indent=" " * 12)


def test_of(row: dict[str, Any]) -> str:
    return f"{row['correct']:,} of {row['scored']:,} = {100 * row['accuracy'][0]:.2f}%"


def closing(result: dict[str, Any]) -> str:
    """Return the table of all programs, the device and the time taken."""
    lines = ["", f"{'program':<25} {'test accuracy':>15} {'last loss':>10}   {'found':<14}also found"]
    for row in (result["right"], *result["mistakes"]):
        accuracy, loss = 100 * np.array(row["accuracy"]), float(np.mean(row["loss"]))
        mean = f"{accuracy.mean():.2f}%" + (f" ± {accuracy.std(ddof=1):.2f}" if len(accuracy) > 1 else "")
        count = f"{row['diagnosed']} of {row['of']}" if row["name"] != RIGHT else f"none in {row['diagnosed']}"
        lines.append(f"{row['name']:<25} {mean:>15} {loss:>10.4g}   {count:<14}{also(row)}".rstrip())
    if remark := not_mnist(result["dataset"]["name"]):
        lines += remarks([remark])
    return "\n".join([*lines, "", f"seconds  {result['seconds']:.1f} in total, on {result['device']}"])
