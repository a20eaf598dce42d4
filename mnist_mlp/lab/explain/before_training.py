"""The lecture's claims about the network before training: layers, parameters, batches and steps."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import keras
import numpy as np

from mnist_mlp.data.batches import batch_indices, sequential_indices
from mnist_mlp.lab.explain.lesson import Claim, Lesson, weights
from mnist_mlp.text import division

MNIST = (60_000, 10_000, 32)  # training images, test images and batch size of the lecture


def count_layers(lesson: Lesson) -> list[Claim]:
    sequential = keras.Sequential(
        [
            keras.Input((28, 28)),
            keras.layers.Flatten(),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    sequential.set_weights(lesson.model.get_weights())
    images = lesson.dataset.test.images
    probabilities = keras.ops.convert_to_numpy(sequential(images.astype(np.float32) / 255))
    difference = float(np.abs(probabilities - lesson.engine.predict(images)).max())
    widths = [lesson.dense[0].kernel.shape[0], *(layer.kernel.shape[1] for layer in lesson.dense)]
    chained = all(layer.kernel.shape[0] == width for layer, width in zip(lesson.dense, widths, strict=False))
    return [
        Claim(
            "four layers, as the lecture writes them down",
            "Flatten, Dense 128, Dense 64, Dense 10 with softmax",
            f"a Keras Sequential of these {len(sequential.layers)} computes the same: probabilities differ by at most "
            f"{difference:.0e}",
            len(sequential.layers) == 4 and difference < 1e-5,
        ),
        Claim(
            "two of them are hidden: neither input nor output",
            f"{len(lesson.dense)} Dense − 1 output layer = {len(lesson.dense) - 1}",
            f"the weight arrays map {' → '.join(map(str, widths))}: {len(widths) - 2} widths in between",
            chained and (widths[0], len(widths) - 2, widths[-1]) == (784, 2, 10),
        ),
    ]


def look_at_flatten(lesson: Lesson) -> list[Claim]:
    flatten, images = lesson.model.get_layer("flatten"), lesson.dataset.test.images.astype(np.float32)
    rows = keras.ops.convert_to_numpy(flatten(images))  # [n, 784]
    row, column = np.divmod(np.arange(28 * 28), 28)
    same = int((rows == images[:, row, column]).sum())
    return [
        Claim(
            "Flatten is not a Dense layer: it has nothing to learn",
            "0 weights, 0 biases",
            f"{len(flatten.weights)} arrays of weights, {flatten.count_params()} parameters",
            not flatten.weights and not isinstance(flatten, keras.layers.Dense),
        ),
        Claim(
            "it joins the rows of an image end to end",
            "pixel (row, column) goes to index 28·row + column",
            f"{same:,} of {images.size:,} numbers are there, unchanged",
            same == images.size == rows.size,
        ),
    ]


def count_parameters(lesson: Lesson) -> list[Claim]:
    claims, total = [], 0
    for layer in lesson.dense:
        inputs, units = layer.input.shape[-1], layer.units
        kernel, bias = (keras.ops.convert_to_numpy(array) for array in layer.weights)
        expected = (inputs + 1) * units
        total += expected
        claims.append(
            Claim(
                f"{units} neurons with {inputs} weights and a bias each",
                f"({inputs} + 1) · {units} = {expected:,}",
                f"arrays of {kernel.size:,} and {bias.size:,}: {kernel.size + bias.size:,}",
                kernel.size + bias.size == expected,
            )
        )
    held = sum(value.size for name, value in lesson.engine.state().items() if name.startswith("model/"))
    terms = " + ".join(f"{layer.count_params():,}" for layer in lesson.dense)
    counted = f"{held:,} numbers in the engine's state, Keras counts {lesson.model.count_params():,}"
    holds = total == held == lesson.model.count_params() == 109_386
    return [*claims, Claim("109,386 in total: the other layers have none", f"{terms} = {total:,}", counted, holds)]


def count_steps(lesson: Lesson) -> list[Claim]:
    n, m, batch = len(lesson.dataset.train), len(lesson.dataset.test), lesson.batch_size
    epoch, counts = lesson.frozen, lesson.engine.evaluate("test")
    times = np.bincount(epoch.batches[epoch.batches >= 0], minlength=n)
    steps, evaluation = math.ceil(n / batch), math.ceil(m / batch)
    test_batches = len(lesson.engine.batch_indices["test"])  # type: ignore[attr-defined]  # of a compiled engine
    claims = [
        Claim(
            f"the training set has {n:,} points",
            f"{n + m:,} in total − {m:,} for the test = {n:,}",
            f"{len(times):,} images in the batches of an epoch, {int((times == 1).sum()):,} of them once",
            len(times) == n and bool((times == 1).all()),
        ),
        Claim(
            f"an epoch of training takes {steps:,} {'step' if steps == 1 else 'steps'}",
            division(n, batch, steps),
            f"{epoch.updates:,} updates counted by Adam, {len(epoch.sums.losses):,} losses",
            epoch.updates == len(epoch.sums.losses) == steps,
        ),
        Claim(
            f"an evaluation takes {evaluation:,} {'batch' if evaluation == 1 else 'batches'}: every test image once",
            division(m, batch, evaluation),
            f"{test_batches:,} batches; {counts.total:,} answers in the confusion matrix",
            test_batches == evaluation and counts.total == m,
        ),
    ]
    return [*claims, *mnist_steps((n, m, batch) == MNIST)]


def mnist_steps(shown: bool) -> list[Claim]:
    """Return the claims on 1875 and 313, from the batches that MNIST would have. If `shown`, 1875 and 313 stand in the
    claims above already."""
    n, m, batch = MNIST
    train, test = batch_indices(0, 0, n, batch), sequential_indices(m, batch)
    rounded = 6 * len(test) * batch - n
    numbers = Claim(
        "on MNIST: 1875 training steps, 313 evaluation batches",
        f"{division(n, batch, 1875)}; {division(m, batch, 313)}",
        f"index arrays of {len(train)} and {len(test)} batches of {batch}",
        (len(train), len(test)) == (1875, 313),
    )
    ratio = Claim(
        "1875 ≈ 6 · 313: there are six times as many images",
        "6 · 313 = 1878 = 1875 + 3: 312.5 is rounded up by ½, six times",
        f"{len(train)} = 6 · {len(test)} − {6 * len(test) - len(train)}; the last of {len(test)} holds "
        f"{(test[-1] >= 0).sum()} of {batch}",
        6 * len(test) - len(train) == 3 == rounded / batch and int((test[-1] >= 0).sum()) == batch / 2,
    )
    return [ratio] if shown else [numbers, ratio]


def take_steps(lesson: Lesson) -> list[Claim]:
    epoch, begin = lesson.frozen, functools.partial(lesson.trainer.reset, lesson.seeds[0])
    batch = epoch.batches[0]
    begin()
    rate, start = float(keras.ops.convert_to_numpy(lesson.optimizer.learning_rate)), weights(lesson.model)

    def after(batch: np.ndarray) -> np.ndarray:
        begin()
        lesson.engine.train(batch[None])
        return weights(lesson.model)

    end = after(batch)
    updates, change = lesson.updates, end - start
    reversed_change = float(np.abs(after(batch[::-1]) - end).max())
    begin()
    expected = np.where(epoch.batches >= 0, epoch.losses[epoch.batches], 0).sum(1)
    close = int(np.isclose(epoch.sums.losses, expected, rtol=1e-4).sum())
    return [
        Claim(
            "a batch is a set: a step takes the mean over its images",
            f"Σ/{len(batch)} over the same images is the same",
            f"images in reverse: no weight differs by more than {reversed_change:.0e}; the step moves them by {rate:g}",
            reversed_change < rate / 100,
        ),
        Claim(
            "a step updates the weights once, by at most the learning rate",
            "Adam's first step: learning rate · g/|g|, for the gradient g",
            f"{updates} update; {(change != 0).sum():,} of {change.size:,} weights changed, by at most "
            f"{np.abs(change).max():.6f}",
            updates == 1 and math.isclose(np.abs(change).max(), rate, rel_tol=1e-3),
        ),
        Claim(
            "an epoch sees every image once",
            "with learning rate 0, each batch has the loss of its images",
            f"{close:,} of {len(expected):,} batches: the sum of their images' losses, each scored on its own",
            close == len(expected),
        ),
        count_flops(lesson, epoch.seconds / len(expected)),
    ]


def count_flops(lesson: Lesson, seconds: float) -> Claim:
    """A matrix product [b, i]·[i, o] takes 2·b·i·o operations; a Dense layer has one forward and two backward."""
    kernels = [math.prod(layer.kernel.shape) for layer in lesson.dense]
    batch = lesson.engine.batch_indices["train"].shape[1]  # type: ignore[attr-defined]  # of a compiled engine
    products = 2 * batch * (3 * sum(kernels) - kernels[0])
    counted = lesson.engine.step_flops()
    # Everything else (scaling the pixels, activations, the loss, Adam) takes a few operations per number.
    numbers = lesson.engine.devices.replicas * lesson.model.count_params()
    numbers += batch * (784 + sum(layer.units for layer in lesson.dense))
    return Claim(
        f"a step takes {products:,} operations in matrix products, and a few more per weight",
        f"2 · {batch} · (3 · {sum(kernels):,} − {kernels[0]:,}): forward, gradient of the weights, gradient of the "
        "inputs (the pixels need none)",
        f"{counted:,.0f} in its {'graph' if lesson.engine.backend == 'tensorflow' else 'XLA program'}; it takes "
        f"{1e6 * seconds:.0f} µs: {counted / seconds / 1e9:.1f} GFLOP/s",
        products <= counted <= products + 20 * numbers,
    )


BEFORE_TRAINING: list[tuple[str, Callable[[Lesson], list[Claim]]]] = [
    ("How many layers are there, and how many are hidden?", count_layers),
    ("Is Flatten a dense layer?", look_at_flatten),
    ("How many parameters, and why?", count_parameters),
    ("How many points are in the training set? What do 1875 and 313 mean?", count_steps),
    ("What are a batch, a step and an epoch, and what does a step cost?", take_steps),
]
