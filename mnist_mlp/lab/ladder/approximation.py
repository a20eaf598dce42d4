"""The approximation theorem on functions of one variable: the error of one hidden layer against its width.

The theorem (G. Cybenko 1989; K. Hornik 1991) says that good weights exist, not that training finds them. So nothing is
trained here: the hidden weights are drawn at random and the output weights are optimal for them, by least squares. That
takes milliseconds and, unlike gradient descent, always reaches the optimum. The result is an upper bound: a layer of
the same width with the best hidden weights is at least as good.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

Function = Callable[[np.ndarray], np.ndarray]

TARGETS: Mapping[str, Function] = {  # on −1 … 1, with values from −1 to 1
    "smooth: sin 3πx": lambda x: np.sin(3 * np.pi * x),
    "with a kink: 2|x| − 1": lambda x: 2 * np.abs(x) - 1,
    "with a jump: sign of x": np.sign,
}
WIDTHS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
FITTED = np.linspace(-1, 1, 1001)  # where the output weights are fitted
CHECKED = (np.arange(5_000) + 0.5) / 2_500 - 1  # where the error is measured: between those points, not at the jump


def errors(width: int, seed: int, activation: Function = np.tanh) -> dict[str, tuple[float, float]]:
    """Return, for each target, the L² error (root mean square over −1 … 1) and the largest error.

    Neuron i of the `width` hidden ones computes activation(sᵢ(x − cᵢ)). Its centre cᵢ is uniform over −1.2 … 1.2, its
    slope sᵢ log-uniform from 1 to the width (at least 2), so that a wider layer also has neurons for finer detail.
    """
    rng = np.random.default_rng([seed, width])
    slopes = np.exp(rng.uniform(0, np.log(max(2, width)), width))
    centres = rng.uniform(-1.2, 1.2, width)

    def layer(x: np.ndarray) -> np.ndarray:  # float64 [points, width + 1]; the last column is for the bias
        return np.column_stack([activation(slopes * (x[:, None] - centres)), np.ones(len(x))])

    wanted = np.column_stack([target(FITTED) for target in TARGETS.values()])
    weights, *_ = np.linalg.lstsq(layer(FITTED), wanted, rcond=1e-10)  # smaller singular values are rounding errors
    error = np.abs(layer(CHECKED) @ weights - np.column_stack([target(CHECKED) for target in TARGETS.values()]))
    return {name: (float(np.sqrt(np.mean(e**2))), float(e.max())) for name, e in zip(TARGETS, error.T, strict=True)}
