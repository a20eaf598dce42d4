"""Steps of engines side by side, each from one state, so that what is apart is the rounding of one step.

Over many steps no two programs agree: where one rounds the sum at a ReLU to a little more than 0 and the other to a
little less, another gradient follows, from then on other weights, and so on. So a step is compared as `parity` does it,
from a state that is given to both, and on a network on which no rounding decides (`smooth`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

FLOAT32 = 2.0**-24  # the unit roundoff
# What a step changes is a sum over the batch of products through three layers, whose sums have up to 784 terms and a
# deviation of √784 unit roundoffs each: 170 in all are allowed, 1e-5. It is relative to the norm of the change.
OF_A_CHANGE = 170 * FLOAT32
OF_A_NUMBER = 4 * FLOAT32  # of what the change is added to: the sum rounds, in either engine, perhaps by two operations


def smooth(name: str, seed: int = 1) -> Any:
    """The network `name` without edges: an MLP has tanh for ReLU, and convolutions compute in float64, in which no sum
    lies as near to an edge as rounding could carry it."""
    import keras

    from mnist_mlp.models import networks

    def stack(policy: Any) -> list[Any]:
        if name == "cnn":
            return networks.cnn(keras.DTypePolicy("float64"))
        penalty = {"kernel_regularizer": keras.regularizers.L2(1e-4)} if name == "mlp_l2" else {}
        dropout = 0.2 if name == "mlp_dropout" else 0.0
        return networks.dense_stack(policy, [128, 64], dropout=dropout, activation="tanh", **penalty)

    assert name in ("mlp", "mlp_l2", "mlp_dropout", "cnn")
    return networks.network(stack, name=name, seed=seed, kernel_initializer="glorot_uniform")


def later(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The state as after many steps: a second moment of 0 would leave of a gradient its sign, be it rounding alone."""
    return {
        name: value + value.dtype.type(1e-6) if name.endswith("_velocity") else value for name, value in state.items()
    }


def share(before: Mapping[str, Any], found: Mapping[str, Any], expected: Mapping[str, Any]) -> dict[str, float]:
    """How far the states that two engines came to from `before` are apart, by name, as a share of what rounding
    allows: more than 1 is too much, and anything is for integers."""
    assert before.keys() == found.keys() == expected.keys()
    shares = {}
    for name, value in expected.items():
        start, one, other = (np.asarray(x) for x in (before[name], found[name], value))
        if other.dtype.kind != "f":
            shares[name] = 0.0 if np.array_equal(one, other) else np.inf
            continue
        start, one, other = (x.astype(np.float64) for x in (start, one, other))
        allowed = OF_A_CHANGE * np.linalg.norm(other - start) + OF_A_NUMBER * np.linalg.norm(other)
        apart = np.linalg.norm(one - other)
        shares[name] = float(apart / allowed) if allowed else 0.0 if apart == 0 else np.inf
    return shares


def furthest(engines: Sequence[Any], rows: Sequence[np.ndarray]) -> tuple[float, str]:
    """The largest share (see `share`) of what two engines differ in after any of the steps, and of which quantity."""
    state, worst = later(engines[1].state()), (0.0, "")
    for row in rows:
        ends, sums = [], []
        for engine in engines:
            engine.restore(state)
            sums.append(engine.train(row[None]))
            ends.append(engine.state())
        assert sums[0].seen == sums[1].seen == (row >= 0).sum()
        assert changed(state, ends[1])
        shares = share(state, *ends)
        shares["loss"] = abs(sums[0].loss_sum / sums[1].loss_sum - 1) / OF_A_CHANGE
        worst = max(worst, *((float(np.nan_to_num(value, nan=np.inf)), name) for name, value in shares.items()))
        state = ends[1]
    return worst


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether a step moved each weight array: else there is nothing to agree in."""
    return all((before[name] != after[name]).any() for name in after if name.endswith(("/kernel", "/bias")))


def check_pixel_gradients(engine: Any, network: Any) -> None:
    """Compare an engine's derivatives of the cross-entropy by pixels with differences of NumPy's in float64.

    The images are noise: where a digit has no ink, a convolution without bias lies on the edge of its ReLU.
    """
    from mnist_mlp.models import numpy_forward, portable

    random = np.random.default_rng(0)
    images, labels = random.integers(1, 255, (6, 28, 28), np.uint8), random.integers(0, 10, 6, np.uint8)
    found = engine.pixel_gradients(images, labels)
    assert found.shape == images.shape and found.dtype == np.float32
    layers, step = portable.layers_of(network), 1e-3  # of a grey level: hardly any ReLU turns on in between
    for image, label, gradient in zip(images, labels, found, strict=True):
        places = np.random.default_rng(int(label)).integers(4, 24, (12, 2))
        moved = np.repeat(image[None].astype(np.float64), 24, axis=0)
        for number, (row, column) in enumerate(places):
            moved[2 * number, row, column] += step
            moved[2 * number + 1, row, column] -= step
        losses = -np.log(numpy_forward.probabilities(layers, moved, "float64")[:, label])
        expected = (losses[::2] - losses[1::2]) / (2 * step)
        assert np.abs(expected).max() > 0
        np.testing.assert_allclose(gradient[tuple(places.T)], expected, rtol=2e-4, atol=1e-3 * np.abs(expected).max())
