"""The fifteen kinds of MNIST-C (Mu & Gilmer, "MNIST-C: A Robustness Benchmark for Computer Vision", 2019).

Written anew from the paper's description. Where MNIST-C took its strengths from ImageNet-C, the five levels here have
the same numbers; where it has a single strength, that is our third level, with two weaker and two stronger ones.
Each function takes images, float64 [n, 28, 28] from 0 (background) to 1 (ink), their random numbers and a level from 0
to 4, and returns images, which `kinds.corrupt` clips and rounds.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mnist_mlp.data.corruptions.draws import Draws, Floats
from mnist_mlp.data.corruptions.resampling import COLUMNS, ROWS, SIDE, sample, transformed

EIGHT = np.ones((3, 3), bool)  # neighbours, for `label`


def steady(values: Floats) -> Floats:
    """Round values before they are compared: the last bits depend on the processor."""
    return np.round(values, 9)


def smooth(images: Floats, sigma: float) -> Floats:
    """Return each image smoothed by a Gaussian of deviation `sigma`, in pixels."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(images, (0, sigma, sigma), mode="nearest")


# Noise and blur.


def shot_noise(images: Floats, draws: Draws, level: int) -> Floats:
    """Count photons: of full ink, this many on average; fewer make more noise."""
    photons = (60, 25, 12, 5, 3)[level]
    grey = np.rint(images * 255).astype(np.intp)
    chance = draws.uniform(SIDE, SIDE)
    mean = np.arange(256) / 255 * photons
    probability = np.exp(-mean)  # Poisson's, of no photon; then of one, two, …
    within, counts = probability.copy(), np.zeros(images.shape)
    for count in range(1, photons + int(8 * photons**0.5) + 8):
        more = chance >= within[grey]
        if not more.any():
            break
        counts += more
        probability = probability * mean / count
        within = within + probability
    return counts / photons


def impulse_noise(images: Floats, draws: Draws, level: int) -> Floats:
    """Set this share of the pixels to ink or to background, half of them to each."""
    share = (0.03, 0.06, 0.09, 0.17, 0.27)[level]
    chance = draws.uniform(SIDE, SIDE)
    return np.where(chance < share / 2, 0.0, np.where(chance < share, 1.0, images))


def glass_blur(images: Floats, draws: Draws, level: int) -> Floats:
    """Smooth, swap pixels with near ones at random, and smooth again."""
    sigma, reach, times = ((0.45, 1, 1), (0.6, 1, 1), (0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3))[level]
    pixels = smooth(images, sigma)
    near = [(y, x) for y in range(-reach, reach + 1) for x in range(-reach, reach + 1)]
    offsets = np.array([y * SIDE + x for y, x in near])
    flat, every = pixels.reshape(len(pixels), -1).T.copy(), np.arange(len(pixels))  # a pixel of all images in a row
    for _ in range(times):
        inner = [y * SIDE + x for y in range(reach, SIDE - reach) for x in range(reach, SIDE - reach)]
        chance = draws.uniform(len(inner)) * 2  # of each image and pixel; half of them stay
        chosen = np.where(chance < 1, offsets[(np.minimum(chance, 0.999999) * len(near)).astype(np.intp)], 0)
        for here, offset in zip(inner[::-1], chosen.T[::-1], strict=True):
            there = here + offset
            other = flat[there, every]
            flat[there, every] = flat[here]
            flat[here] = other
    return smooth(flat.T.reshape(images.shape), sigma)


def motion_blur(images: Floats, draws: Draws, level: int) -> Floats:
    """Smear to one side, within 45° of the horizontal, with weights that fall as half a Gaussian does."""
    sigma = (1.5, 2.25, 3.0, 4.0, 5.5)[level]
    angle = draws.between(-np.pi / 4, np.pi / 4)
    distances = np.arange(int(3 * sigma) + 1)
    weights = np.exp(-(distances**2) / (2 * sigma**2))
    margin = len(distances) + 1
    framed = np.pad(images, [(0, 0), (margin, margin), (margin, margin)])
    axes: Any = (1, 2)  # the types of NumPy 2.2 know only one axis
    places, every = np.lib.stride_tricks.sliding_window_view(framed, (SIDE, SIDE), axis=axes), np.arange(len(images))
    blurred = np.zeros(images.shape)
    for distance, weight in zip(distances, weights / weights.sum(), strict=True):
        # A shift is the same for all pixels of an image: four whole windows of it, weighted, instead of pixel by pixel.
        down, across = distance * np.sin(angle), distance * np.cos(angle)
        top, left = np.floor(down).astype(np.intp), np.floor(across).astype(np.intp)
        for y, down_share in ((0, 1 - (down - top)), (1, down - top)):
            for x, across_share in ((0, 1 - (across - left)), (1, across - left)):
                share = (weight * down_share * across_share)[:, None, None]
                blurred += share * places[every, top + y + margin, left + x + margin]
    return blurred


# Geometry.


def shear(images: Floats, draws: Draws, level: int) -> Floats:
    """Shift each row by this many pixels for each one from the centre, to either side."""
    lean = (0.2, 0.4, 0.6, 0.8, 1.0)[level] * draws.signs()
    return transformed(images, [[1, 0], [lean, 1]])


def scale(images: Floats, draws: Draws, level: int) -> Floats:
    """Shrink to this share of the width and height."""
    share = (0.9, 0.8, 0.7, 0.6, 0.5)[level]
    return transformed(images, [[1 / share, 0], [0, 1 / share]])


def rotate(images: Floats, draws: Draws, level: int) -> Floats:
    """Turn by this angle, in radians, to either side."""
    angle = (0.2, 0.4, 0.6, 0.8, 1.0)[level] * draws.signs()
    return transformed(images, [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def translate(images: Floats, draws: Draws, level: int) -> Floats:
    """Shift by this many pixels across and down, each to either side."""
    shift = (1, 2, 3, 4, 5)[level] * draws.signs(2, 1, 1)
    return sample(images, ROWS + shift[:, 0], COLUMNS + shift[:, 1])


# Light.


def brightness(images: Floats, draws: Draws, level: int) -> Floats:
    """Add this much to every pixel."""
    return images + (0.1, 0.2, 0.3, 0.4, 0.5)[level]


def stripe(images: Floats, draws: Draws, level: int) -> Floats:
    """Invert this many columns at the left and at the right."""
    width = (3, 5, 7, 8, 9)[level]
    sides = (width > COLUMNS) | (SIDE - width <= COLUMNS)
    return np.where(sides, 1 - images, images)


def fog(images: Floats, draws: Draws, level: int) -> Floats:
    """Add clouds of this density, and scale back to the brightest pixel; each finer octave is weaker by `decay`."""
    density, decay = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))[level]
    cloud, whole = np.zeros(images.shape), 0.0
    for octave in range(6):
        spacing, weight = 64 / 2**octave, decay**-octave
        cloud += weight * lattice(draws, spacing)
        whole += weight
    cloud = np.clip(0.5 + 1.6 * (cloud / whole - 0.5), 0, 1)
    brightest = images.max(axis=(1, 2), keepdims=True)
    return (images + density * cloud) * brightest / (brightest + density)


def lattice(draws: Draws, spacing: float) -> Floats:
    """Return values between random ones on a lattice, float64 [n, 28, 28], in [0, 1): blended, without corners."""
    count = int(SIDE / spacing) + 2
    shift, nodes = draws.uniform(2), draws.uniform(count, count)

    def between(positions: Floats, offset: Floats) -> Floats:
        """Return the weights of the nodes for each position, [n, 28, count]."""
        distance = np.abs(positions[:, None] / spacing + offset[:, None, None] - np.arange(count))
        share = np.clip(1 - distance, 0, 1)
        return share * share * (3 - 2 * share)

    down, across = (between(np.arange(SIDE, dtype=np.float64), shift[:, i]) for i in range(2))
    return np.einsum("nyi,nij,nxj->nyx", down, nodes, across, optimize=True)


def spatter(images: Floats, draws: Draws, level: int) -> Floats:
    """Cover about this share of the image with dark grey drops."""
    threshold = (1.4, 1.15, 0.9, 0.7, 0.4)[level]  # deviations of a smoothed field
    field = smooth(draws.normal(SIDE, SIDE), 1.0)
    field = field / field.std(axis=(1, 2), keepdims=True)
    drops = smooth(np.where(steady(field) > threshold, 1.0, 0.0), 0.6)
    drops = np.where(steady(drops) > 0.4, drops, 0.0)
    return images * (1 - drops) + 63 / 255 * drops


# Strokes.

BRUSHES = ((1, 0.9), (1, 1.2), (1, 1.45), (2, 1.45), (3, 1.45))  # of each level: strokes, and their half width


def brush(distance: Floats, half_width: float) -> Floats:
    """Return the ink of a stroke at this distance from its middle: full there, none at its half width."""
    return np.clip(1 - (distance / half_width) ** 2, 0, 1) ** 0.5


def dotted_line(images: Floats, draws: Draws, level: int) -> Floats:
    """Draw straight lines from the left edge to the right one, two columns drawn and two left out in turn."""
    count, half_width = BRUSHES[level]
    drawn, dots = images, COLUMNS % 4 >= 2
    for _ in range(count):
        left, right = (draws.between(0, SIDE - 1, 1, 1) for _ in range(2))
        height = left + (right - left) * COLUMNS / (SIDE - 1)
        drawn = drawn + np.where(dots, brush(np.abs(ROWS - height), half_width), 0.0)
    return drawn


def zigzag(images: Floats, draws: Draws, level: int) -> Floats:
    """Draw zigzag lines, two pixels up and down every eight, along a slightly inclined line from side to side."""
    count, half_width = BRUSHES[level]
    drawn, inside = images, (COLUMNS >= 2) & (COLUMNS <= 25)
    for _ in range(count):
        left = draws.between(0, SIDE - 1, 1, 1)
        rise = draws.between(-5, 5, 1, 1)
        wave = 2 - np.abs((COLUMNS - 2 + 2) % 8 - 4)  # a triangle wave between −2 and 2
        height = left + rise * (COLUMNS - 2) / 23 + wave
        # The wave has a slope of 1, so the distance from it is that along the column divided by √2.
        drawn = drawn + np.where(inside, brush(np.abs(ROWS - height) / 2**0.5, half_width), 0.0)
    return drawn


def canny_edges(images: Floats, draws: Draws, level: int) -> Floats:
    """Keep the edges alone (Canny, 1986) of images smoothed by a Gaussian of this deviation."""
    from scipy.ndimage import correlate1d, label

    sigma = (0.6, 0.8, 1.0, 1.2, 1.5)[level]
    low, high = 0.1, 0.2  # gradients of weak edges, which count where they touch a strong one
    smoothed = smooth(images, sigma)

    def gradient(along: int, beside: int) -> Floats:  # Sobel's; SciPy's own would mix neighbouring images
        difference = correlate1d(smoothed, [-1.0, 0.0, 1.0], along, mode="nearest")
        return steady(correlate1d(difference, [1.0, 2.0, 1.0], beside, mode="nearest"))

    down, across = gradient(1, 2), gradient(2, 1)
    size = steady(np.hypot(down, across))
    framed = np.pad(size, [(0, 0), (1, 1), (1, 1)])
    # A pixel is on an edge if no gradient along its own direction, to either side and rounded to 45°, is larger.
    steep, flat = np.abs(down) > 2.414213562 * np.abs(across), np.abs(across) > 2.414213562 * np.abs(down)
    falling = down * across > 0
    edge = np.zeros(size.shape, bool)
    for where, (y, x) in (
        (steep, (1, 0)),
        (~steep & flat, (0, 1)),
        (~steep & ~flat & falling, (1, 1)),
        (~steep & ~flat & ~falling, (1, -1)),
    ):
        before, after = (framed[:, 1 + k * y : 29 + k * y, 1 + k * x : 29 + k * x] for k in (-1, 1))
        edge |= where & (size >= before) & (size > after)
    edge &= size >= low
    pieces, _ = label(edge, np.stack([~EIGHT, EIGHT, ~EIGHT]))  # a piece lies within one image
    strong = np.zeros(pieces.max() + 1, bool)
    strong[pieces[edge & (size >= high)]] = True
    strong[0] = False
    return strong[pieces].astype(np.float64)
