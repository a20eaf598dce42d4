"""How often a network errs on corrupted images: which kinds and severities, and what is measured on them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_mlp.cli.terminal import Reporter
from mnist_mlp.data import Split
from mnist_mlp.data.corruptions.kinds import BUILDING, KINDS, MNIST_C, corrupt
from mnist_mlp.errors import UserError
from mnist_mlp.stats.metrics import mean_interval, wilson_interval
from mnist_mlp.text import nearest, quoted

GROUPS = {"all": tuple(MNIST_C), "building": tuple(BUILDING)}
PUBLISHED = "published"
Classify = Callable[[NDArray[np.uint8]], NDArray[np.integer]]  # images [n, 28, 28] → classes [n]
Gradients = Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.float32]]  # see Engine.pixel_gradients
Errors = dict[tuple[str, int], NDArray[np.bool_]]  # of each kind and severity: whether each image is classified wrongly


def kinds_of(names: Sequence[str]) -> tuple[str, ...]:
    """Return the kinds that --corruptions names, each once. Raise `UserError` for an unknown name."""
    known = (*GROUPS, *KINDS)
    found: list[str] = []
    for name in (part for text in names for part in text.split(",") if part):
        if name not in known:
            raise UserError(
                f"--corruptions: expected all, building or names of kinds, received {quoted(name)}"
                f"{nearest(name, known)}; the kinds are {', '.join(KINDS)}"
            )
        found += GROUPS.get(name, (name,))
    return tuple(dict.fromkeys(found))


def severities_of(text: str, kinds: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return the severities of each kind that --severity names: "3", "1-5", "1,3,5", "published".

    Raise `UserError` for anything else.
    """
    if text == PUBLISHED:
        if others := [kind for kind in kinds if KINDS[kind].published is None]:
            raise UserError(
                f"--severity=published: expected kinds of MNIST-C, received {others[0]}; try --severity=1-5"
            )
        return {kind: (KINDS[kind].published or 0,) for kind in kinds}
    chosen: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"([1-5])(?:-([1-5]))?", part.strip())
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise UserError(
                "--severity: expected severities from 1 to 5, such as 3, 1-5 or 1,3,5, or published; "
                f"received {quoted(text)}"
            )
        chosen.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return {kind: tuple(sorted(chosen)) for kind in kinds}


@dataclasses.dataclass(frozen=True)
class Network:
    """A network to score: the directory of its run, what classifies images, and the gradients of their losses."""

    run: str
    classify: Classify
    gradients: Gradients


def errors_of(
    networks: Sequence[Network],
    split: Split,
    cells: Mapping[str, Sequence[int]],
    seed: int,
    reporter: Reporter,
) -> list[Errors]:
    """Return the errors of each network on the same images, corrupted by each kind at its severities.

    One corrupted copy of the split is in memory at a time.
    """
    found: list[Errors] = [{} for _ in networks]
    total, done = sum(map(len, cells.values())), 0
    for kind, severities in cells.items():
        for severity in severities:
            reporter.progress(f"corrupt  {kind}, severity {severity}: {done} of {total}")
            images = corrupt(split.images, kind, severity, seed=seed)
            for errors, network in zip(found, networks, strict=True):
                errors[kind, severity] = network.classify(images) != split.labels
            done += 1
    return found


def share_of(wrong: NDArray[np.bool_]) -> dict[str, Any]:
    """Return the errors among some images with Wilson's interval."""
    correct, total = int((~wrong).sum()), len(wrong)
    low, high = wilson_interval(correct, total)
    return {"errors": total - correct, "error": (total - correct) / total, "interval": [1 - high, 1 - low]}


def mean_of(several: Sequence[NDArray[np.bool_]]) -> dict[str, Any]:
    """Return the mean error over several corruptions of the same images, with the interval over images.

    The corruptions of one image are not independent, so an image counts once, with the share of them that it fails.
    """
    if len(several) == 1:
        share = share_of(several[0])
        return {"error": share["error"], "interval": share["interval"]}
    shares = np.mean(several, axis=0)
    low, high = mean_interval(shares)
    return {"error": float(shares.mean()), "interval": [max(0.0, low), min(1.0, high)]}


def summary(network: Network, clean: NDArray[np.bool_], errors: Errors) -> dict[str, Any]:
    """Return the errors of a network: `clean`, on the images as they are; by kind and severity; and their mean.

    The mean corruption error is the mean over the kinds of the mean over each kind's severities.
    """
    kinds = []
    for kind in dict.fromkeys(kind for kind, _ in errors):
        of_kind = {severity: wrong for (name, severity), wrong in errors.items() if name == kind}
        rows = [{"severity": severity, **share_of(wrong)} for severity, wrong in of_kind.items()]
        kinds.append({"kind": kind, **mean_of(list(of_kind.values())), "severities": rows})
    # Each kind has as many severities as the others: the mean over all cells is the mean over kinds.
    return {"run": network.run, "clean": share_of(clean), "kinds": kinds, "mean": mean_of(list(errors.values()))}


def against(one: Mapping[str, Any], other: Mapping[str, Any], errors: Errors, other_errors: Errors) -> dict[str, Any]:
    """Return the errors of a network relative to those of a reference, as ImageNet-C counts them, and their difference.

    CE is the error summed over the severities of a kind, divided by the reference's; the relative CE subtracts the
    error on clean images from each first. mCE and relative mCE are their means over the kinds. A kind on which the
    reference has no error, or loses nothing, has none: None.
    Source: D. Hendrycks and T. Dietterich, "Benchmarking neural network robustness to common corruptions and
    perturbations", ICLR 2019.
    """
    rows = []
    for mine, others in zip(one["kinds"], other["kinds"], strict=True):
        lost = others["error"] - other["clean"]["error"]
        rows.append(
            {
                "kind": mine["kind"],
                "ce": mine["error"] / others["error"] if others["error"] > 0 else None,
                "relative_ce": (mine["error"] - one["clean"]["error"]) / lost if lost > 0 else None,
            }
        )
    differences = np.mean([errors[cell].astype(float) - other_errors[cell] for cell in errors], axis=0)
    return {
        "kinds": rows,
        "mce": mean_or_none([row["ce"] for row in rows]),
        "relative_mce": mean_or_none([row["relative_ce"] for row in rows]),
        "difference": float(differences.mean()),
        "difference_interval": list(mean_interval(differences)),
    }


def mean_or_none(values: Sequence[float | None]) -> float | None:
    """Return the mean; None if a value is None, because a mean over fewer kinds would be another measure."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def examples_of(split: Split, cells: Mapping[str, Sequence[int]], network: Network, seed: int) -> list[Any]:
    """Return an example of each kind: (kind, index, label, [(severity, image, predicted class)]), from 0 for unchanged.

    The digits follow one another, so that each class is seen.
    """
    rows = []
    for number, (kind, severities) in enumerate(cells.items()):
        (of_class,) = np.nonzero(split.labels == number % 10)
        index = int(of_class[0]) if len(of_class) else 0
        image, at = split.images[index : index + 1], np.array([index])
        steps = [
            (0, image),
            *((severity, corrupt(image, kind, severity, seed=seed, indices=at)) for severity in severities),
        ]
        predicted = network.classify(np.concatenate([picture for _, picture in steps]))
        shown = [
            (severity, picture[0], int(label)) for (severity, picture), label in zip(steps, predicted, strict=True)
        ]
        rows.append((kind, index, int(split.labels[index]), shown))
    return rows
