"""What is a label: a digit 0 to 9, or the name of a class; and where the names of files may have one."""

from __future__ import annotations

import collections
import functools
import re
from collections.abc import Sequence

ALSO = {"T-shirt/top": "T-shirt", "Trouser": "trousers"}  # as the publisher of Fashion-MNIST calls them
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
        """The labels by what the classes are called; none where these are called by their digits."""
        found = {name: label for label, name in enumerate(self.classes) if not name.isdecimal()}
        return found | {also: found[name] for also, name in ALSO.items() if name in found}

    @functools.cached_property
    def by_letters(self) -> dict[str, int]:
        """The labels by the letters of the names, where these are names of one class alone."""
        counts = collections.Counter(map(letters, self.names))
        return {letters(name): label for name, label in self.names.items() if counts[letters(name)] == 1}

    @property
    def expected(self) -> str:
        """What a label may be, for messages."""
        return f"0 to 9, or {', '.join(self.classes)}" if self.names else "0 to 9"

    def read(self, text: str) -> int | None:
        """Return the label that a text is, None if it is none."""
        text = text.strip()
        if len(text) == 1 and text in "0123456789":
            return int(text)
        return self.by_letters.get(letters(text)) if letters(text) else None

    def in_name(self, pattern: re.Pattern[str], name: str) -> int | None:
        """Return the label in the group of a pattern that matches a whole name; None if there is none."""
        match = pattern.fullmatch(name)
        return self.read(match[1]) if match else None

    @functools.cached_property
    def rules(self) -> list[dict[str, re.Pattern[str]]]:
        """Where the name of a file may have its label: patterns with one group, by their descriptions."""
        words = [re.findall(r"[^\W_]+", name) for name in sorted(self.names, key=len, reverse=True)]
        either = "|".join(r"[\W_]*".join(each) for each in words if each)
        if not either:
            return [DIGITS]
        # Lazy, so that the end of "x-t-shirt" is no shirt.
        return [
            {
                "the class at the beginning of each name": re.compile(rf"({either})(?![^\W_]).*", re.I | re.DOTALL),
                "the class at the end of each name": re.compile(rf".*?(?<![^\W_])({either})", re.I | re.DOTALL),
            },
            DIGITS,
        ]


def letters(name: str) -> str:
    """Return a name in small letters, without what stands between its words."""
    return re.sub(r"[\W_]+", "", name.casefold())
