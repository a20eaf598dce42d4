"""The colours of the Playground's page."""

from __future__ import annotations

import numpy as np

NEGATIVE, ZERO, POSITIVE = "#f59322", "#e8eaeb", "#0877bd"  # −1, 0, +1; linear between them, clamped outside
QUIET, EMPTY = "#8a8f93", "#dfe3e5"  # small print; the frame of what has no map


def colours(values: np.ndarray | float) -> np.ndarray:
    """Red, green and blue, float64 [..., 3] from 0 to 1, of values; white where a value is nan."""
    anchors = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in (NEGATIVE, ZERO, POSITIVE)])
    values = np.asarray(values, float)
    mixed = np.stack([np.interp(values, (-1, 0, 1), channel) for channel in anchors.T], axis=-1)
    return np.where(np.isnan(values)[..., None], 1.0, mixed)
