"""Show a digit in the terminal, as the network sees it, beside its probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SHADES = " ░▒▓█"
BAR = 20  # characters for a probability of 1


def render(image: np.ndarray, probabilities: np.ndarray, classes: Sequence[str], *, plain: bool = False) -> str:
    """Render an image, uint8 [28, 28], and its ten probabilities as 28 lines of text, with `plain` in ASCII alone.

    `classes` are the names of the ten classes.
    """
    shades = " .+%#" if plain else SHADES
    levels = np.ceil(image / 255 * (len(shades) - 1)).astype(int)
    lines = ["".join(2 * shades[level] for level in row) for row in levels]
    best, full = int(probabilities.argmax()), "#" if plain else "█"
    width = max(map(len, classes))
    for digit, probability in enumerate(probabilities):
        mark = "*" if digit == best else " "
        lines[9 + digit] += (
            f"  {mark}{classes[digit]:<{width}}  {100 * probability:5.1f}%  {full * round(BAR * float(probability))}"
        )
    return "\n".join(line.rstrip() for line in lines)
