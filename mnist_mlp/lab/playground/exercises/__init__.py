"""The lecture's ten exercises on the Playground: question, runs, measured answer and figure of each.

`run(7)` answers the seventh. ✓ or ✗ is computed from the numbers of a claim, if it has some. "Measured before" is the
median [smallest..largest] of ten seeds in an independent program that follows the page's rules, next to the single run
of the lecture.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mnist_mlp.cli.terminal import PRINT, Reporter
from mnist_mlp.errors import UserError
from mnist_mlp.lab.playground import history
from mnist_mlp.lab.playground.exercises import answers, drawings
from mnist_mlp.lab.playground.exercises import answers_deep as deep
from mnist_mlp.lab.playground.exercises.parts import (
    ENOUGH_SEEDS,
    LECTURE_SPIRAL,
    SEVERAL,
    Claim,
    Exercise,
    Measured,
    Runs,
    Trial,
    compare,
    final,
    spread,
)
from mnist_mlp.lab.playground.history import History
from mnist_mlp.lab.playground.points import Point, split_points
from mnist_mlp.lab.playground.random_stream import Stream
from mnist_mlp.lab.playground.url_state import FEATURES, State

SEEDS = 3  # enough to see variation within seconds; ten for the full comparison
DEEP = (8,) * 6


def page(dataset: str, noise: int = 0, shape: tuple[int, ...] = (), activation: str = "tanh", **rest: Any) -> State:
    """Return a state; by default one neuron on x and y, learning rate 0.03, batch size 10, 50% training points."""
    return State(dataset=dataset, noise=noise, networkShape=shape, activation=activation, seed="0", **rest)


SQUARES: dict[str, Any] = {"xSquared": True, "ySquared": True}
ALL: dict[str, Any] = dict.fromkeys(FEATURES, True)
EXERCISES = {
    1: Exercise(
        "Features and colours",
        "What do the small pictures under “features” show, and what do orange and blue mean? For which data sets is "
        "the colour of a single feature enough to classify the points?",
        [Trial(name, page(name, **ALL)) for name in ("gauss", "xor", "circle", "spiral")],
        answers.answer_1,
        figure=drawings.features_and_data,
    ),
    2: Exercise(
        "One neuron, by hand",
        "gauss, no hidden layer: which model is this, and how many weights does it have? Set them by hand.",
        [Trial("gauss", page("gauss"))],
        answers.answer_2,
        panels=drawings.by_hand,
    ),
    3: Exercise(
        "One neuron, fitted",
        "Now train the weights. Which algorithm does that, what does the loss do, and what does another run give?",
        [Trial("gauss", page("gauss"), 815, test=Measured(0, 0, 0.001), train=Measured(0), lecture=(0, 0))],
        answers.answer_3,
    ),
    4: Exercise(
        "Noise",
        "gauss with noise 15, which no line separates: run it several times for 1000 epochs and compare the weights.",
        [
            Trial("restarts", page("gauss", 15), 1000, same_data=True),
            Trial("new data", page("gauss", 15), 1000, test=Measured(0.024, 0.003, 0.033), train=Measured(0.019)),
        ],
        answers.answer_4,
        panels=drawings.each_seed("restarts"),
    ),
    5: Exercise(
        "A circle",
        "circle: how well does logistic regression do? And with x² and y² as features?",
        [
            Trial(
                "x and y",
                page("circle", 15),
                1500,
                test=Measured(0.502, 0.495, 0.530),
                train=Measured(0.499, 0.486, 0.510),
                lecture=(0.505, 0.489),
            ),
            Trial("x, y, x² and y²", page("circle", 15, **SQUARES), 500),
        ],
        answers.answer_5,
    ),
    6: Exercise(
        "Learned features",
        "circle with only x and y, and one hidden layer of one, three or four neurons: what do they learn? And after "
        "a restart?",
        [
            *(Trial(f"{n} tanh", page("circle", 15, (n,)), 1000, same_data=True) for n in (1, 3, 4)),
            Trial(
                "4 sigmoid",
                page("circle", 15, (4,), "sigmoid"),
                21_000,
                long=True,
                test=Measured(0.057, 0.041, 0.087),
                train=Measured(0.025),
            ),
        ],
        answers.answer_6,
        panels=drawings.two_restarts("3 tanh", "4 tanh", first="1 tanh"),
    ),
    7: Exercise(
        "A spiral",
        "spiral with one hidden layer of eight neurons: how many weights and biases are there? Watch the loss: when is "
        "it nearly constant, when does it drop? Is training stable?",
        [
            Trial(
                "8 sigmoid",
                page("spiral", 15, (8,), "sigmoid"),
                5080,
                test=Measured(0.426, 0.319, 0.488),
                train=Measured(0.329, 0.208, 0.453),
                lecture=LECTURE_SPIRAL,
            ),
            Trial("8 tanh", page("spiral", 15, (8,), "tanh"), 5080, lecture=LECTURE_SPIRAL),
            Trial("8 sigmoid, longer", page("spiral", 15, (8,), "sigmoid"), 10_000, long=True),
        ],
        deep.answer_7,
    ),
    8: Exercise(
        "The role of the activation",
        "spiral with six layers of eight neurons: linear, sigmoid, ReLU, tanh. Which train, and why not the others?",
        [
            Trial("linear", page("spiral", 15, DEEP, "linear"), 859, test=Measured(0.477), train=Measured(0.469)),
            Trial(
                "sigmoid",
                page("spiral", 15, DEEP, "sigmoid"),
                859,
                test=Measured(0.502, 0.5, 0.509),
                train=Measured(0.5),
            ),
            Trial(
                "relu",
                page("spiral", 15, DEEP, "relu"),
                859,
                test=Measured(0.042, 0.020, 0.108),
                train=Measured(0.011, 0, 0.032),
                lecture=(0.028, 0.016),
            ),
            Trial(
                "tanh",
                page("spiral", 15, DEEP, "tanh"),
                859,
                test=Measured(0.156, 0.056, 0.431),
                train=Measured(0.065, 0.010, 0.282),
                lecture=(0.072, 0.014),
            ),
        ],
        deep.answer_8,
    ),
    9: Exercise(
        "Features, layer by layer",
        "The same network: what do the maps of its neurons look like, from the first layer to the last?",
        [Trial(name, page("spiral", 15, DEEP, name), 859) for name in ("relu", "tanh")],
        deep.answer_9,
        figure=drawings.layer_by_layer,
    ),
    10: Exercise(
        "The settings of SGD",
        "circle with four hidden neurons: what is the effect of the learning rate, the batch size, the number of "
        "epochs and the initial weights? What if all weights start at 0?",
        [
            *(Trial(f"step {lr:g}", page("circle", 15, (4,), learningRate=lr), 300) for lr in (0.0001, 0.03, 10)),
            *(Trial(f"batch {size}", page("circle", 15, (4,), batchSize=size), 300) for size in (1, 30)),
            *(
                Trial(f"zero, {name}", page("circle", 15, (4,), name, initZero=True, learningRate=lr), 100)
                for name, lr in (("tanh", 0.03), ("relu", 0.03), ("linear", 0.03), ("sigmoid", 0.3))
            ),
        ],
        deep.answer_10,
    ),
}


def run(number: int, *, seeds: int = SEEDS, reporter: Reporter = PRINT, figure: Path | None = None) -> dict[str, Any]:
    """Run an exercise, report question, runs and answer, and save the figure.

    Return a JSON object: number, title, question, runs (name, url, seeds, epochs, test, train: the final losses by
    seed), claims (text, holds: true, false, or null if nothing is judged). Raise `UserError`.
    """
    if number not in EXERCISES:
        raise UserError(
            f"--exercise: expected a number from 1 to {max(EXERCISES)}, received {number}; try --exercise=7"
        )
    exercise = EXERCISES[number]
    reporter.line(f"Exercise {number}: {exercise.title}\n\n{exercise.question}\n")
    trials = [trial for trial in exercise.trials if not trial.long or seeds >= ENOUGH_SEEDS]
    runs: dict[str, list[History]] = {}
    for trial in trials:
        runs[trial.name] = train(trial, [str(seed) for seed in range(seeds)])
        reporter.line(summary(trial, runs[trial.name]))
    claims = list(claims_of(exercise, trials, runs))
    reporter.line("")
    for claim in claims:
        reporter.line(f"{claim.mark} {claim.text}")
    if seeds < SEVERAL:
        reporter.line(f"· claims about several seeds are judged with --seeds={SEVERAL} or more")
    skipped = [trial.name for trial in exercise.trials if trial not in trials]
    if skipped:
        reporter.line(f"· not run: {', '.join(skipped)} (takes longer; --seeds={ENOUGH_SEEDS} includes it)")
    if figure:
        drawings.draw(exercise, runs, figure)
        reporter.line(f"\npicture   {figure}")
    return {
        "number": number,
        "title": exercise.title,
        "question": exercise.question,
        "runs": [as_json(trial, runs[trial.name]) for trial in trials],
        "claims": [dataclasses.asdict(claim) for claim in claims],
    }


def train(trial: Trial, seeds: Sequence[str]) -> list[History]:
    """Return the runs of a trial, one for each seed; the first is that of the trial's URL."""
    if not trial.same_data:
        return history.run_seeds(trial.state, trial.epochs, seeds)
    first = history.run(dataclasses.replace(trial.state, seed=seeds[0]), trial.epochs)
    return [first, *(restart(first, seed) for seed in seeds[1:])]


def restart(first: History, seed: str) -> History:
    """Train again on the same points in the same order, with other initial weights, like the page's restart button.

    A seed also determines the shuffle. So the points are arranged such that this shuffle restores their order.
    """
    state = dataclasses.replace(first.state, seed=seed)
    ordered = [*first.train_points, *first.test_points]
    indices: list[Point] = [(float(index), 0.0, 0.0) for index in range(len(ordered))]
    train_indices, test_indices = split_points(state, Stream(seed), indices)
    arranged = list(ordered)
    for point, (index, _, _) in zip(ordered, [*train_indices, *test_indices], strict=True):
        arranged[int(index)] = point
    return dataclasses.replace(history.run(state, first.epochs, points=arranged), own_points=False)


def claims_of(exercise: Exercise, trials: Sequence[Trial], runs: Runs) -> Iterator[Claim]:
    """Yield the claims of the answer, then the comparison of each trial with earlier measurements."""
    yield from exercise.answer(runs)
    for trial in trials:
        yield from compare(trial, runs[trial.name])


def summary(trial: Trial, histories: Sequence[History]) -> str:
    """Return name, losses and URL of a trial."""
    kind = "restarts on the same points" if trial.same_data else "seeds"
    losses = f"test {spread(final(histories))}, train {spread(final(histories, 'train'))}"
    return f"{trial.name}: {trial.epochs:,} epochs, {len(histories)} {kind}: {losses}\n  {trial.state.to_url()}"


def as_json(trial: Trial, histories: Sequence[History]) -> dict[str, Any]:
    """Return the results of a trial as a JSON object."""
    values = {part: history.json_ready(final(histories, part).tolist()) for part in ("test", "train")}
    seeds = [each.state.seed for each in histories]
    head = {"name": trial.name, "url": trial.state.to_url(), "seeds": seeds, "same_data": trial.same_data}
    return {**head, "epochs": trial.epochs, **values}
