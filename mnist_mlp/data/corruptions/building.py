"""Ten kinds that MNIST-C's test does not have, to choose options on: whoever chooses on the test has none left.

They are written as those in mnist_c.py.
"""

from __future__ import annotations

import numpy as np

from mnist_mlp.data.corruptions.draws import Draws, Floats
from mnist_mlp.data.corruptions.mnist_c import smooth
from mnist_mlp.data.corruptions.resampling import COLUMNS, ROWS, SIDE, sample


def gaussian_noise(images: Floats, draws: Draws, level: int) -> Floats:
    """Add noise of this deviation to every pixel."""
    return images + (0.08, 0.12, 0.18, 0.26, 0.38)[level] * draws.normal(SIDE, SIDE)


def speckle_noise(images: Floats, draws: Draws, level: int) -> Floats:
    """Add noise in proportion to the ink, so that strokes break up and the background stays."""
    return images * (1 + (0.25, 0.4, 0.6, 0.8, 1.1)[level] * draws.normal(SIDE, SIDE))


def gaussian_blur(images: Floats, draws: Draws, level: int) -> Floats:
    """Smooth by a Gaussian of this deviation, in pixels."""
    return smooth(images, (0.7, 1.0, 1.4, 1.8, 2.3)[level])


def pixelate(images: Floats, draws: Draws, level: int) -> Floats:
    """Sample the image at equal intervals, from a random offset, and draw each sample as a square."""
    size = (1.5, 2.0, 2.6, 3.2, 4.0)[level]
    start = draws.uniform(2, 1, 1) * size

    def middle(positions: Floats, first: Floats) -> Floats:
        return (np.floor((positions - first) / size) + 0.5) * size + first

    return sample(images, middle(ROWS, start[:, 0]), middle(COLUMNS, start[:, 1]))


def contrast(images: Floats, draws: Draws, level: int) -> Floats:
    """Print pale ink on grey paper: this much of the contrast is left, at any level of grey."""
    left = (0.7, 0.55, 0.4, 0.3, 0.2)[level]
    return draws.uniform(1, 1) * (1 - left) + left * images


def shadow(images: Floats, draws: Draws, level: int) -> Floats:
    """Lay a shadow over the paper that grows to this strength from one side to the other, in any direction."""
    strength = (0.2, 0.35, 0.5, 0.65, 0.8)[level]
    angle = draws.between(0, 2 * np.pi, 1, 1)
    along = ((COLUMNS - 13.5) * np.cos(angle) + (ROWS - 13.5) * np.sin(angle)) / 27 + 0.5
    shade = strength * np.clip(along, 0, 1)
    return shade + (1 - shade) * images


def occlusion(images: Floats, draws: Draws, level: int) -> Floats:
    """Cover a square of this many pixels with an even grey, near the middle."""
    side = (5, 7, 9, 10, 12)[level]
    centre, grey = draws.between(6, 21, 2, 1, 1), draws.uniform(1, 1)
    covered = np.maximum(np.abs(ROWS - centre[:, 0]), np.abs(COLUMNS - centre[:, 1])) <= side / 2
    return np.where(covered, grey, images)


def thickness(images: Floats, draws: Draws, level: int) -> Floats:
    """Make strokes thicker or thinner: mix in the largest or the smallest of near pixels."""
    from scipy.ndimage import maximum_filter, minimum_filter

    share, reach = ((0.5, 3), (1.0, 3), (0.6, 5), (0.8, 5), (1.0, 5))[level]
    thick = maximum_filter(images, (1, reach, reach))
    thin = minimum_filter(images, (1, 3, 3))
    thicker = draws.uniform(1, 1) < 0.5
    return np.where(thicker, images + share * (thick - images), images + 0.9 * share * (thin - images))


def bend(images: Floats, draws: Draws, level: int) -> Floats:
    """Displace pixels by a smooth random field of this deviation, in pixels."""
    strength = (0.8, 1.2, 1.6, 2.0, 2.5)[level]
    fields = [smooth(draws.normal(SIDE, SIDE), 4.0) for _ in range(2)]
    down, across = (strength * field / field.std(axis=(1, 2), keepdims=True) for field in fields)
    return sample(images, ROWS + down, COLUMNS + across)


def ruled_paper(images: Floats, draws: Draws, level: int) -> Floats:
    """Draw the lines of ruled or squared paper of this darkness, one pixel wide, 5 to 10 pixels apart."""
    ink = (0.25, 0.4, 0.55, 0.75, 1.0)[level]
    spacing = np.floor(draws.between(5, 11, 1, 1))
    first = np.floor(draws.uniform(2, 1, 1) * spacing[:, None])
    lines = (ROWS - first[:, 0]) % spacing == 0
    squared = draws.uniform(1, 1) < 0.5
    lines |= squared & ((COLUMNS - first[:, 1]) % spacing == 0)
    return np.maximum(images, ink * lines)
