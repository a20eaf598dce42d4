"""Something to soak without a framework, and bits that flip in whatever is soaked."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from mnist_mlp.verify import bits
from mnist_mlp.verify.soak.repetition import Work

LEARNING_RATE, BETA_1, BETA_2, EPSILON = map(np.float32, (0.001, 0.9, 0.999, 1e-7))
SIZES = {"hidden_1/kernel": (6, 5), "hidden_1/bias": (5,), "logits/kernel": (5, 3), "logits/bias": (3,)}
MOMENTS = {"_momentum": 0, "_velocity": 1}


def adam(w, m, v, g, step):
    """Adam's update number `step` in float32, as Keras has it."""
    with np.errstate(all="ignore"):
        first = m + (g - m) * (1 - BETA_1)
        second = v + (g * g - v) * (1 - BETA_2)
        rate = np.float32(LEARNING_RATE * np.sqrt(1 - BETA_2**step) / (1 - BETA_1**step))
        return w - rate * first / (np.sqrt(second) + EPSILON), first, second


@dataclasses.dataclass(frozen=True)
class Sums:
    """As in `engine.base`, which imports Keras."""

    losses: np.ndarray
    correct: int
    seen: int


class Device:
    name, kind, replicas = "CPU: NumPy", "CPU", 1


class NumPyEngine:
    """A network of 6, 5 and 3 units, trained by NumPy: what a soak needs of an engine."""

    devices, backend, xla = Device(), "numpy", False

    def __init__(self, seed=0, examples=40):
        random = np.random.default_rng(seed)
        self.images = random.normal(size=(examples, 6)).astype(np.float32)
        self.labels = random.integers(0, 3, examples)
        self.values = {f"model/{name}": random.normal(size=size).astype(np.float32) for name, size in SIZES.items()}
        self.values["optimizer/0/iteration"] = np.int64(0)
        for name, size in SIZES.items():
            for end in MOMENTS:
                self.values[moment(name, end)] = np.zeros(size, np.float32)

    def state(self):
        return dict(self.values)

    def restore(self, state):
        assert state.keys() == self.values.keys()
        self.values = dict(state)

    def train(self, batch_indices, start=0, stop=None):
        stop = len(batch_indices) if stop is None else stop
        losses, correct = np.zeros(stop - start), 0
        for row in range(start, stop):
            losses[row - start], hits = self.step(batch_indices[row])
            correct += hits
        return Sums(losses, correct, (stop - start) * batch_indices.shape[1])

    def step(self, row):
        x, y = self.images[row], self.labels[row]
        w1, b1, w2, b2 = (self.values[f"model/{name}"] for name in SIZES)
        with np.errstate(all="ignore"):
            z = x @ w1 + b1
            a = np.maximum(z, 0)
            e = np.exp(a @ w2 + b2)
            p = e / e.sum(1, keepdims=True)
            d = (p - np.eye(3, dtype=np.float32)[y]) / np.float32(len(y))
            h = (d @ w2.T) * (z > 0)
            loss = -np.log(p[np.arange(len(y)), y]).sum()
        step = int(self.values["optimizer/0/iteration"]) + 1
        for name, g in zip(SIZES, (x.T @ h, h.sum(0), a.T @ d, d.sum(0)), strict=True):
            self.update(name, g.astype(np.float32), step)
        self.values["optimizer/0/iteration"] = np.int64(step)
        return float(loss), int((p.argmax(1) == y).sum())

    def update(self, name, g, step):
        names = [f"model/{name}", *(moment(name, end) for end in MOMENTS)]
        self.values |= zip(names, adam(*(self.values[each] for each in names), g, step), strict=True)


def moment(name, end):
    """The name of a moment in the state of `NumPyEngine`."""
    index = 1 + 2 * list(SIZES).index(name) + MOMENTS[end]
    return f"optimizer/{index}/{name.replace('/', '_')}{end}"


def work(steps=4, at_once=12, examples=40, batch=8):
    random = np.random.default_rng(1)
    order = random.integers(0, examples, (at_once, batch)).astype(np.int32)
    return Work(order[:steps], order)


@dataclasses.dataclass(frozen=True)
class Flip:
    """A bit that flips in a weight after a call of `train`, or in a gradient within it (of a call of one step)."""

    repetition: int
    call: int  # within the repetition, from 1
    weight: str  # "hidden_1/kernel"
    element: tuple[int, ...]
    bit: int
    gradient: bool


def random_flip(seed, engine, steps, repetitions):
    """A flip somewhere: each repetition has `steps` calls of one step, and one of many."""
    random = np.random.default_rng(seed)
    weights = {name.removeprefix("model/"): v for name, v in engine.state().items() if name.startswith("model/")}
    weight = sorted(weights)[random.integers(len(weights))]
    element = tuple(int(random.integers(n)) for n in weights[weight].shape)
    gradient = bool(random.integers(2))
    call = int(random.integers(1, steps + 1 + (not gradient)))
    return Flip(int(random.integers(1, repetitions + 1)), call, weight, element, int(random.integers(32)), gradient)


class Faulty:
    """An engine with faults: `fault(engine, call)` is called after each `train`, with its number from 1."""

    changed = False  # whether a flip has changed anything: that of a small bit of a gradient may be rounded away

    def __init__(self, engine, fault: Callable, before: Callable = lambda engine, call: None):
        self.engine, self.fault, self.before, self.calls = engine, fault, before, 0

    def __getattr__(self, name):
        return getattr(self.engine, name)

    def train(self, batch_indices, start=0, stop=None):
        self.calls += 1
        self.before(self.engine, self.calls)
        sums = self.engine.train(batch_indices, start, stop)
        self.fault(self.engine, self.calls)
        return sums


def with_flip(engine, flip, steps):
    """The engine with that flip, in soaks whose repetitions begin with `steps` calls of one step."""
    at = (flip.repetition - 1) * (steps + 1) + flip.call
    kept = {}  # the state before that call

    def before(engine, call):
        if call == at:
            kept.update({name: np.array(value) for name, value in engine.state().items()})

    def fault(engine, call):
        if call == at:
            state = {name: np.array(value) for name, value in engine.state().items()}
            flip_gradient(state, kept, flip) if flip.gradient else flip_bit(state, f"model/{flip.weight}", flip)
            faulty.changed = any(not bits.equal(state[name], np.asarray(v)) for name, v in engine.state().items())
            engine.restore(state)

    faulty = Faulty(engine, fault, before)
    return faulty


def flip_bit(state, name, flip):
    state[name].view(np.uint32)[flip.element] ^= np.uint32(1) << np.uint32(flip.bit)


def flip_gradient(state, before, flip):
    """Change the state after a step as if a bit of that gradient's element had been another one."""
    own = flip.weight.replace("/", "_")
    names = [f"model/{flip.weight}"]
    names += [next(name for name in state if name.endswith(f"/{own}{end}")) for end in MOMENTS]
    w, m, v = (before[name][flip.element] for name in names)
    g = np.array(m + (state[names[1]][flip.element] - m) / (1 - BETA_1), np.float32)
    g.view(np.uint32)[()] ^= np.uint32(1) << np.uint32(flip.bit)
    step = int(next(value for name, value in state.items() if name.endswith("/iteration")))
    for name, value in zip(names, adam(w, m, v, g[()], step), strict=True):
        state[name][flip.element] = value
