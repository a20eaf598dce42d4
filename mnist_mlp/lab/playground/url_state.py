"""Parse and write Playground URLs.

The page (playground.tensorflow.org, 2022-06) keeps all settings after the `#` of its URL, as `k=v&k=v`, and is lenient:
an unknown value falls back to the default. `State.from_url` reads a URL as the page does, and adds a note wherever the
page does something else than the text says.
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
FEATURES = ("x", "y", "xSquared", "ySquared", "xTimesY", "sinX", "sinY")  # in the order of the inputs
CHOICES = {
    "activation": ("relu", "tanh", "sigmoid", "linear"),
    "regularization": ("none", "L1", "L2"),
    "dataset": ("circle", "xor", "gauss", "spiral"),
    "regDataset": ("reg-plane", "reg-gauss"),
    "problem": ("classification", "regression"),
}
RANGES = {  # wider than the page's menus
    "batchSize": (-1e9, 1e9),
    "learningRate": (-1e300, 1e300),
    "regularizationRate": (-1e300, 1e300),
    "noise": (0.0, 1e6),
    "percTrainData": (0.0, 100.0),
}
LAYERS, UNITS, PARAMETERS = 100, 10_000, 2_000_000  # the largest network
NOISE_LIMIT, NOISE_INSTEAD = 80, 50  # the page replaces noise above the limit
SUFFIX = "_hide"
# What JavaScript's Number() accepts.
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+", re.ASCII)


def random_seed() -> str:
    """Draw a seed like the page: a number in [0, 1) with five decimals."""
    return f"{random.random():.5f}"


@dataclasses.dataclass(frozen=True)
class State:
    """The settings of a run, with the names and defaults of the page's URL.

    The constructor accepts any value in range, also beyond the page's menus (noise 90, ten layers); the default seed
    is random. `hidden` lists the names of `NAME_hide=true`; a hidden feature is not an input of the network. Raise
    `UserError` for what cannot be computed.
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
    cosX: bool = False  # the page accepts the key but has no such feature
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
            raise wrong("seed", "text", self.seed, f'; try seed="{self.seed}"')
        if not self.seed or as_browser(self.seed) != self.seed or set(self.seed) & set("&=#"):  # not valid in a URL
            plain = as_browser(quote(self.seed, safe="", errors="replace") if self.seed else "0.5")
            raise wrong("seed", "text that a URL can hold, without & = #", self.seed, f'; try seed="{plain}"')
        object.__setattr__(self, "networkShape", checked_shape(self.networkShape, len(self.features)))

    @classmethod
    def from_url(cls, text: str) -> State:
        """Parse a URL, `#k=v&…` or `k=v&…` as the page does, with notes.

        The only difference: escapes such as `%2C` are decoded, where the page would compute nan; but not in the seed,
        whose characters all count. Raise `UserError` for an invalid number.
        """
        if not isinstance(text, str):
            raise wrong("state", "a Playground URL or its keys", text, f"; try '{PAGE}#activation=relu'")
        values, notes = pairs(text)
        fields: dict[str, Any] = {}
        for name, value in values.items():
            if name not in READERS and not name.endswith(SUFFIX):
                near = nearest(name, list(READERS))
                notes.append(f"{name}: not a key of the page; it has no effect{near}")
            elif name in READERS and (name == "networkShape" or (value and value.strip())):
                plain = value if value is None or name in ("seed", "tutorial") else unquote(value)
                if plain != value:
                    notes.append(f"{name}={value}: read as {plain}; the page itself does not decode it")
                READERS[name](fields, notes, name, plain)
        hidden = tuple(name.removesuffix(SUFFIX) for name in values if name.endswith(SUFFIX) and values[name] == "true")
        return cls(**fields, hidden=hidden, notes=tuple(notes))

    def to_url(self) -> str:
        """Return the URL at which the page shows this state, as far as its menus go."""
        pairs = [f"{name}={as_text(getattr(self, name))}" for name in FIELDS if name != "tutorial" or self.tutorial]
        return f"{PAGE}#{'&'.join([*pairs, *(f'{name}{SUFFIX}=true' for name in self.hidden)])}"

    @property
    def features(self) -> list[str]:
        """The inputs of the network, in order."""
        return [name for name in FEATURES if getattr(self, name) and name not in self.hidden]

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of nodes in each layer, from the features to the one output."""
        return (len(self.features), *self.networkShape, 1)

    def to_dict(self) -> dict[str, Any]:
        """Return keys and values for JSON."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)[:-1]}
        return {**values, "networkShape": list(self.networkShape), "hidden": list(self.hidden)}


FIELDS = {field.name: field for field in dataclasses.fields(State)[:-2]}
BOOLEANS = tuple(name for name, field in FIELDS.items() if isinstance(field.default, bool))


def pairs(text: str) -> tuple[dict[str, str | None], list[str]]:
    """Return keys and values (the last of duplicates) and notes. Raise `UserError` for text that has none."""
    notes: list[str] = []
    text = text.strip().replace("&amp;", "&")  # as in the source of a web page
    if "=" not in text and "%3d" in text.lower():
        text = unquote(text)
    before, hash_sign, fragment = text.partition("#")
    address = "://" in before or before.startswith("playground.tensorflow.org")
    if address and not fragment and re.search("=|%23", before):
        keys = re.split(r"[?]|%23|.*/", before)[-1]
        raise UserError(f"expected the keys after a #, received {quoted(text)}; try '{PAGE}#{keys}'")
    if hash_sign and before and not address:
        raise UserError(f"expected a URL or nothing before the #, received {quoted(before)}; try '{PAGE}#{before}'")
    if not hash_sign:
        if not address and text and "=" not in text:
            raise UserError(
                f"expected a Playground URL or its keys, received {quoted(text)}; try '{PAGE}#activation=relu&noise=15'"
            )
        if address:
            notes.append("this URL has no #, so all settings are the page's defaults")
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
        notes.append(f"{name}={value}: unknown to the page, which uses {default}{near}")
        fields.pop(name, None)


def read_number(fields: dict[str, Any], notes: list[str], name: str, value: str) -> None:
    fields[name] = number(name, value)
    if name == "noise" and fields[name] < 0:
        notes.append(f"noise={value}: the page uses 0")
        fields[name] = 0
    elif name == "noise" and fields[name] > NOISE_LIMIT:
        notes.append(
            f"noise={value}: the page uses {NOISE_INSTEAD} if it is above {NOISE_LIMIT} (--sweep noise={value} keeps "
            "the value)"
        )
        fields[name] = NOISE_INSTEAD


def read_boolean(fields: dict[str, Any], notes: list[str], name: str, value: str) -> None:
    fields[name] = value != "false"
    if value not in ("true", "false"):
        notes.append(f"{name}={value}: true to the page, as is everything but false")
    if name in ("cosX", "cosY") and fields[name]:
        notes.append(f"{name}: the page has no such feature; it has no effect")


def read_text(fields: dict[str, Any], notes: list[str], name: str, value: str) -> None:
    fields[name] = as_browser(value) if name == "seed" else value
    if fields[name] != value:
        notes.append(f"seed={value}: a browser turns it into {fields[name]}, and so does this program")


def read_shape(fields: dict[str, Any], notes: list[str], name: str, value: str | None) -> None:
    if value is None:
        raise UserError(
            "networkShape: expected = and values, received none; try networkShape=4,2, or networkShape= for no hidden "
            "layer"
        )
    sizes = value.split(",") if value.strip() else []
    fields[name] = tuple(number(name, size) if size.strip() else 0 for size in sizes)


def reader(name: str) -> Any:
    """Return the function that reads the value of a key."""
    if name in CHOICES:
        return read_choice
    if name in RANGES:
        return read_number
    return read_shape if name == "networkShape" else read_boolean if name in BOOLEANS else read_text


READERS: Mapping[str, Any] = {name: reader(name) for name in FIELDS}


def number(name: str, text: str) -> float:
    """Parse a number as JavaScript does. Raise `UserError` if that gives NaN."""
    text = text.strip()
    if len(text) > 400 or not NUMBER.fullmatch(text):
        example = "4,2" if name == "networkShape" else as_text(FIELDS[name].default)
        raise wrong(name, "a number", text, f"; try {name}={example}, or omit it")
    if len(text) > 40 and text[:2].lower() in ("0x", "0o", "0b"):
        return math.inf
    value = int(text, 0) if text[:2].lower() in ("0x", "0o", "0b") else float(text)
    return whole(value) if abs(value) < 2**53 else float(value)


def number_in_range(name: str, value: Any) -> float:
    """Return the number, as an int if it is whole. Raise `UserError` if it is out of range."""
    low, high = RANGES[name]
    example = f"; try {name}={as_text(FIELDS[name].default)}"
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise wrong(name, f"a number from {low:g} to {high:g}", value, example)
    return whole(value) if abs(value) < 2**53 else float(value)


def whole(value: float) -> float:
    """Return an int if the number is whole."""
    return int(value) if math.floor(value) == value else float(value)


def checked_shape(sizes: Any, inputs: int) -> tuple[int, ...]:
    """Return the neurons of the hidden layers as a tuple of int."""
    example = "; try networkShape=4,2, or networkShape= for no hidden layer"
    if isinstance(sizes, str) or not hasattr(sizes, "__iter__"):
        raise wrong("networkShape", "the neurons of each hidden layer", sizes, example)
    sizes = tuple(sizes)
    if len(sizes) > LAYERS:
        raise wrong("networkShape", f"at most {LAYERS} hidden layers", len(sizes), "; try fewer")
    for size in sizes:
        if isinstance(size, bool) or not isinstance(size, int | float) or not 1 <= size <= UNITS or size != int(size):
            raise wrong("networkShape", f"whole numbers of neurons from 1 to {UNITS:,}", size, example)
    sizes = tuple(int(size) for size in sizes)
    count = parameter_count((inputs, *sizes, 1))
    if count > PARAMETERS:
        raise wrong("networkShape", f"at most {PARAMETERS:,} weights and biases", count, "; try fewer neurons")
    return sizes


def parameter_count(sizes: tuple[int, ...]) -> int:
    """Return the number of weights and biases: each node has one weight per input, and a bias."""
    return sum((1 + inputs) * units for inputs, units in zip(sizes, sizes[1:], strict=False))


def as_text(value: Any) -> str:
    """Return a value as the URL holds it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def nearest_choice(state: State, name: str) -> str:
    return nearest(str(getattr(state, name)), CHOICES[name])


def wrong(name: str, expected: str, received: Any, hint: str = "") -> UserError:
    return UserError(f"{name}: expected {expected}, received {quoted(received)}{hint}")
