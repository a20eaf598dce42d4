"""Matrix products, exp and tanh, bit for bit like the page's JavaScript.

With large steps, or tanh near ±1, training is chaotic from the start: a difference in the last bit shows within a few
epochs. So the first epochs sum in the page's order and compute exp and tanh like JavaScript engines, after fdlibm 5.3
(e_exp.c, s_expm1.c, s_tanh.c). Changed: written in NumPy, with tables instead of branches.

    Copyright (C) 1993 by Sun Microsystems, Inc. All rights reserved.
    Developed at SunSoft, a Sun Microsystems, Inc. business. Permission to use, copy, modify, and distribute this
    software is freely granted, provided that this notice is preserved.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
ONE_OVER_LN2 = 1.44269504088896338700
TINY = 2.0**-28
HALF_LN2 = float.fromhex("0x1.62e43p-2")  # the smallest number whose upper 32 bits exceed those of ln 2 / 2
EXP = (
    *(1.66666666666666019037e-01, -2.77777777770155933842e-03, 6.61375632143793436117e-05),
    *(-1.65339022054652515390e-06, 4.13813679705723846039e-08),
)
EXPM1 = (
    *(-3.33333333333331316428e-02, 1.58730158725481460165e-03, -7.93650757867487942473e-05),
    *(4.00821782732936239552e-06, -2.01099218183624371326e-07),
)
# expm1(k ln 2 + r) = (ADD[k] + g(r)) · 2^k + LAST[k], at index k + LOWEST. From k = 20 on fdlibm adds in another order,
# which makes no difference to tanh: it is within 3e-6 of 1 there.
LOWEST, HIGHEST = 4, 66
POWERS = np.arange(-LOWEST, HIGHEST + 1.0)
SCALE = 2.0**POWERS
ADD = np.select([(POWERS == 0) | (POWERS == -1), (POWERS > 0) & (POWERS <= 56)], [0.0, 1 - 1 / SCALE], 1.0)
LAST = np.select([POWERS == -1, (POWERS < -1) | (POWERS > 56)], [-0.5, -1.0], 0.0)


def product(a: Array, b: Array, out: Array) -> None:
    """Compute the matrix product of [K, r, s] and [K, s, c], or of [r, s] and [s, c], summing over s in order."""
    first, second = (a.T, b) if a.ndim == 2 else (a.transpose(2, 0, 1), b.transpose(1, 0, 2))
    terms = np.multiply(first[..., None], second[..., None, :], order="C")  # [s, K, r, c]
    if out.size == 1:
        out[...] = np.add.accumulate(terms, axis=0)[-1]  # along a single axis, reduce would sum pairwise
    else:
        np.add.reduce(terms, axis=0, out=out)


def halves(x: Array) -> tuple[Any, Array, Array]:
    """Return k and the two parts of r = x − k ln 2, |r| ≤ ln 2 / 2; k = 0 if |x| is that small."""
    k = np.trunc(x * ONE_OVER_LN2 + np.copysign(0.5, x))
    k *= np.abs(x) >= HALF_LN2
    return k, x - k * LN2_HIGH, k * LN2_LOW


def exp(x: Array) -> Array:
    """Return e^x, for x ≥ −700."""
    k, high, low = halves(np.minimum(x, 800))  # inf from 709.8
    r = high - low
    t = r * r
    c = r - t * (EXP[0] + t * (EXP[1] + t * (EXP[2] + t * (EXP[3] + t * EXP[4]))))
    value = np.ldexp(1 - ((low - (r * c) / (2 - c)) - high), np.nan_to_num(k).astype(np.int32))
    return np.where(np.abs(x) < TINY, 1 + x, value)


def sigmoid(z: Array) -> None:
    """Compute 1 / (1 + e^−z) in place."""
    np.divide(1, 1 + exp(np.maximum(-z, -700)), out=z)


def tanh(z: Array) -> None:
    """Compute the hyperbolic tangent in place: from expm1(2|z|) if |z| ≥ 1, else from expm1(−2|z|)."""
    size = np.minimum(np.abs(z), 22)  # tanh is 1 from there on
    large = size >= 1
    x = np.copysign(2 * size, size - 1)
    k, high, low = halves(x)
    r = high - low
    c = (high - r) - low
    half = 0.5 * r
    s = r * half
    q = 1 + s * (EXPM1[0] + s * (EXPM1[1] + s * (EXPM1[2] + s * (EXPM1[3] + s * EXPM1[4]))))
    t = 3 - q * half
    e = s * ((q - t) / (6 - r * t))
    e = (r * (e - c) - c) - s
    index = np.nan_to_num(k).astype(np.intp) + LOWEST
    t = (ADD[index] + (r - e)) * SCALE[index] + LAST[index]
    value = large + np.where(large, -2.0, -t) / (t + 2)  # 1 − 2 / (t + 2), or −t / (t + 2)
    np.copysign(np.where(size < TINY, size, value), z, out=z)
