"""Makes each classic mistake beside the right program, and tells it by name from the curves, activations and counts.

The exit code is 4 if a mistake is not told in every seed, or if the right program is said to make one. In a run of your
own, `train --diagnose` tells them.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_mlp import data, devices
from mnist_mlp.checks import diagnosis, evidence
from mnist_mlp.cli import flags
from mnist_mlp.cli.load_framework import load
from mnist_mlp.config import ONE_PROCESS, Config
from mnist_mlp.errors import UserError
from mnist_mlp.files import figures
from mnist_mlp.lab.mistakes import figure as mistakes_figure
from mnist_mlp.lab.mistakes.programs import BATCH_SIZE, MISTAKES, PROGRAMS, RIGHT, Outcome, Program
from mnist_mlp.options import check, option, option_of
from mnist_mlp.runs.result import dataset_block, finite, versions
from mnist_mlp.text import nearest, quoted, remarks

if TYPE_CHECKING:
    from mnist_mlp.training.multi_seed import MultiSeedTrainer


def word(name: str) -> str:
    """A mistake as it is typed: "ReLU on the logits" is relu_on_the_logits."""
    return name.lower().replace(" ", "_")


WORDS = {word(name): name for name in MISTAKES}


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags of this program."""

    only: tuple[str, ...] = option((), f"make these mistakes alone, of {', '.join(WORDS)}")
    dataset: str = option_of(Config, "dataset")
    data_dir: str = option_of(Config, "data_dir")
    data_source: str = option_of(Config, "data_source")
    epochs: int = option(5, "passes over the training images, in each training", low=1, high=1_000_000)
    seed: int = option(0, "the first seed; the others follow it", low=0, high=2**31)
    seeds: int = option(1, "how often each program is run, with another seed each time", low=1, high=1000)
    strategy: str = option("auto", "device, as in train", choices=ONE_PROCESS)
    backend: str = option_of(Config, "backend")
    figure: str = option("", f"also draw the losses of the first seed into this file ({', '.join(figures.FORMATS)})")
    json: bool = option(False, "print what was found as one JSON object; the report goes to standard error")

    def __post_init__(self) -> None:
        check(self)
        for typed in self.only:
            if typed not in WORDS:
                raise UserError(
                    f"--only: expected some of {', '.join(WORDS)}; "
                    f"received {quoted(typed)}{nearest(typed, list(WORDS))}"
                )


class Untold(UserError):
    """A mistake was not told by its name, or one was told that nobody made."""

    exit_code = 4
    prefix = ""


def main(argv: Sequence[str]) -> None:
    options = flags.parse(Options, argv, program="lab.mistakes", about=__doc__ or "")
    stream = sys.stderr if options.json else sys.stdout
    found = make(options, say=lambda text: print(text, file=stream, flush=True))
    if options.json:
        print(json.dumps(finite(found), allow_nan=False))
    if found["untold"]:
        raise Untold("; ".join(found["untold"]))


def make(options: Options, *, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Makes the mistakes: what `--json` prints. `say` gets the report, piece by piece. Raises `UserError`."""
    began = time.perf_counter()
    figure = figures.file_to_write("figure", options.figure) if options.figure else None
    plan = devices.plan(options)
    dataset = data.load(options)  # type: ignore[arg-type]  # it has the flags that are read
    load(plan)

    found: dict[str, Any] = {"dataset": dataset_block(dataset, len(dataset.train), 0), "epochs": options.epochs}
    found["seeds"] = list(range(options.seed, options.seed + options.seeds))
    say(opening(found))
    outcomes: dict[str, list[Outcome]] = {}
    rows: list[dict[str, Any]] = []
    common: MultiSeedTrainer | None = (
        None  # of the right program and of all that differ from it in more than the network
    )
    for name in (RIGHT, *(WORDS[typed] for typed in dict.fromkeys(options.only or WORDS))):
        program = PROGRAMS[name]
        shared = program.compiled_as == PROGRAMS[RIGHT].compiled_as
        trainer = common if shared and common else trainer_of(program, plan, dataset)
        common = common or trainer
        outcomes[name] = run(program, trainer, found["seeds"], options.epochs)
        rows.append(row_of(name, outcomes[name]))
        say(block(rows[-1], rows[0], len(rows) - 1))
        device, backend = trainer.engine.devices.name, trainer.engine.backend
    found |= {"right": rows[0], "mistakes": rows[1:], "untold": untold(rows), "device": device}
    found |= {"versions": versions(backend), "seconds": time.perf_counter() - began}
    say(closing(found))
    if figure:
        figures.save(mistakes_figure.draw({name: done[0] for name, done in outcomes.items()}, found), figure)
        say(f"figure   {figure}")
    return found


def trainer_of(program: Program, plan: devices.Plan, dataset: data.Dataset) -> MultiSeedTrainer:
    """The program's network, compiled, with the data as the program has them."""
    from mnist_mlp.training import optimizers
    from mnist_mlp.training.multi_seed import MultiSeedTrainer

    def make_optimizer() -> Any:
        return optimizers.make_optimizer("adam", None)

    return MultiSeedTrainer(plan, program.make_model, make_optimizer, program.change(dataset), BATCH_SIZE)


def run(program: Program, trainer: MultiSeedTrainer, seeds: Sequence[int], epochs: int) -> list[Outcome]:
    """Trains the program with each seed, has it score the test images, and looks for mistakes."""
    from mnist_mlp.models.initialization import initialize

    train, test, model = trainer.dataset.train, trainer.dataset.test, program.make_model()
    chosen = program.order(train.labels)
    shuffle = chosen is None
    outcomes = []
    for seed in seeds:
        curve = trainer.fit(seed, epochs, examples=chosen, learning_rate=program.learning_rate, shuffle=shuffle)
        order = trainer.order_of(np.arange(len(train)) if chosen is None else chosen, seed, 0, shuffle)
        initialize(model, seed)
        gathered = evidence.gather(
            model,
            trainer.engine.state(),
            evidence.sample(train, test, order),
            losses=curve.losses,
            confusion=program.score(trainer),
            step_losses=curve.step_losses,
        )
        outcomes.append(Outcome(curve, gathered, diagnosis.diagnose(gathered)))
    return outcomes


def row_of(name: str, outcomes: list[Outcome]) -> dict[str, Any]:
    """What a program came to, over its seeds; `seen`, `losses` and the counts of the first one."""
    told = collections.Counter(each.name for outcome in outcomes for each in outcome.diagnoses)
    first = outcomes[0]
    scored = first.evidence.confusion
    own = next((each for outcome in outcomes for each in outcome.diagnoses if each.name == name), None)
    return {
        "name": name,
        "how": PROGRAMS[name].how,
        "accuracy": [outcome.accuracy for outcome in outcomes],
        "correct": int(np.trace(scored)),  # type: ignore[arg-type]
        "scored": int(scored.sum()),  # type: ignore[union-attr]
        "loss": [float(outcome.curve.losses[-1]) for outcome in outcomes],
        "losses": [float(loss) for loss in first.curve.losses],
        "of": len(outcomes),
        "diagnosed": told[name] if name != RIGHT else sum(not outcome.diagnoses for outcome in outcomes),
        "others": {other: count for other, count in told.items() if other != name},
        "diagnosis": dataclasses.asdict(own) if own else None,
    }


def untold(rows: list[dict[str, Any]]) -> list[str]:
    """What went against expectation, in words; the first row is the right program's."""
    right, *mistakes = rows
    found = [f"{row['name']}: told in {row['diagnosed']} of {row['of']} seeds" for row in mistakes if missed(row)]
    if missed(right):
        found.append(f"the right program: said to make {also(right)}")
    return found


def missed(row: dict[str, Any]) -> bool:
    return row["diagnosed"] < row["of"]


def also(row: dict[str, Any]) -> str:
    """The diagnoses that do not bear the row's own name: "dead ReLUs (2)"."""
    return ", ".join(f"{name} ({count})" for name, count in row["others"].items())


def opening(found: dict[str, Any]) -> str:
    """The data, and how the programs are trained."""
    block, seeds = found["dataset"], found["seeds"]
    lines = [
        f"data     {block['name']}: {block['train_examples']:,} training + {block['test_examples']:,} test images "
        f"({block['source']})",
        *remarks(block["notes"]),
        f"trained  {found['epochs']} epochs, seed{'s' * (len(seeds) > 1)} "
        + (f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"{seeds[0]}"),
    ]
    return "\n".join(lines)


def block(row: dict[str, Any], right: dict[str, Any], number: int) -> str:
    """A program beside the right one: of the first seed, but for how often it was told."""
    if row is right:
        told = f"said to make no mistake in {row['diagnosed']} of {row['of']} seeds"
        if row["others"]:
            told += f", but {also(row)}"
        lines = [RIGHT, *labelled("program", row["how"]), f"   test     {test_of(row)}, loss {row['loss'][0]:.3g}"]
        return "\n".join(["", *lines, *labelled("told", told)])
    told = f"{row['name']}, in {row['diagnosed']} of {row['of']} seeds" + (f"; also {also(row)}" * bool(row["others"]))
    lines = [
        f"{number}. {row['name']}",
        *labelled("broken", row["how"]),
        f"   test     {test_of(row)}, loss {row['loss'][0]:.3g} "
        f"(right program: {test_of(right)}, loss {right['loss'][0]:.3g})",
        *labelled("told", told),
    ]
    for label, key in (("told by", "told_by"), ("seen", "seen"), ("means", "means"), ("do", "remedy")):
        if row["diagnosis"]:
            lines += labelled(label, row["diagnosis"][key])
    return "\n".join(["", *lines])


def labelled(label: str, text: str) -> list[str]:
    """A word and what belongs to it, wrapped."""
    return textwrap.wrap(text, 118, initial_indent=f"   {label:<9}", subsequent_indent=" " * 12)


def test_of(row: dict[str, Any]) -> str:
    return f"{row['correct']:,} of {row['scored']:,} = {100 * row['accuracy'][0]:.2f}%"


def closing(found: dict[str, Any]) -> str:
    """The table of all programs, and what they took."""
    lines = ["", f"{'program':<25} {'test accuracy':>15} {'last loss':>10}   {'told by name':<14}also told"]
    for row in (found["right"], *found["mistakes"]):
        accuracy, loss = 100 * np.array(row["accuracy"]), float(np.mean(row["loss"]))
        shown_accuracy = f"{accuracy.mean():.2f}%" + (f" ± {accuracy.std(ddof=1):.2f}" if len(accuracy) > 1 else "")
        told = f"{row['diagnosed']} of {row['of']}" if row["name"] != RIGHT else f"{row['of'] - row['diagnosed']} times"
        lines.append(f"{row['name']:<25} {shown_accuracy:>15} {loss:>10.4g}   {told:<14}{also(row)}".rstrip())
    name = found["dataset"]["name"]
    if name != "mnist":
        lines += remarks([f"measured on {name}: this is not MNIST accuracy"])
    return "\n".join([*lines, "", f"seconds  {found['seconds']:.1f} in all, on {found['device']}"])
