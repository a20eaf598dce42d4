"""How often a network errs on adversarial images: the fast gradient sign method at growing strengths (`--fgsm`).

Each pixel moves by ε, on a scale from 0 (background) to 1 (ink), to where the network's own loss grows, and is rounded
to a grey level. Source: I. Goodfellow, J. Shlens and C. Szegedy, "Explaining and harnessing adversarial examples", ICLR
2015. It is the weakest attack: a network that withstands it may well fail others.

The gradient is taken by the engine, for every network on both backends. A backward pass in NumPy would do for dense
networks alone, and would be a second network to keep true to the first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_mlp.data import Split
from mnist_mlp.evaluate.corruptions import Classify, Gradients, share_of

EPSILONS = (0.0, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3)


def attacked(images: NDArray[np.uint8], signs: NDArray[np.int8], epsilon: float) -> NDArray[np.uint8]:
    """Return the images, uint8 [n, 28, 28], each pixel moved by ε to where `signs`, −1, 0 or 1, point."""
    step = round(255 * epsilon)
    return np.clip(images.astype(np.int16) + step * signs, 0, 255).astype(np.uint8)


def curve(split: Split, classify: Classify, gradients: Gradients) -> list[dict[str, Any]]:
    """Return the errors on the images of a split at each ε, with Wilson's interval."""
    signs = np.sign(gradients(split.images, split.labels)).astype(np.int8)
    rows = []
    for epsilon in EPSILONS:
        wrong = classify(attacked(split.images, signs, epsilon)) != split.labels
        rows.append({"epsilon": epsilon, **share_of(wrong)})
    return rows
