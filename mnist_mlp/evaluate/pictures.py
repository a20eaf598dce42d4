"""`--images`: score the saved model on labelled pictures of one's own, read one at a time as `predict` reads them.

A picture that is refused, by its reader or by what the network makes of it, counts as an error, and is listed.
"""

from __future__ import annotations

import dataclasses
import heapq
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mnist_mlp import devices
from mnist_mlp.cli.load_framework import load
from mnist_mlp.cli.terminal import Reporter
from mnist_mlp.data.pictures import decode, inputs, labelled, reading
from mnist_mlp.data.pictures.inputs import Digit
from mnist_mlp.data.pictures.labelled import Labelled
from mnist_mlp.data.sets import class_names, of_digits
from mnist_mlp.errors import UserError
from mnist_mlp.evaluate import pictures_text
from mnist_mlp.files import atomic, outputs
from mnist_mlp.options import path_of
from mnist_mlp.runs import directory, saved
from mnist_mlp.runs.result import device_block, versions
from mnist_mlp.stats.metrics import per_class, wilson_interval

BATCH = 32  # images per call; each waits with the ink maps of its reading, 2 MB
SHOWN = 60  # mistakes, and as many refusals, whose pictures are kept for the page
THUMBNAIL = 112  # pixels of the longer side of a kept picture
JSON, PAGE = "pictures.json", "pictures.html"

Predict = Callable[[np.ndarray], np.ndarray]  # from uint8 [n, 28, 28] to probabilities, float32 [n, 10]
Outcome = dict[str, Any]  # of one picture, as the lists `mistakes` and `refusals` of pictures.json have it


class Options(Protocol):
    """What this evaluation reads of the options of the program."""

    @property
    def run_dir(self) -> str: ...
    @property
    def images(self) -> str: ...
    @property
    def label_pattern(self) -> str: ...
    @property
    def no_reframe(self) -> bool: ...
    @property
    def output(self) -> str: ...
    @property
    def batch_size(self) -> int | None: ...
    @property
    def start_timeout(self) -> int: ...


@dataclasses.dataclass(frozen=True)
class Shown:
    """What the page shows of a picture: its outcome, the picture in grey, and what the network saw, uint8 [28, 28]."""

    outcome: Outcome
    thumbnail: Image.Image | None
    image: NDArray[np.uint8] | None


class Score:
    """Counts of the pictures so far; the outcome of each that is not correct, and the pictures of some of them."""

    def __init__(self) -> None:
        self.confusion: NDArray[np.int64] = np.zeros((10, 10), np.int64)
        self.refused: NDArray[np.int64] = np.zeros(10, np.int64)
        self.mistakes: list[tuple[int, Outcome]] = []
        self.refusals: list[tuple[int, Outcome]] = []
        self.worst: list[tuple[float, int, Shown]] = []  # a heap of mistakes, the least bad one first
        self.shown_refusals: list[Shown] = []

    def refuse(self, number: int, picture: Labelled, reason: str, shown: Shown) -> None:
        """Count a picture that was refused; `shown.outcome` has what the network said, if it was asked."""
        shown.outcome.update(file=picture.path, label=picture.label, reason=reason)
        self.refused[picture.label] += 1
        self.refusals.append((number, shown.outcome))
        if len(self.shown_refusals) < SHOWN:
            self.shown_refusals.append(shown)

    def answer(self, number: int, picture: Labelled, shown: Shown) -> None:
        """Count the network's answer, which `shown.outcome` has."""
        found, p = shown.outcome["class"], shown.outcome["p"]
        self.confusion[picture.label, found] += 1
        if found == picture.label:
            return
        shown.outcome.update(file=picture.path, label=picture.label)
        self.mistakes.append((number, shown.outcome))
        entry = (-p[picture.label], -number, shown)
        if len(self.worst) < SHOWN:
            heapq.heappush(self.worst, entry)
        else:
            heapq.heappushpop(self.worst, entry)

    @property
    def shown_mistakes(self) -> list[Shown]:
        """The mistakes to show, the one with the lowest probability of its label first."""
        return [shown for *_, shown in sorted(self.worst, key=lambda entry: entry[:2], reverse=True)]

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of `metrics.per_class`, where refused pictures are examples that are not correct."""
        rows = per_class(self.confusion)
        for row, refused in zip(rows, self.refused.tolist(), strict=True):
            row["examples"] += refused
            row["refused"] = refused
            row["recall"] = row["correct"] / row["examples"] if row["examples"] else None
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Return the counts with their intervals, and the lists in the order of the pictures."""
        answered, refused = int(self.confusion.sum()), int(self.refused.sum())
        correct, total = int(np.trace(self.confusion)), answered + refused
        return {
            "total": total,
            "correct": correct,
            "accuracy": correct / total,
            "interval": list(wilson_interval(correct, total)),
            "refused": refused,
            "answered": answered,
            "answered_accuracy": correct / answered if answered else None,
            "answered_interval": list(wilson_interval(correct, answered)) if answered else None,
            "confusion": self.confusion.tolist(),
            "per_class": self.rows(),
            "mistakes": [outcome for _, outcome in sorted(self.mistakes, key=lambda entry: entry[0])],
            "refusals": [outcome for _, outcome in sorted(self.refusals, key=lambda entry: entry[0])],
        }


def check_flags(options: Options) -> None:
    """Raise `UserError` for flags that go with --images alone, and for those that make no sense with it."""
    if options.images:
        for name in ("data_dir", "gate", "calibrate", "corruptions", "fgsm"):
            if getattr(options, name):
                raise UserError(f"--images cannot be combined with --{name}, which is about the run's data; omit one")
        return
    for name in ("label_pattern", "no_reframe"):
        if getattr(options, name):
            raise UserError(f"--{name}: expected pictures of your own, received none; try --images=DIR")


def refuse(result: dict[str, Any]) -> None:
    """End a program: raise `UserError` if every picture was refused. `result` is what `evaluate` returned."""
    if not result["answered"]:
        count = "the only picture was" if result["total"] == 1 else f"all {result['total']:,} pictures were"
        raise UserError(
            f"--images={result['images']}: nothing could be scored: {count} refused; the lines above say why"
        )


def evaluate(options: Options, reporter: Reporter) -> dict[str, Any]:
    """Score the pictures; return the content of pictures.json, and write what the options ask for. Raise `UserError`.

    If every picture is refused, all of it is reported and written, too, with an accuracy of 0.
    """
    plan = devices.plan(options)
    path, _, trained = saved.read_run(options.run_dir)
    name = trained.dataset["name"]
    collection = labelled.find(options.images, class_names(trained.dataset), options.label_pattern)
    files = files_to_write(options, path)
    settings = inputs.Settings(reframe=not options.no_reframe, digits=of_digits(trained.dataset))

    load(plan)
    from mnist_mlp.runs.saved import start_finished

    batch_size = options.batch_size or BATCH
    engine = start_finished(plan, path, trained, {}, batch_size, start_timeout=options.start_timeout)

    def predict(images: np.ndarray) -> np.ndarray:
        probabilities = engine.predict(images)
        saved.check_finite(path, probabilities)
        return probabilities

    score = score_of(predict, collection.pictures, settings, batch_size, reporter)
    result = {
        "format": 1,
        "images": options.images,
        "layout": collection.layout,
        "notes": list(collection.notes),
        "settings": dataclasses.asdict(settings),
        "run_dir": options.run_dir,
        "model_sha256": trained.model_sha256,
        "dataset": name,
        "classes": list(class_names(trained.dataset)),
        **score.to_dict(),
        "device": device_block(plan, engine),
        "backend": engine.backend,
        "versions": versions(engine.backend),
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    reporter.line(pictures_text.setting(result, trained))
    reporter.line(pictures_text.closing(result))
    if files:
        write(files, result, score, reporter)
    return result


def score_of(
    predict: Predict, pictures: Sequence[Labelled], settings: inputs.Settings, batch_size: int, reporter: Reporter
) -> Score:
    """Return the score of a network on pictures, which are read one at a time; it is asked about a batch at once."""
    score = Score()
    waiting: list[tuple[int, Digit, Image.Image]] = []

    def ask_network() -> None:
        if not waiting:
            return
        probabilities = predict(np.stack([digit.image for _, digit, _ in waiting]))
        for (number, digit, thumbnail), row in zip(waiting, probabilities, strict=True):
            p = [float(str(value)) for value in row]  # as few digits as restore the float32
            shown = Shown({"class": int(row.argmax()), "p": p}, thumbnail, digit.image)
            try:
                inputs.check_answer(digit, row, settings)
                score.answer(number, pictures[number], shown)
            except UserError as error:
                score.refuse(number, pictures[number], str(error), shown)
        waiting.clear()

    for number, picture in enumerate(pictures):
        reporter.progress(f"{number:,} of {len(pictures):,} pictures read")
        thumbnail = None
        try:
            levels = decode.read_file(Path(picture.path))
            thumbnail = thumbnail_of(levels)
            waiting.append((number, inputs.one_digit(picture.path, levels, settings), thumbnail))
        except UserError as error:
            reason = str(error).removeprefix(f"{picture.path}: ")
            score.refuse(number, picture, reason, Shown({}, thumbnail, None))
        if len(waiting) == batch_size:
            ask_network()
    ask_network()
    return score


def thumbnail_of(picture: np.ndarray) -> Image.Image:
    """Return a decoded picture, float32 [height, width] or with its colours [height, width, 2], as a small grey one."""
    levels, _ = reading.channels_of(picture)
    small = Image.fromarray(levels.clip(0, 255).astype(np.uint8))
    small.thumbnail((THUMBNAIL, THUMBNAIL), reducing_gap=2)
    return small


def files_to_write(options: Options, run: Path) -> dict[str, Path]:
    """Return the files of --output by their names. Raise `UserError` if one could not be written, or is an input."""
    files = outputs.files_to_write("output", options.output, (JSON, PAGE))
    directory.check_output("output", options.output, files.values(), run)
    source = path_of("images", options.images)
    for file in files.values():
        if source.is_file():
            outputs.check_distinct({"images": source, "output": file})
    return files


def write(files: dict[str, Path], result: dict[str, Any], score: Score, reporter: Reporter) -> None:
    """Write both files, each whole or not at all."""
    from mnist_mlp.evaluate import pictures_page

    page = pictures_page.render(result, score.shown_mistakes, score.shown_refusals)
    outputs.make_directory(files[JSON].parent)
    atomic.write_json(files[JSON], result)
    atomic.write_text(files[PAGE], page)
    reporter.line(f"written  {files[JSON]}, {files[PAGE]}")
