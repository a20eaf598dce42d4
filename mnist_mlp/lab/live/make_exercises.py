"""Write page/exercises.json: the lecture's ten exercises, what ten seeds gave, and the measured answers.

`python -m mnist_mlp.lab.live.make_exercises` runs `lab.playground` for each of them, which takes minutes.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

from mnist_mlp.files import atomic
from mnist_mlp.lab.playground import exercises
from mnist_mlp.lab.playground.exercises import Exercise, Trial
from mnist_mlp.lab.playground.exercises.parts import final
from mnist_mlp.lab.playground.history import History

FILE = Path(__file__).with_name("page") / "exercises.json"
SEEDS = 10
DIGITS = 8  # of the losses; the page shows three, and must not round a number that is rounded already


def exercise_json(number: int, exercise: Exercise, seeds: int = SEEDS) -> dict[str, Any]:
    """Run an exercise and return what the page shows of it."""
    runs = {trial.name: exercises.train(trial, [str(seed) for seed in range(seeds)]) for trial in exercise.trials}
    return {
        "number": number,
        "title": exercise.title,
        "question": exercise.question,
        "seeds": seeds,
        "trials": [trial_json(trial, runs[trial.name]) for trial in exercise.trials],
        "answer": [{"text": claim.text, "holds": claim.holds} for claim in exercise.answer(runs)],
    }


def trial_json(trial: Trial, histories: list[History]) -> dict[str, Any]:
    """Return a trial: its URL, and of test and training loss median, smallest and largest over the seeds."""
    losses = {part: final(histories, part).tolist() for part in ("test", "train")}
    return {
        "name": trial.name,
        "url": trial.state.to_url().partition("#")[2],
        "epochs": trial.epochs,
        "same_data": trial.same_data,
        **{part: spread(values) for part, values in losses.items()},
        "lecture": trial.lecture and {"test": trial.lecture[0], "train": trial.lecture[1]},
    }


def spread(values: list[float]) -> dict[str, float]:
    """Return median, smallest and largest."""
    found = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: round(value, DIGITS) for name, value in found.items()}


def main() -> None:
    found = [exercise_json(number, exercise) for number, exercise in exercises.EXERCISES.items()]
    lines = [json.dumps(each, ensure_ascii=False, allow_nan=False, separators=(",", ":")) for each in found]
    atomic.write_text(FILE, "[\n" + ",\n".join(lines) + "\n]\n")
    print(f"{FILE}: {len(found)} exercises, {FILE.stat().st_size:,} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
