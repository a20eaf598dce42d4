"""The page's random numbers: ARC4 keyed by the seed's text, as the package seedrandom 2.4.4 draws them.

One stream gives everything of a run, in this order: data, shuffle, weights.
"""

from __future__ import annotations

from urllib.parse import quote

WIDTH = 256  # entries of ARC4's table; also the bytes that are thrown away at the start


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
        """The next number, with 52 bits or more that are random."""
        numerator, denominator, last = self._number(6), 1 << 48, 0
        while numerator < 1 << 52:
            numerator, denominator, last = (numerator + last) << 8, denominator << 8, self._number(1)
        while numerator >= 1 << 53:
            numerator, denominator, last = numerator >> 1, denominator >> 1, last >> 1
        return (numerator + last) / denominator

    def uniform(self, low: float, high: float) -> float:
        """The next number, in [low, high)."""
        return self.random() * (high - low) + low

    def _number(self, count: int) -> int:
        """The next `count` bytes as one number, the first byte being the highest."""
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
    """A seed as it stands in an address once a browser has read that: tabs and line breaks are dropped, what is not
    ASCII, spaces and a few signs become %XX."""
    text = seed.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")  # half a pair has no UTF-8
    text = text.translate(dict.fromkeys(map(ord, "\t\n\r")))
    return quote(text, safe="".join(chr(code) for code in range(33, 127) if chr(code) not in '"<>`'))


def key_of(seed: str) -> list[int]:
    """ARC4's key, at most 256 numbers in 0–255, mixed from the UTF-16 units that JavaScript sees in a text."""
    encoded = seed.encode("utf-16-le", "surrogatepass")
    key: list[int] = []
    smear = 0
    for place in range(len(encoded) // 2):
        unit = encoded[2 * place] | encoded[2 * place + 1] << 8
        k = place % WIDTH
        if k == len(key):
            key.append(0)
        smear ^= key[k] * 19
        key[k] = (smear + unit) % WIDTH
    return key or [0]
