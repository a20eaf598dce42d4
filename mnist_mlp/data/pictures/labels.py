"""What is a label: a digit 0 to 9, or the name of a class; and where the names of files may have one."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

ALSO = {"t shirt top": "t shirt", "trouser": "trousers"}  # as the publisher of Fashion-MNIST calls them
DIGITS = {  # a digit that stands alone; the sign of a number is no hyphen
    "the digit at the beginning of each name": re.compile(r"([0-9])(?![^\W_]).*", re.DOTALL),
    "the digit at the end of each name": re.compile(r".*(?<![^\W_])(?<!^-)(?<![\W_]-)([0-9])", re.DOTALL),
}


class Labels:
    """The labels of ten classes."""

    def __init__(self, classes: Sequence[str]):
        self.classes = tuple(classes)

    @functools.cached_property
    def names(self) -> dict[str, int]:
        """The labels by the plain names of the classes; none where these are called by their digits."""
        found = {plain(name): label for label, name in enumerate(self.classes) if not name.isdecimal()}
        return found | {also: found[name] for also, name in ALSO.items() if name in found}

    @property
    def expected(self) -> str:
        """What a label may be, for messages."""
        return f"0 to 9, or {', '.join(self.classes)}" if self.names else "0 to 9"

    def read(self, text: str) -> int | None:
        """Return the label that a text is, None if it is none."""
        text = text.strip()
        if len(text) == 1 and text in "0123456789":
            return int(text)
        return self.names.get(plain(text))

    def known(self, text: str) -> int:
        """Return the label that a text is known to be."""
        label = self.read(text)
        if label is None:
            raise ValueError(f"expected a label, received {text!r}")
        return label

    @property
    def rules(self) -> list[dict[str, re.Pattern[str]]]:
        """Where the name of a file may have its label: patterns with one group, by their descriptions."""
        if not self.names:
            return [DIGITS]
        longest = sorted(self.names, key=len, reverse=True)
        either = "|".join(name.replace(" ", r"[\W_]*") for name in longest)
        # Lazy, so that the end of "x-t-shirt" is no shirt.
        return [
            {
                "the class at the beginning of each name": re.compile(rf"({either})(?![^\W_]).*", re.I | re.DOTALL),
                "the class at the end of each name": re.compile(rf".*?(?<![^\W_])({either})", re.I | re.DOTALL),
            },
            DIGITS,
        ]


def plain(name: str) -> str:
    """Return a name in small letters, with single spaces for everything between its words."""
    return re.sub(r"[\W_]+", " ", name.casefold()).strip()
