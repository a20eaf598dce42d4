"""Student's t distribution: tail probabilities and quantiles, for any degrees of freedom, whole or not."""

from __future__ import annotations

import functools


def tail(t: float, df: float) -> float:
    """Return P(T ≥ t) for `df` > 0 degrees of freedom."""
    if not df > 0:
        raise ValueError(f"expected df > 0, received {df}")
    from scipy.special import stdtr  # here, since the import takes 0.2 s

    return float(stdtr(df, -t))  # by symmetry; 1 − P(T ≤ t) would lose the digits of a small tail


@functools.lru_cache(maxsize=4096)  # a gate asks for the same quantiles for every run
def quantile(share: float, df: float) -> float:
    """Return the t with P(T ≥ t) = `share`, 0 < share < 1."""
    if not 0 < share < 1:
        raise ValueError(f"expected 0 < share < 1, received {share}")
    from scipy.special import stdtrit

    return -float(stdtrit(df, share))
