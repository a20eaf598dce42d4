"""The network in the picture of a run (figure.py): layout and drawing of features, hidden neurons and links."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnist_mlp.lab.playground.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NEGATIVE, ZERO, POSITIVE = "#f59322", "#e8eaeb", "#0877bd"  # −1, 0, +1; linear between them, clamped outside
QUIET, EMPTY = "#8a8f93", "#dfe3e5"  # small print; frame of a node without a map

LABELS = {
    "x": "$X_1$",
    "y": "$X_2$",
    "xSquared": "$X_1^2$",
    "ySquared": "$X_2^2$",
    "xTimesY": "$X_1X_2$",
    "sinX": r"$\sin(X_1)$",
    "sinY": r"$\sin(X_2)$",
}
NODE, PITCH = 30.0, 50.0  # edge of a neuron's map, and distance between neurons, as on the page
TALLEST = 900.0  # a layer of many neurons is shrunk to this height
WIDEST = 1800.0  # many layers are shrunk to this width
MOST_NEURONS = 64  # drawn in a layer; the page has at most eight
MOST_LINKS = 128  # drawn between two layers, the heaviest: more would cover each other

Position = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Layout:
    """Positions, in pixels of the page."""

    features: dict[str, Position]  # the centre of each feature, whether it is used or not
    hidden: tuple[tuple[Position, ...], ...]  # the centres of the neurons of each hidden layer
    node: float  # edge of a hidden neuron's map
    map_left: float
    middle: float  # y at which all columns are centred
    height: float
    margin: float = 28.0
    map_size: float = 250.0

    @staticmethod
    def of(history: History) -> Layout:
        shape = history.state.networkShape
        drawn = [min(units, MOST_NEURONS) for units in shape]
        pitch = min(PITCH, TALLEST / max(drawn, default=1))
        node = min(NODE, 0.8 * pitch)
        step = max(2.4 * node, 36 + node, min(125.0, 560 / (len(shape) + 1)))
        if step * len(shape) > WIDEST:
            step = WIDEST / len(shape)
            node = min(node, 0.6 * step)
        tallest = max(len(LABELS) * PITCH, max(drawn, default=0) * pitch, Layout.map_size + 150)
        middle = 196 + tallest / 2
        first = Layout.margin + 84
        start = first + max(step, 66.0)

        def column(x: float, count: int, distance: float) -> tuple[tuple[float, float], ...]:
            return tuple((x, middle + (index - (count - 1) / 2) * distance) for index in range(count))

        return Layout(
            features=dict(zip(LABELS, column(first, len(LABELS), PITCH), strict=True)),
            hidden=tuple(column(start + step * at, count, pitch) for at, count in enumerate(drawn)),
            node=node,
            map_left=(start + step * (len(shape) - 1) if shape else first + 75) + max(80.0, 0.8 * step),
            middle=middle,
            height=middle + tallest / 2 + 44,
        )

    @property
    def map_top(self) -> float:
        return self.middle - self.map_size / 2

    @property
    def width(self) -> float:
        return self.map_left + self.map_size + self.margin + 14

    @property
    def scale(self) -> float:
        """The size of hidden neurons and links relative to the page; below 1 if a layer has more than 12 neurons."""
        return self.node / NODE


class Links(NamedTuple):
    """The links between two layers."""

    weights: np.ndarray  # float64 [units, inputs]
    starts: list[Position]  # one for each input
    ends: list[Position]  # one for each unit
    may_die: bool  # under L1, a weight of 0 is dead


def link_widths(weights: np.ndarray) -> np.ndarray:
    """Return widths in pixels: clamp(1 + 9|w|/5, 1, 10)."""
    return np.clip(1 + 9 * np.abs(weights) / 5, 1, 10)


def draw_network(page: Axes, layout: Layout, history: History, values: list[np.ndarray]) -> None:
    """Draw the links, then the maps of features and hidden neurons, their biases, and the titles of the columns.

    `values`: float64 [units, 100, 100] of the features, of each hidden layer and of the output.
    """
    layers = history.layers()
    columns = [[layout.features[key] for key in history.state.features], *layout.hidden]
    left_out = 0
    for index, (layer, sources) in enumerate(zip(layers, columns, strict=True)):
        starts = [(x + (layout.node if index else NODE) / 2, y) for x, y in sources]
        output = ((layout.map_left + layout.node / 2, layout.middle),)
        targets = layout.hidden[index] if index < len(layout.hidden) else output
        ends = [(x - layout.node / 2, y) for x, y in targets]
        weights = layer[: len(ends), 1 : 1 + len(starts)]
        left_out += draw_links(page, Links(weights, starts, ends, history.state.regularization == "L1"), layout.scale)
    draw_features(page, layout, dict(zip(history.state.features, values[0], strict=True)))
    for layer, images, centres in zip(layers, values[1:-1], layout.hidden, strict=False):
        for bias, image, centre in zip(layer[: len(images), 0], images, centres, strict=True):
            draw_map(page, centre, layout.node, image)
            draw_bias(page, (centre[0] - layout.node / 2, centre[1] + layout.node / 2), bias, 5 * layout.scale)
    draw_bias(page, (layout.map_left, layout.map_top + layout.map_size), layers[-1][0, 0], 7)
    draw_titles(page, layout, history, left_out)


def draw_links(page: Axes, links: Links, scale: float) -> int:
    """Draw the links of one layer, the heaviest on top, dead ones dotted.

    Return how many are left out because they are lighter than the `MOST_LINKS` heaviest.
    """
    from matplotlib.collections import PathCollection
    from matplotlib.path import Path

    weights = links.weights
    order = np.argsort(np.abs(weights), axis=None, kind="stable")[-MOST_LINKS:]
    paths, units = [], np.unravel_index(order, weights.shape)
    for unit, source in zip(*units, strict=True):
        (x0, y0), (x1, y1) = links.starts[source], links.ends[unit]
        between = (x0 + x1) / 2
        paths.append(Path([(x0, y0), (between, y0), (between, y1), (x1, y1)], [Path.MOVETO, *[Path.CURVE4] * 3]))
    drawn = weights[units]
    dead = links.may_die & (drawn == 0)
    collection = PathCollection(
        paths,
        linewidths=scale * np.where(dead, 0.6, link_widths(drawn)),
        edgecolors=colours(drawn),
        linestyles=[(0, (1, 4)) if each else "solid" for each in dead],
        facecolors="none",
        capstyle="butt",
    )
    page.add_collection(collection, autolim=False)
    return weights.size - len(order)


def draw_map(page: Axes, centre: Position, edge: float, image: np.ndarray) -> None:
    """Draw a map, float64 [100, 100], as a square about `centre`; with a frame if some values are nan, and so white."""
    from matplotlib.image import AxesImage
    from matplotlib.patches import Rectangle

    x, y, half = *centre, edge / 2
    if np.isnan(image).any():
        page.add_patch(
            Rectangle((x - half, y - half), edge, edge, fill=False, edgecolor=EMPTY, linewidth=0.8, zorder=4)
        )
    extent = (x - half, x + half, y + half, y - half)  # the page's y runs downward, the map's upward
    drawn = AxesImage(page, extent=extent, origin="lower", interpolation="antialiased", zorder=3)
    drawn.set_data(colours(image))
    page.add_image(drawn)  # imshow would rescale the axes to all their content each time


def draw_bias(page: Axes, corner: Position, bias: float, edge: float) -> None:
    """Draw a small square in the colour of the bias, left of the lower left `corner` of a map."""
    from matplotlib.patches import Rectangle

    x, y = corner
    page.add_patch(
        Rectangle(
            (x - edge - 2, y - edge),
            edge,
            edge,
            facecolor=tuple(colours(bias)),
            zorder=3,
            edgecolor="#9aa0a4",
            linewidth=0.4,
        )
    )


def draw_features(page: Axes, layout: Layout, images: dict[str, np.ndarray]) -> None:
    """Draw all seven features with their names; those that are not inputs are empty frames."""
    from matplotlib.patches import Rectangle

    for key, (x, y) in layout.features.items():
        half, active = NODE / 2, key in images
        page.text(
            x - half - 9, y, LABELS[key], fontsize=11, ha="right", va="center", color="#222" if active else "#c4c8ca"
        )
        if active:
            draw_map(page, (x, y), NODE, images[key])
        else:
            frame = Rectangle((x - half, y - half), NODE, NODE, facecolor="#fafbfb", edgecolor=EMPTY, linewidth=0.8)
            page.add_patch(frame)


def draw_titles(page: Axes, layout: Layout, history: History, left_out: int) -> None:
    """Write the title of each column and the width of each hidden layer, and what is not drawn."""
    shape, top = history.state.networkShape, 96
    page.text(layout.margin, top, "Features", fontsize=10.5, color="#222")
    page.text(layout.map_left, top, "Output", fontsize=10.5, color="#222")
    count = f"{len(shape)} hidden layer{'s' * (len(shape) != 1)}" if shape else "No hidden layer"
    left = layout.hidden[0][0][0] - layout.node / 2 if shape else next(iter(layout.features.values()))[0] + 40
    page.text(left, top, count, fontsize=10.5, color="#222")
    for size, centres in zip(shape, layout.hidden, strict=True):
        x, y = centres[0]
        page.text(x, y - layout.node / 2 - 9, f"{size:,}", fontsize=7.5, color=QUIET, ha="center")
    notes = [f"only the {MOST_LINKS} heaviest links between two layers ({left_out:,} not drawn)"] if left_out else []
    if max(shape, default=0) > MOST_NEURONS:
        notes.append(f"only the first {MOST_NEURONS} neurons of each layer")
    page.text(left, layout.height - 16, "; ".join(notes), fontsize=7, color=QUIET)


def colours(values: np.ndarray | float) -> np.ndarray:
    """Return the red, green and blue of values, float64 [..., 3] from 0 to 1; white for nan."""
    anchors = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in (NEGATIVE, ZERO, POSITIVE)])
    values = np.asarray(values, float)
    mixed = np.stack([np.interp(values, (-1, 0, 1), channel) for channel in anchors.T], axis=-1)
    return np.where(np.isnan(values)[..., None], 1.0, mixed)
