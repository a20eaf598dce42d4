"""What a Playground URL says, and how the page reads it.

The page (playground.tensorflow.org, 2022-06) keeps all its choices behind the `#` of its address, as `k=v&k=v`. It
forgives much: an unknown word falls back to the page's own choice. `State.from_url` reads as the page does and keeps
a note of each place where the text says one thing and the page does another.
"""

from __future__ import annotations

import dataclasses
import math
import random
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote

from mnist_mlp.errors import UserError
from mnist_mlp.lab.playground.random_stream import as_browser
from mnist_mlp.text import nearest, quoted

PAGE = "https://playground.tensorflow.org/"
FEATURES = ("x", "y", "xSquared", "ySquared", "xTimesY", "sinX", "sinY")  # in the order of the network's inputs
CHOICES = {
    "activation": ("relu", "tanh", "sigmoid", "linear"),
    "regularization": ("none", "L1", "L2"),
    "dataset": ("circle", "xor", "gauss", "spiral"),
    "regDataset": ("reg-plane", "reg-gauss"),
    "problem": ("classification", "regression"),
}
RANGES = {  # what can be computed; wider than the page's menus
    "batchSize": (-1e9, 1e9),
    "learningRate": (-1e300, 1e300),
    "regularizationRate": (-1e300, 1e300),
    "noise": (0.0, 1e6),
    "percTrainData": (0.0, 100.0),
}
LAYERS, UNITS, PARAMETERS = 100, 10_000, 2_000_000  # the largest network
NOISE_OF_PAGE, NOISE_INSTEAD = 80, 50  # what the page takes for more noise
SUFFIX = "_hide"
# As JavaScript reads a text as a number.
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+", re.ASCII)


def random_seed() -> str:
    """A seed as the page draws one: a number in [0, 1) with five decimals."""
    return f"{random.random():.5f}"


@dataclasses.dataclass(frozen=True)
class State:
    """The choices of a run, named and preset as in the page's URL; raises `UserError` for what cannot be computed.

    Built directly it takes any value in range, also where the page's menus end (noise 90, ten layers). A seed that
    is not given is drawn. `hidden`: the names of `NAME_hide=true`; a hidden feature is no input of the network.
    """

    activation: str = "tanh"
    regularization: str = "none"
    batchSize: float = 10
    dataset: str = "circle"
    regDataset: str = "reg-plane"
    learningRate: float = 0.03
    regularizationRate: float = 0
    noise: float = 0  # percent
    networkShape: tuple[int, ...] = (4, 2)  # neurons of each hidden layer
    seed: str = dataclasses.field(default_factory=random_seed)
    showTestData: bool = False
    discretize: bool = False
    percTrainData: float = 50
    x: bool = True
    y: bool = True
    xTimesY: bool = False
    xSquared: bool = False
    ySquared: bool = False
    cosX: bool = False  # the page knows the key, and has no such feature
    sinX: bool = False
    cosY: bool = False
    sinY: bool = False
    collectStats: bool = False
    tutorial: str = ""
    problem: str = "classification"
    initZero: bool = False
    hideText: bool = False
    hidden: tuple[str, ...] = ()
    notes: tuple[str, ...] = dataclasses.field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise wrong(name, f"one of {', '.join(choices)}", getattr(self, name), nearest_choice(self, name))
        for name in RANGES:
            object.__setattr__(self, name, number_in_range(name, getattr(self, name)))
        for name in BOOLEANS:
            if not isinstance(getattr(self, name), bool):
                raise wrong(name, "true or false", getattr(self, name))
        if not isinstance(self.seed, str):
            raise wrong("seed", "text", self.seed, f'; type seed="{self.seed}"')
        if not self.seed or as_browser(self.seed) != self.seed or set(self.seed) & set("&=#"):  # no address has it
            plain = as_browser(quote(self.seed, safe="", errors="replace") if self.seed else "0.5")
            raise wrong("seed", "text as an address can hold it, without & = #", self.seed, f'; type seed="{plain}"')
        object.__setattr__(self, "networkShape", checked_shape(self.networkShape, len(self.features)))

    @classmethod
    def from_url(cls, text: str) -> State:
        """The state that a URL, `#k=v&…` or `k=v&…` stands for, read as the page reads it, with notes.

        Only `%2C` and the like are read more kindly than by the page, which would compute nan, except in the seed:
        its text counts letter by letter. Raises `UserError` for a number that is none.
        """
        if not isinstance(text, str):
            raise wrong("state", "a Playground URL or its keys", text, f"; type '{PAGE}#activation=relu'")
        values, notes = pairs(text)
        fields: dict[str, Any] = {}
        for name, value in values.items():
            if name not in READERS and not name.endswith(SUFFIX):
                near = nearest(name, list(READERS))
                notes.append(f"{name}: not a key of the page, without effect{near}")
            elif name in READERS and (name == "networkShape" or (value and value.strip())):
                plain = value if value is None or name in ("seed", "tutorial") else unquote(value)
                if plain != value:
                    notes.append(f"{name}={value}: read as {plain}; the page itself leaves the percent signs")
                READERS[name](fields, notes, name, plain)
        hidden = tuple(name.removesuffix(SUFFIX) for name in values if name.endswith(SUFFIX) and values[name] == "true")
        return cls(**fields, hidden=hidden, notes=tuple(notes))

    def to_url(self) -> str:
        """The address under which the page shows this state, as far as its menus go."""
        pairs = [f"{name}={as_text(getattr(self, name))}" for name in FIELDS if name != "tutorial" or self.tutorial]
        return f"{PAGE}#{'&'.join([*pairs, *(f'{name}{SUFFIX}=true' for name in self.hidden)])}"

    @property
    def features(self) -> list[str]:
        """The network's inputs, in its order."""
        return [name for name in FEATURES if getattr(self, name) and name not in self.hidden]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Nodes of each layer, from the features to the one output."""
        return (len(self.features), *self.networkShape, 1)

    def to_dict(self) -> dict[str, Any]:
        """The keys and values, as JSON can hold them."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)[:-1]}
        return {**values, "networkShape": list(self.networkShape), "hidden": list(self.hidden)}


FIELDS = {field.name: field for field in dataclasses.fields(State)[:-2]}
BOOLEANS = tuple(name for name, field in FIELDS.items() if isinstance(field.default, bool))


def pairs(text: str) -> tuple[dict[str, str | None], list[str]]:
    """The page's keys and values, the last of several, and notes. Raises `UserError` for a text that has none."""
    notes: list[str] = []
    text = text.strip().replace("&amp;", "&")  # as a web page's source writes it
    if "=" not in text and "%3d" in text.lower():
        text = unquote(text)
    before, hash_sign, fragment = text.partition("#")
    address = "://" in before or before.startswith("playground.tensorflow.org")
    if address and not fragment and re.search("=|%23", before):
        keys = re.split(r"[?]|%23|.*/", before)[-1]
        raise UserError(f"expected the keys behind a #, received {quoted(text)}; type '{PAGE}#{keys}'")
    if hash_sign and before and not address:
        raise UserError(f"expected a URL or nothing before the #, received {quoted(before)}; type '{PAGE}#{before}'")
    if not hash_sign:
        if not address and text and "=" not in text:
            raise UserError(
                f"expected a Playground URL or its keys, received {quoted(text)}; "
                f"type '{PAGE}#activation=relu&noise=15'"
            )
        if address:
            notes.append("no # in this URL, so it says nothing: all choices are the page's own")
        fragment = "" if address else text
    values: dict[str, str | None] = {}
    for part in fragment.split("&"):
        name, *rest = part.split("=")
        values[name] = rest[0] if rest else None
    values.pop("", None)
    return values, notes


def read_choice(fields: dict[str, Any], notes: list[str], name: str, value: str) -> None:
    default = FIELDS[name].default
    if value in CHOICES[name]:
        fields[name] = value
    else:
        near = nearest(value, [choice.lower() for choice in CHOICES[name]])
        notes.append(f"{name}={value}: not known to the page, which takes {default}{near}")
        fields.pop(name, None)


def read_number(fields: dict[str, Any], notes: list[str], name: str, value: str) -> None:
    fields[name] = number(name, value)
    if name == "noise" and fields[name] < 0:
        notes.append(f"noise={value}: the page takes 0")
        fields[name] = 0
    elif name == "noise" and fields[name] > NOISE_OF_PAGE:
        notes.append(
            f"noise={value}: the page takes {NOISE_INSTEAD} for more than {NOISE_OF_PAGE} (--sweep noise={value} "
            f"takes it as it is)"
        )
        fields[name] = NOISE_INSTEAD


def read_boolean(fields: dict[str, Any], notes: list[str], name: str, value: str) -> None:
    fields[name] = value != "false"
    if value not in ("true", "false"):
        notes.append(f"{name}={value}: true to the page, as is all but false")
    if name in ("cosX", "cosY") and fields[name]:
        notes.append(f"{name}: the page has no such feature, without effect")


def read_text(fields: dict[str, Any], notes: list[str], name: str, value: str) -> None:
    fields[name] = as_browser(value) if name == "seed" else value
    if fields[name] != value:
        notes.append(f"seed={value}: a browser makes it {fields[name]}, which is the seed here, too")


def read_shape(fields: dict[str, Any], notes: list[str], name: str, value: str | None) -> None:
    if value is None:
        raise UserError("networkShape: expected =; type networkShape=4,2, or networkShape= for no hidden layer")
    sizes = value.split(",") if value.strip() else []
    fields[name] = tuple(number(name, size) if size.strip() else 0 for size in sizes)


def reader(name: str) -> Any:
    """How the value of a key is read."""
    if name in CHOICES:
        return read_choice
    if name in RANGES:
        return read_number
    return read_shape if name == "networkShape" else read_boolean if name in BOOLEANS else read_text


READERS: Mapping[str, Any] = {name: reader(name) for name in FIELDS}


def number(name: str, text: str) -> float:
    """A number as JavaScript reads it. Raises `UserError` where it would read none."""
    text = text.strip()
    if len(text) > 400 or not NUMBER.fullmatch(text):
        example = "4,2" if name == "networkShape" else as_text(FIELDS[name].default)
        raise wrong(name, "a number", text, f"; type {name}={example}, or leave it out")
    if len(text) > 40 and text[:2].lower() in ("0x", "0o", "0b"):
        return math.inf
    value = int(text, 0) if text[:2].lower() in ("0x", "0o", "0b") else float(text)
    return whole(value) if abs(value) < 2**53 else float(value)


def number_in_range(name: str, value: Any) -> float:
    """The number, an int where it is whole."""
    low, high = RANGES[name]
    example = f"; type {name}={as_text(FIELDS[name].default)}"
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise wrong(name, f"a number from {low:g} to {high:g}", value, example)
    return whole(value) if abs(value) < 2**53 else float(value)


def whole(value: float) -> float:
    """An int where the number is one."""
    return int(value) if math.floor(value) == value else float(value)


def checked_shape(sizes: Any, inputs: int) -> tuple[int, ...]:
    """The neurons of the hidden layers, as a tuple of int."""
    example = "; type networkShape=4,2, or networkShape= for no hidden layer"
    if isinstance(sizes, str) or not hasattr(sizes, "__iter__"):
        raise wrong("networkShape", "the neurons of each hidden layer", sizes, example)
    sizes = tuple(sizes)
    if len(sizes) > LAYERS:
        raise wrong("networkShape", f"at most {LAYERS} hidden layers", len(sizes), "; type fewer")
    for size in sizes:
        if isinstance(size, bool) or not isinstance(size, int | float) or not 1 <= size <= UNITS or size != int(size):
            raise wrong("networkShape", f"whole numbers of neurons from 1 to {UNITS:,}", size, example)
    sizes = tuple(int(size) for size in sizes)
    count = parameter_count((inputs, *sizes, 1))
    if count > PARAMETERS:
        raise wrong("networkShape", f"at most {PARAMETERS:,} weights and biases", count, "; type fewer neurons")
    return sizes


def parameter_count(sizes: tuple[int, ...]) -> int:
    """Weights and biases of a network: each node has one weight an input, and a bias."""
    return sum((1 + inputs) * units for inputs, units in zip(sizes, sizes[1:], strict=False))


def as_text(value: Any) -> str:
    """A value as it stands in the URL."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def nearest_choice(state: State, name: str) -> str:
    return nearest(str(getattr(state, name)), CHOICES[name])


def wrong(name: str, expected: str, received: Any, hint: str = "") -> UserError:
    return UserError(f"{name}: expected {expected}, received {quoted(received)}{hint}")
