"""The approximation theorem, seen on functions of one variable: the error of one hidden layer against its width.

The theorem (G. Cybenko 1989; K. Hornik 1991) says that weights exist, not that training finds them. So none are
trained here: the hidden weights are drawn at random, and the output weights are the best ones for these, by least
squares. That takes milliseconds and ends where it should, which a descent of the gradient need not do. It gives an
upper bound: a layer as wide with the best hidden weights is at least as good.
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
CHECKED = (np.arange(5_000) + 0.5) / 2_500 - 1  # where the error is taken: between those points, and none at the jump


def errors(width: int, seed: int, activation: Function = np.tanh) -> dict[str, tuple[float, float]]:
    """For each target: the L² error, √(mean square) over −1 … 1, and the largest error, of `width` hidden neurons.

    Neuron i computes activation(sᵢ(x − cᵢ)). Its centre c is uniform over −1.2 … 1.2, and its slope s log-uniform from
    1 to the width (to 2 at least), so that a wider layer also has neurons for finer detail.
    """
    rng = np.random.default_rng([seed, width])
    slopes = np.exp(rng.uniform(0, np.log(max(2, width)), width))
    centres = rng.uniform(-1.2, 1.2, width)

    def layer(x: np.ndarray) -> np.ndarray:  # float64 [points, width + 1]: the last column goes with the bias
        return np.column_stack([activation(slopes * (x[:, None] - centres)), np.ones(len(x))])

    wanted = np.column_stack([target(FITTED) for target in TARGETS.values()])
    weights, *_ = np.linalg.lstsq(layer(FITTED), wanted, rcond=1e-10)  # below that a direction is rounding alone
    missed = np.abs(layer(CHECKED) @ weights - np.column_stack([target(CHECKED) for target in TARGETS.values()]))
    return {name: (float(np.sqrt(np.mean(e**2))), float(e.max())) for name, e in zip(TARGETS, missed.T, strict=True)}
