"""The operations that are tested besides matrix products, and how their results are judged; only NumPy is needed.

`asked` is the input of every replica, `questions` judges the results: the modules of the frameworks return them under
the same names. Operations on integers, and those whose results float32 represents, must be exact; elsewhere a few
roundings are allowed, as given with each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from mnist_mlp.parity import random_bits
from mnist_mlp.parity.rounding import FLOAT32, TINY

Arrays = Mapping[str, Any]  # by name, possibly in groups
N = 60_000
CLOSE = 16 * FLOAT32  # for a few consecutive operations that include an exponential or logarithm of a library
FLAGS = ((1, 1), (9, 10), (978, 1000), (58_674, N))  # number of true ones, of all
SEED = (0x13198A2E, 0x03707344)  # digits of π, as in the test vectors of Random123
TOTAL = 2**31 - 101  # a sum that int32 can represent, but float32 cannot
DROPPED = 0.2


@dataclass(frozen=True)
class Finding:
    """The verdict on the results of one replica."""

    found: str
    passed: bool
    figures: dict[str, float]  # nan where the result was nan


@dataclass(frozen=True)
class Question:
    name: str
    expected: str
    judge: Callable[[Arrays], Finding]


def finding(problems: Sequence[str], success: str, **figures: float) -> Finding:
    """Return a finding that passes if there are no problems and quotes the first one otherwise."""
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    numbers = {name: float(figure) for name, figure in figures.items()}
    return Finding(problems[0] + more if problems else success, not problems, numbers)


def asked(replicas: int) -> dict[str, Any]:
    """Return the inputs of each replica, besides the factors of matrix products.

    In the all-reduce, replica r adds its share, shares[…][r], only at positions r, r + replicas, r + 2·replicas, ….
    """
    edges = [0, N - 1, 1, N - 2, 0, 255, 256, 32_767, 32_768, 2**24 // 784, 2**24 // 784 + 1, N - 1]
    logits, labels = extremes()[1:]
    powers = np.concatenate([np.linspace(-87, -0.1, 2000), np.linspace(0.1, 88, 2000)])
    return {
        "flags": {f"{true} of {n}": np.arange(n) * 7919 % n < true for true, n in FLAGS},  # 7919 is prime
        "ties": ties()[1],
        "extremes": {"logits": logits, "labels": labels},
        "images": np.arange(N * 196, dtype="<u4").view(np.uint8).reshape(N, 28, 28),  # encode their index
        "labels": (np.arange(N) * 7 % 251).astype(np.uint8),
        "rows": np.array([*edges, *np.random.default_rng(1).integers(0, N, 52)], np.int32),
        "pixels": np.arange(256, dtype=np.uint8),
        "floats": np.arange(1024, dtype=np.float32) / 4,
        "addends": {
            "floats": np.full(N, 0.1, np.float32),
            "integers": np.array([32_767] * 65_536 + [TOTAL - 32_767 * 65_536], np.int32),
        },
        "exponents": np.linspace(-87, 88, 4001, dtype=np.float32),
        "positives": np.exp(powers).astype(np.float32),
        "positions": np.arange(109_386, dtype=np.int32),  # the number of the network's parameters
        "shares": {
            "floats": np.arange(1, replicas + 1, dtype=np.float32),
            "integers": 2**24 + 2 * np.arange(replicas, dtype=np.int32) + 1,  # not representable in float32
        },
        "seed": np.array(SEED, np.uint32),
        "ones": np.ones(N, np.float32),
    }


def questions(put: Arrays, backend: str) -> list[Question]:
    """Return how the results for the inputs `put`, from `asked(…)`, are judged."""
    return [
        Question("boolean mean", "counts exact, means to 2 ulp", boolean_means),
        Question("argmax with ties", "the first of the largest", argmax),
        Question("softmax at extremes", "as in float64, no nan", partial(softmax, put["extremes"])),
        Question(
            "cross-entropy at extremes", "as in float64, no nan, nor its gradient", partial(losses, put["extremes"])
        ),
        Question("gather by index", "every byte exact", partial(gathered, put)),
        Question("bytes to floats and back", "exact; × 1/255 to 2 ulp", partial(conversions, put)),
        Question("sum of 60,000 × 0.1", f"relative error ≤ n·u = {N * FLOAT32:.1e}", float_sum),
        Question("integer sum", f"{TOTAL}, exact", integer_sum),
        Question("exponential and logarithm", "to 16 ulp", partial(exp_and_log, put)),
        Question("all-reduce", "every replica's share once, exact", partial(all_reduce, put["shares"])),
        Question("random bits", "those of Threefry" if backend == "jax" else "those of Philox", partial(bits, backend)),
        Question("dropout mask", f"{DROPPED:.0%} are 0, to 5 deviations", dropout_mask),
    ]


def ulps(found: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Return errors in units of the last place of float32."""
    return np.abs(np.float64(found) - exact) / np.spacing(np.abs(exact).astype(np.float32))


def boolean_means(answers: Arrays) -> Finding:
    problems, worst = [], 0.0
    for true, n in FLAGS:
        name = f"{true} of {n}"
        mean, count = answers["means"][name], answers["counts"][name]
        error = float(ulps(mean, np.array(true / n)))
        worst = max(worst, error)
        if not error <= 2:
            problems.append(f"the mean of {true:,} true of {n:,} is {mean:.6g} instead of {true / n:.6g}")
        if count != true:
            problems.append(f"counted {count:,} true of {n:,} instead of {true:,}")
    return finding(problems, f"all {len(FLAGS)} of up to {N:,} flags correct", ulps=worst)


def ties() -> tuple[list[str], np.ndarray]:
    """Return rows of ten with ties: descriptions, and float32 [rows, 10]. The last one contains nan."""
    values = {"equal": 0.0, "-inf": -np.inf, "inf": np.inf}
    rows: dict[str, np.ndarray] = {f"all are {name}": np.full(10, value) for name, value in values.items()}
    rows["-0 comes before 0"] = np.array([-1, -0.0, 0.0] + [-1] * 7)
    for i in range(10):
        rows[f"element {i} alone is finite"] = np.where(np.arange(10) == i, -1e38, -np.inf)
        for j in range(i + 1, 10):
            rows[f"elements {i} and {j} are equal"] = np.where(np.isin(np.arange(10), (i, j)), 0.5, -0.5)
    rows["nan"] = np.array([0, 1, np.nan, 3, np.nan, 2, 2, 2, 2, 2])
    return list(rows), np.stack(list(rows.values())).astype(np.float32)


def argmax(answers: Arrays) -> Finding:
    """Judge ties. With nan, NumPy and JAX return its index, TensorFlow may ignore it: reported, not judged."""
    names, rows = ties()
    truth, found = rows.argmax(1), answers["argmax"]
    problems = [
        f"{found[i]} where {names[i]}, instead of {truth[i]}" for i in range(len(rows) - 1) if found[i] != truth[i]
    ]
    return finding(problems, f"all {len(rows) - 1} rows correct", beside_nan=found[-1])


def extremes() -> tuple[list[str], np.ndarray, np.ndarray]:
    """What each row is, float32 [rows, 10], and labels, int32 [rows]: that of the largest logit, or of the smallest."""
    first = np.arange(10) == 0
    rows: dict[str, np.ndarray] = {f"all are {x:g}": np.full(10, x) for x in (0, 88.8, -88.8, 1e4, -1e4, 1e30)}
    for x, others in ((88.8, 0), (104, 0), (1e4, -1e4), (-1e4, 1e4), (1e30, 0), (3.4e38, 0), (-3.4e38, 0)):
        rows[f"one is {x:g}, others {others:g}"] = np.where(first, x, others)
    rows["from -45 to 45"] = np.arange(10) * 10.0 - 45
    rows["from 1e4 to 1e4 + 9"] = np.arange(10) + 1e4
    logits = np.repeat(np.stack(list(rows.values())).astype(np.float32), 2, 0)
    labels = np.where(np.arange(len(logits)) % 2, logits.argmin(1), logits.argmax(1))
    return [name for name in rows for _ in range(2)], logits, labels.astype(np.int32)


def exact_softmax(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return logits minus the largest of their row, and probabilities, both float64."""
    wide = logits.astype(np.float64)
    shifted = wide - wide.max(1, keepdims=True)
    return shifted, np.exp(shifted) / np.exp(shifted).sum(1, keepdims=True)


def softmax(put: Arrays, answers: Arrays) -> Finding:
    """Judge the softmax. An absolute error in the argument of an exponential is a relative error in its result."""
    found = answers["extremes"]["softmax"]
    shifted, exact = exact_softmax(put["logits"])
    error = (np.abs(found - exact) / (CLOSE * exact * (1 + np.abs(shifted)) + TINY)).max(1)
    error = np.maximum(error, np.abs(found.sum(1, dtype=np.float64) - 1) / CLOSE)
    return by_row({"the softmax": (error, found.max(1), exact.max(1))})


def losses(put: Arrays, answers: Arrays) -> Finding:
    """Judge losses, which are differences of two rounded numbers, and their gradients."""
    logits, rows, labels = put["logits"].astype(np.float64), np.arange(len(put["labels"])), put["labels"]
    shifted, exact = exact_softmax(logits)
    log_sums = np.log(np.exp(shifted).sum(1))
    loss, gradient = log_sums - shifted[rows, labels], exact - np.eye(10)[labels]
    rounded = 4 * FLOAT32 * (np.abs(log_sums + logits.max(1)) + np.abs(logits[rows, labels])) + CLOSE * (1 + loss)
    found, slopes = answers["extremes"]["losses"], answers["extremes"]["gradient"]
    slope_error = np.abs(slopes - gradient).max(1) / CLOSE
    return by_row(
        {
            "the loss": (np.abs(found - loss) / rounded, found, loss),
            "the gradient": (slope_error, slopes[rows, labels], gradient[rows, labels]),
        }
    )


def by_row(judged: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Finding:
    """Judge rows of logits by (error / allowed error, a result, the exact result)."""
    names = extremes()[0]
    problems = [
        f"{what} is {found[i]:.6g} instead of {exact[i]:.6g} where {names[i]}"
        for what, (error, found, exact) in judged.items()
        for i in range(len(names))
        if not error[i] <= 1  # nan, too
    ]
    worst = max(error.max() for error, _, _ in judged.values())
    return finding(problems, f"all {len(names)} rows correct", share_of_allowed=worst)


def gathered(put: Arrays, answers: Arrays) -> Finding:
    problems = []
    images = np.ascontiguousarray(answers["images"]).reshape(-1, 784)
    indices = images[:, :4].copy().view("<u4")[:, 0] // 196  # encoded in each image
    for row, image, index, label in zip(put["rows"], images, indices, answers["labels"], strict=True):
        if (image != put["images"][row].ravel()).any():
            problems.append(f"image {row:,} is " + (f"image {index:,}" if index != row else "damaged"))
        if label != put["labels"][row]:
            problems.append(f"label {row:,} is {label} instead of {put['labels'][row]}")
    return finding(problems, f"{len(images)} images and labels of {N:,} correct")


def conversions(put: Arrays, answers: Arrays) -> Finding:
    pixels, floats = put["pixels"], put["floats"]
    error = ulps(answers["scaled"][1:], pixels[1:] / 255)
    problems = [f"byte {p} is {x:.6g} as a float" for p, x in zip(pixels, answers["pixels"], strict=True) if p != x]
    problems += [f"{x:.6g} is {b} as a byte" for x, b in zip(floats, answers["bytes"], strict=True) if int(x) != b]
    if answers["scaled"][0] != 0 or not error.max() <= 2:
        problems.append(f"a byte × 1/255 is {error.max():.3g} ulp off")
    return finding(problems, "all 256 bytes correct", ulps=error.max())


def float_sum(answers: Arrays) -> Finding:
    """Judge a sum of equal terms, which may all round alike, by the worst-case bound.

    See Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., section 4.2.
    """
    exact = N * float(np.float32(0.1))
    error = abs(float(answers["sums"]["floats"]) / exact - 1)
    problems = [] if error <= N * FLOAT32 else [f"{answers['sums']['floats']:.6g} instead of {exact:.6g}"]
    return finding(problems, f"relative error {error:.1e} of {N * FLOAT32:.1e} allowed", relative_error=error)


def integer_sum(answers: Arrays) -> Finding:
    found = int(answers["sums"]["integers"])
    return finding([f"{found} instead of {TOTAL}"] if found != TOTAL else [], f"{found}", off_by=found - TOTAL)


def exp_and_log(put: Arrays, answers: Arrays) -> Finding:
    """Judge exponentials and logarithms. 16 ulp allow for different libraries, but not for lower precision."""
    arguments, worst = {"exp": put["exponents"], "log": put["positives"]}, {}
    problems = []
    for name, exact in (("exp", np.exp(np.float64(arguments["exp"]))), ("log", np.log(np.float64(arguments["log"])))):
        error = ulps(answers[name], exact)
        at = int(np.nan_to_num(error, nan=np.inf).argmax())
        worst[name] = error[at]
        if not error[at] <= 16:
            problems.append(f"{name}({arguments[name][at]:.9g}) is {answers[name][at]:.9g} instead of {exact[at]:.9g}")
    return finding(problems, f"to {worst['exp']:.1f} and {worst['log']:.1f} ulp", **worst)


def all_reduce(shares: Arrays, answers: Arrays) -> Finding:
    """Judge how often each replica's share is counted, at the positions where only this replica contributes."""
    problems, replicas = [], len(shares["floats"])
    for what, found in answers["all-reduce"].items():
        for replica, share in enumerate(shares["integers" if "integer" in what else "floats"]):
            times = np.float64(found[replica::replicas]) / share * (replicas if what == "mean" else 1)
            wrong = times[~(np.abs(times - 1) <= (2 * FLOAT32 if what == "mean" else 0))]  # nan, too
            if len(wrong):
                so = "is missing from" if wrong[0] == 0 else f"counts {wrong[0]:.6g} times in"
                problems.append(f"replica {replica} {so} the {what} at {len(wrong):,} of {len(times):,} positions")
    return finding(problems, f"{', '.join(answers['all-reduce'])} of {replicas} correct")


def bits(backend: str, answers: Arrays) -> Finding:
    """Judge random bits, which are the same on every device, and the distribution of their bytes.

    χ² has 255 degrees of freedom; it is more than 6 standard deviations of √510 off once in 10⁷ times.
    """
    found, exact = answers["bits"], random_bits.BITS[backend](SEED, N)
    counts = np.bincount(found.view(np.uint8), minlength=256)
    chi_square = float(((counts - 4 * N / 256) ** 2 / (4 * N / 256)).sum())
    wrong = np.flatnonzero(found != exact)
    problems = []
    if len(wrong):
        number = f"{found[wrong[0]]:08x} instead of {exact[wrong[0]]:08x}"
        problems.append(f"{len(wrong):,} of {N:,} differ: number {wrong[0]:,} is {number}")
    if abs(chi_square - 255) > 6 * 510**0.5:
        problems.append(f"χ² of the bytes is {chi_square:.0f}, far from 255")
    return finding(problems, f"{N:,} numbers correct, χ² of the bytes {chi_square:.0f}", chi_square=chi_square)


def dropout_mask(answers: Arrays) -> Finding:
    mask = answers["mask"]
    share, deviation = float((mask == 0).mean()), (DROPPED * (1 - DROPPED) / N) ** 0.5
    strange = mask[(mask != 0) & (ulps(mask, np.array(1 / (1 - DROPPED))) > 1)]
    problems = [f"{strange[0]:.6g} is neither 0 nor {1 / (1 - DROPPED)}"] if len(strange) else []
    if not abs(share - DROPPED) <= 5 * deviation:
        problems.append(f"{share:.2%} are 0 instead of {DROPPED:.0%}")
    return finding(problems, f"{share:.2%} of {N:,} are 0", share=share)
