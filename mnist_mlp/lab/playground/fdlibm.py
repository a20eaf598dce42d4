"""Sine, cosine and logarithm, bit for bit like JavaScript engines.

JavaScript engines use fdlibm, which differs from the usual C libraries in the last place for some 3% (sin, cos) and 7%
(log) of all arguments. Data sets must equal the page's in every bit, so this module computes the same steps, for single
numbers: a run has few points. After fdlibm 5.3 (e_rem_pio2.c, k_sin.c, k_cos.c, s_sin.c, s_cos.c, e_log.c). Changed:
written in Python, without the argument reduction above 2^20 π/4.

    Copyright (C) 1993 by Sun Microsystems, Inc. All rights reserved.
    Developed at SunSoft, a Sun Microsystems, Inc. business. Permission to use, copy, modify, and distribute this
    software is freely granted, provided that this notice is preserved.
"""

from __future__ import annotations

import math
import struct

PIO2_1, PIO2_1T = 1.57079632673412561417e00, 6.07710050650619224932e-11  # the first 33 bits of π/2 and the rest
PIO2_2, PIO2_2T = 6.07710050630396597660e-11, 2.02226624879595063154e-21  # the next 33 bits and the rest
PIO2_3, PIO2_3T = 2.02226624871116645580e-21, 8.47842766036889956997e-32
TWO_OVER_PI = 6.36619772367581382433e-01
LARGE = 0x413921FB  # the high word of 2^20 π/4
SIN = (
    *(-1.66666666666666324348e-01, 8.33333333332248946124e-03, -1.98412698298579493134e-04),
    *(2.75573137070700676789e-06, -2.50507602534068634195e-08, 1.58969099521155010221e-10),
)
COS = (
    *(4.16666666666666019037e-02, -1.38888888888741095749e-03, 2.48015872894767294178e-05),
    *(-2.75573143513906633035e-07, 2.08757232129817482790e-09, -1.13596475577881948265e-11),
)
LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
LOG = (
    *(6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01, 2.222219843214978396e-01),
    *(1.818357216161805012e-01, 1.531383769920937332e-01, 1.479819860511658591e-01),
)


def sin(x: float) -> float:
    """Return the sine of an angle in radians."""
    if high(x) & 0x7FFFFFFF > LARGE:
        return math.sin(x) if math.isfinite(x) else math.nan
    n, y, tail = reduced(x)
    value = cosine(y, tail) if n & 1 else sine(y, tail)
    return -value if n & 2 else value


def cos(x: float) -> float:
    """Return the cosine of an angle in radians."""
    if high(x) & 0x7FFFFFFF > LARGE:
        return math.cos(x) if math.isfinite(x) else math.nan
    n, y, tail = reduced(x)
    value = sine(y, tail) if n & 1 else cosine(y, tail)
    return -value if (n + 1) & 2 else value


def log(x: float) -> float:
    """Return the natural logarithm of x, which is positive and normal, or 0."""
    if x == 0:
        return -math.inf
    word = high(x)
    k, word = (word >> 20) - 1023, word & 0xFFFFF
    carry = (word + 0x95F64) & 0x100000
    k += carry >> 20
    f = with_high(x, word | (carry ^ 0x3FF00000)) - 1  # x = 2^k (1 + f), √2/2 < 1 + f < √2
    if (2 + word) & 0xFFFFF < 3:  # |f| < 2^-20
        r = f * f * (0.5 - 0.33333333333333333 * f)
        if f == 0:
            return k * LN2_HIGH + k * LN2_LOW
        return f - r if k == 0 else k * LN2_HIGH - ((r - k * LN2_LOW) - f)
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    odd = z * (LOG[0] + w * (LOG[2] + w * (LOG[4] + w * LOG[6])))
    r = odd + w * (LOG[1] + w * (LOG[3] + w * LOG[5]))
    if (word - 0x6147A) | (0x6B851 - word) > 0:
        half = 0.5 * f * f
        if k == 0:
            return f - (half - s * (half + r))
        return k * LN2_HIGH - ((half - (s * (half + r) + k * LN2_LOW)) - f)
    return f - s * (f - r) if k == 0 else k * LN2_HIGH - ((s * (f - r) - k * LN2_LOW) - f)


def reduced(x: float) -> tuple[int, float, float]:
    """Return n, y and tail with x = n π/2 + y + tail and |y| up to about π/4."""
    word = high(x) & 0x7FFFFFFF
    if word <= 0x3FE921FB:
        return 0, x, 0.0
    t = abs(x)
    if word < 0x4002D97C:  # below 3π/4
        n, near = 1, word == 0x3FF921FB
        r = t - PIO2_1
        if near:
            r -= PIO2_2
        w = PIO2_2T if near else PIO2_1T
        y = r - w
    else:
        n = int(t * TWO_OVER_PI + 0.5)
        r, w = t - n * PIO2_1, n * PIO2_1T
        y = r - w
        if n >= 32 or word == high(n * (math.pi / 2)):  # possible cancellation: use more bits of π/2
            for part, rest, bits in ((PIO2_2, PIO2_2T, 16), (PIO2_3, PIO2_3T, 49)):
                if (word >> 20) - ((high(y) >> 20) & 0x7FF) <= bits:
                    break
                before, w = r, n * part
                r = before - w
                w = n * rest - ((before - r) - w)
                y = r - w
    tail = (r - y) - w
    return (n, y, tail) if x > 0 else (-n, -y, -tail)


def sine(x: float, tail: float) -> float:
    """Return the sine of x + tail, |x| up to about π/4."""
    if high(x) & 0x7FFFFFFF < 0x3E400000:
        return x
    z = x * x
    v = z * x
    r = SIN[1] + z * (SIN[2] + z * (SIN[3] + z * (SIN[4] + z * SIN[5])))
    if tail == 0:
        return x + v * (SIN[0] + z * r)
    return x - ((z * (0.5 * tail - v * r) - tail) - v * SIN[0])


def cosine(x: float, tail: float) -> float:
    """Return the cosine of x + tail, |x| up to about π/4."""
    word = high(x) & 0x7FFFFFFF
    if word < 0x3E400000:
        return 1.0
    z = x * x
    r = z * (COS[0] + z * (COS[1] + z * (COS[2] + z * (COS[3] + z * (COS[4] + z * COS[5])))))
    if word < 0x3FD33333:
        return 1 - (0.5 * z - (z * r - x * tail))
    q = 0.28125 if word > 0x3FE90000 else with_high(0.0, word - 0x200000)  # about |x| / 4
    return (1 - q) - ((0.5 * z - q) - (z * r - x * tail))


def high(x: float) -> int:
    """Return the upper 32 bits: sign, exponent and 20 bits of the fraction."""
    word: int = struct.unpack(">I", struct.pack(">d", x)[:4])[0]
    return word


def with_high(x: float, word: int) -> float:
    """Return x with its upper 32 bits replaced."""
    value: float = struct.unpack(">d", struct.pack(">I", word) + struct.pack(">d", x)[4:])[0]
    return value
