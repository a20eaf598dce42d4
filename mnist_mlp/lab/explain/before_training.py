"""What the lecture says of its network before training, held against the network that runs here."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import keras
import numpy as np

from mnist_mlp.data.batches import batch_indices, sequential_indices
from mnist_mlp.lab.explain.lesson import Claim, Lesson, weights
from mnist_mlp.text import division

MNIST = (60_000, 10_000, 32)  # training images, test images and batch of the lecture


def count_layers(lesson: Lesson) -> list[Claim]:
    lectures = keras.Sequential(
        [
            keras.Input((28, 28)),
            keras.layers.Flatten(),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    lectures.set_weights(lesson.model.get_weights())
    images = lesson.dataset.test.images
    found = keras.ops.convert_to_numpy(lectures(images.astype(np.float32) / 255))
    apart = float(np.abs(found - lesson.engine.predict(images)).max())
    widths = [lesson.dense[0].kernel.shape[0], *(layer.kernel.shape[1] for layer in lesson.dense)]
    chained = all(layer.kernel.shape[0] == width for layer, width in zip(lesson.dense, widths, strict=False))
    return [
        Claim(
            "four layers, as the lecture writes them down",
            "Flatten, Dense 128, Dense 64, Dense 10 with softmax",
            f"Keras' Sequential of those {len(lectures.layers)} is the network here: probabilities differ by "
            f"{apart:.0e} at most",
            len(lectures.layers) == 4 and apart < 1e-5,
        ),
        Claim(
            "two of them are hidden: neither the input nor the answer",
            f"{len(lesson.dense)} Dense − 1 that answers = {len(lesson.dense) - 1}",
            f"the arrays lead {' → '.join(map(str, widths))}: {len(widths) - 2} widths lie between",
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
            "Flatten is no Dense layer: there is nothing to learn in it",
            "0 weights, 0 biases",
            f"{len(flatten.weights)} arrays of weights, {flatten.count_params()} parameters",
            not flatten.weights and not isinstance(flatten, keras.layers.Dense),
        ),
        Claim(
            "it lays the rows of an image end to end",
            "pixel (row, column) goes to place 28·row + column",
            f"{same:,} of {images.size:,} numbers are there, unchanged",
            same == images.size == rows.size,
        ),
    ]


def count_parameters(lesson: Lesson) -> list[Claim]:
    claims, in_all = [], 0
    for layer in lesson.dense:
        inputs, units = layer.input.shape[-1], layer.units
        kernel, bias = (keras.ops.convert_to_numpy(array) for array in layer.weights)
        expected = (inputs + 1) * units
        in_all += expected
        claims.append(
            Claim(
                f"{units} neurons of {inputs} weights and a bias",
                f"({inputs} + 1) · {units} = {expected:,}",
                f"arrays of {kernel.size:,} and {bias.size:,}: {kernel.size + bias.size:,}",
                kernel.size + bias.size == expected,
            )
        )
    held = sum(value.size for name, value in lesson.engine.state().items() if name.startswith("model/"))
    every = " + ".join(f"{layer.count_params():,}" for layer in lesson.dense)
    counted = f"{held:,} numbers in the engine's state, Keras counts {lesson.model.count_params():,}"
    holds = in_all == held == lesson.model.count_params() == 109_386
    return [*claims, Claim("109,386 in all: the other layers have none", f"{every} = {in_all:,}", counted, holds)]


def count_steps(lesson: Lesson) -> list[Claim]:
    n, m, batch = len(lesson.dataset.train), len(lesson.dataset.test), lesson.batch_size
    epoch, counts = lesson.still, lesson.engine.evaluate("test")
    times = np.bincount(epoch.order[epoch.order >= 0], minlength=n)
    steps, evaluation = math.ceil(n / batch), math.ceil(m / batch)
    claims = [
        Claim(
            f"{n:,} points are in the training set",
            f"{n + m:,} in all − {m:,} for the test = {n:,}",
            f"{len(times):,} images in the order of an epoch, {int((times == 1).sum()):,} of them once",
            len(times) == n and bool((times == 1).all()),
        ),
        Claim(
            f"{steps:,} {'step is' if steps == 1 else 'steps are'} an epoch of training",
            division(n, batch, steps),
            f"{epoch.updates:,} updates counted by Adam, {len(epoch.sums.losses):,} losses",
            epoch.updates == len(epoch.sums.losses) == steps,
        ),
        Claim(
            f"{evaluation:,} {'batch is' if evaluation == 1 else 'batches are'} an evaluation: every test image once",
            division(m, batch, evaluation),
            f"{len(lesson.engine.batch_indices['test']):,} batches; {counts.total:,} answers in the confusion matrix",
            len(lesson.engine.batch_indices["test"]) == evaluation and counts.total == m,
        ),
    ]
    return [*claims, *mnist_steps((n, m, batch) == MNIST)]


def mnist_steps(shown: bool) -> list[Claim]:
    """1875 and 313, from the orders that this program gives to MNIST whether it is here or not."""
    n, m, batch = MNIST
    train, test = batch_indices(0, 0, n, batch), sequential_indices(m, batch)
    rounded = 6 * len(test) * batch - n
    numbers = Claim(
        "on MNIST: 1875 steps of training, 313 of evaluation",
        f"{division(n, batch, 1875)}; {division(m, batch, 313)}",
        f"orders of {len(train)} and {len(test)} batches of {batch}",
        (len(train), len(test)) == (1875, 313),
    )
    ratio = Claim(
        "1875 ≈ 6 · 313: there are six times as many images",
        "6 · 313 = 1878 = 1875 + 3: 312.5 was rounded up, by ½, six times",
        f"{len(train)} = 6 · {len(test)} − {6 * len(test) - len(train)}; the last of {len(test)} holds "
        f"{(test[-1] >= 0).sum()} of {batch}",
        6 * len(test) - len(train) == 3 == rounded / batch and int((test[-1] >= 0).sum()) == batch / 2,
    )
    return [ratio] if shown else [numbers, ratio]


def take_steps(lesson: Lesson) -> list[Claim]:
    epoch, begin = lesson.still, functools.partial(lesson.trainer.begin, lesson.seeds[0])
    row = epoch.order[0]
    begin()
    rate, start = float(keras.ops.convert_to_numpy(lesson.engine.optimizer.learning_rate)), weights(lesson.model)

    def after(row: np.ndarray) -> np.ndarray:
        begin()
        lesson.engine.train(row[None])
        return weights(lesson.model)

    end = after(row)
    updates, moved = lesson.updates, end - start
    turned = float(np.abs(after(row[::-1]) - end).max())
    begin()
    own = np.where(epoch.order >= 0, epoch.losses[epoch.order], 0).sum(1)
    close = int(np.isclose(epoch.sums.losses, own, rtol=1e-4).sum())
    return [
        Claim(
            "a batch has no order: a step takes the mean over its images",
            f"Σ/{len(row)} over the same images is the same",
            f"its images in reverse: no weight differs by more than {turned:.0e}; the step moves them by {rate:g}",
            turned < rate / 100,
        ),
        Claim(
            "a step changes the weights once, by the step size at most",
            "Adam's first one: step size · g/|g|, for the gradient g",
            f"{updates} update; {(moved != 0).sum():,} of {moved.size:,} weights moved, {np.abs(moved).max():.6f} "
            "at most",
            updates == 1 and math.isclose(np.abs(moved).max(), rate, rel_tol=1e-3),
        ),
        Claim(
            "an epoch sees every image once",
            "its losses, at step size 0, are those of its own images",
            f"{close:,} of {len(own):,} batches: the sum of their images' losses, each scored by itself",
            close == len(own),
        ),
        count_flops(lesson, epoch.seconds / len(own)),
    ]


def count_flops(lesson: Lesson, seconds: float) -> Claim:
    """A matrix product [b, i]·[i, o] takes 2·b·i·o operations; a Dense layer has one forwards and two backwards."""
    kernels = [math.prod(layer.kernel.shape) for layer in lesson.dense]
    batch = lesson.engine.batch_indices["train"].shape[1]
    products = 2 * batch * (3 * sum(kernels) - kernels[0])
    counted = lesson.engine.step_flops()
    # What is no product (the pixels' scaling, activations, the loss, Adam) takes some operations for each number.
    numbers = lesson.engine.devices.replicas * lesson.model.count_params()
    numbers += batch * (784 + sum(layer.units for layer in lesson.dense))
    return Claim(
        f"a step takes {products:,} operations in its products, and a few for each weight",
        f"2 · {batch} · (3 · {sum(kernels):,} − {kernels[0]:,}): forwards, for the weights, for the inputs, but not "
        "for the pixels",
        f"{counted:,.0f} in its {'graph' if lesson.engine.backend == 'tensorflow' else 'XLA program'}; it takes "
        f"{1e6 * seconds:.0f} µs: {counted / seconds / 1e9:.1f} GFLOP/s",
        products <= counted <= products + 20 * numbers,
    )


BEFORE_TRAINING: list[tuple[str, Callable[[Lesson], list[Claim]]]] = [
    ("How many layers are there, and how many are hidden?", count_layers),
    ("Is Flatten a dense layer?", look_at_flatten),
    ("How many parameters, and why?", count_parameters),
    ("How many points are in the training set? What do 1875 and 313 stand for?", count_steps),
    ("What are a batch, a step and an epoch, and what does a step cost?", take_steps),
]
