"""The page's random numbers: ARC4 keyed by the text of the seed, as in the npm package seedrandom 2.4.4.

A run draws everything from one stream, in this order: data, shuffle, weights.
"""

from __future__ import annotations

from urllib.parse import quote

WIDTH = 256  # entries of ARC4's table; also the number of bytes discarded at the start


class Stream:
    """Random numbers in [0, 1), the same for the same seed.

    >>> Stream("hello").random()
    0.5463663768140734
    """

    def __init__(self, seed: str) -> None:
        key = key_of(seed)
        table, j = list(range(WIDTH)), 0
        for i in range(WIDTH):
            j = (j + key[i % len(key)] + table[i]) % WIDTH
            table[i], table[j] = table[j], table[i]
        self._table, self._i, self._j = table, 0, 0
        self._number(WIDTH)

    def random(self) -> float:
        """Return the next number, with at least 52 random bits."""
        numerator, denominator, last = self._number(6), 1 << 48, 0
        while numerator < 1 << 52:
            numerator, denominator, last = (numerator + last) << 8, denominator << 8, self._number(1)
        while numerator >= 1 << 53:
            numerator, denominator, last = numerator >> 1, denominator >> 1, last >> 1
        return (numerator + last) / denominator

    def uniform(self, low: float, high: float) -> float:
        """Return the next number, scaled to [low, high)."""
        return self.random() * (high - low) + low

    def _number(self, count: int) -> int:
        """Return the next `count` bytes as one big-endian number."""
        table, i, j, number = self._table, self._i, self._j, 0
        for _ in range(count):
            i = (i + 1) & 255
            a = table[i]
            j = (j + a) & 255
            b = table[i] = table[j]
            table[j] = a
            number = number << 8 | table[(a + b) & 255]
        self._i, self._j = i, j
        return number


def as_browser(seed: str) -> str:
    """Return a seed as a browser normalizes it in a URL.

    Tabs and line breaks are dropped; spaces, a few punctuation marks and everything outside of ASCII become %XX.
    """
    text = seed.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")  # a lone surrogate has no UTF-8
    text = text.translate(dict.fromkeys(map(ord, "\t\n\r")))
    return quote(text, safe="".join(chr(code) for code in range(33, 127) if chr(code) not in '"<>`'))


def key_of(seed: str) -> list[int]:
    """Return ARC4's key: at most 256 numbers from 0 to 255, mixed from the UTF-16 code units of the seed."""
    encoded = seed.encode("utf-16-le", "surrogatepass")
    key: list[int] = []
    smear = 0
    for index in range(len(encoded) // 2):
        unit = encoded[2 * index] | encoded[2 * index + 1] << 8
        k = index % WIDTH
        if k == len(key):
            key.append(0)
        smear ^= key[k] * 19
        key[k] = (smear + unit) % WIDTH
    return key or [0]
