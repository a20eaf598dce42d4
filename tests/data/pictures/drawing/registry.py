"""The kinds of pictures, by name."""

from collections.abc import Callable
from dataclasses import dataclass

DIGIT, ROW, NOTHING = "digit", "row", "nothing"


@dataclass(frozen=True)
class Kind:
    """A kind of picture: how it is drawn, and what a reader should answer."""

    name: str
    draw: Callable  # (write, label or labels, rng) -> Canvas; for NOTHING (write, rng) -> Canvas
    answer: str  # DIGIT, ROW (digits in reading order) or NOTHING (to be refused)
    apart: bool  # kept apart: for the trial at the end, not to be looked at while a reader is built
    may_refuse: bool  # there is a digit, but a careful reader may also refuse: something else lies beside it
    needs: tuple[str, ...]  # packages that it takes fonts or pictures from
    slow: bool  # takes more than 0.1 s a picture


KINDS: dict[str, Kind] = {}


def kind(answer: str, *, apart: bool = False, may_refuse: bool = False, needs: tuple[str, ...] = (), slow=False):
    """Enter a function as a kind of its name."""

    def enter(draw):
        assert draw.__name__ not in KINDS, draw.__name__
        KINDS[draw.__name__] = Kind(draw.__name__, draw, answer, apart, may_refuse, needs, slow)
        return draw

    return enter
