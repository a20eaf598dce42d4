"""Which values the next trial of a method gets: Optuna's samplers, a grid, and never the same values twice."""

from __future__ import annotations

import math
import sys
import warnings
import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_mlp.cli.signals import defer_signals
from mnist_mlp.errors import UserError
from mnist_mlp.tune.space import Choice, Parameter, Space, grid, size

if TYPE_CHECKING:
    import optuna

DRAWS = 20  # of which the first is taken that no trial had yet


def imported() -> Any:
    """Optuna, without its chatter. Raises `UserError` where it is not installed."""
    try:
        with defer_signals(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import optuna
    except ImportError as error:
        raise missing("optuna", error) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", module="optuna")
    return optuna


def missing(package: str, error: ImportError) -> UserError:
    why = "it is not installed" if isinstance(error, ModuleNotFoundError) else f"it cannot be imported ({error})"
    return UserError(
        f"tune: expected the package {package}, {why}; type {sys.executable} -m pip install 'mnist_mlp[tune]'"
    )


class Proposals:
    """The values of a method's trials, one after another. `strategy`: "tpe", "random" or "grid"."""

    def __init__(self, method: str, space: Space, strategy: str, seed: int):
        self.space, self.strategy = space, strategy
        self.seeds = [seed, zlib.crc32(method.encode())]
        self.grid = grid(space) if strategy == "grid" else {}
        self.size = math.prod(map(len, self.grid.values())) if self.grid else size(space)

    def limit(self, trials: int) -> int:
        """How many trials there will be: not more than the space has points."""
        return trials if self.size is None else min(trials, self.size)

    def next(self, stored: Sequence[optuna.trial.FrozenTrial]) -> dict[str, Any]:
        """The values of the trial that comes after these: the same whenever it is asked."""
        if self.grid:
            return self.point(len(stored))
        tried = {key(values_of(trial)) for trial in stored}
        seeds = np.random.SeedSequence([*self.seeds, len(stored)])
        # In memory, so that what is not taken leaves no trace.
        scratch = imported().create_study(direction="maximize", sampler=self.sampler(int(seeds.generate_state(1)[0])))
        scratch.add_trials([trial for trial in stored if set(trial.params) == set(self.space)])
        distributions = {name: distribution(self.space[name]) for name in sorted(self.space)}
        for _ in range(DRAWS):
            values = dict(scratch.ask(distributions).params)
            if key(values) not in tried:
                return values
        return values if self.size is None else self.untried(tried, np.random.default_rng(seeds))

    def sampler(self, seed: int) -> Any:
        samplers = imported().samplers
        if self.strategy == "random":
            return samplers.RandomSampler(seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what Optuna calls experimental
            return samplers.TPESampler(seed=seed, constant_liar=True)

    def point(self, number: int) -> dict[str, Any]:
        """The point of the grid whose turn it is: all of them once, in random order."""
        bits = np.random.PCG64(np.random.SeedSequence(self.seeds))
        index = int(np.argsort(bits.random_raw(self.size), kind="stable")[number])  # type: ignore[arg-type]
        return nth(self.grid, index)

    def untried(self, tried: set[tuple[Any, ...]], rng: np.random.Generator) -> dict[str, Any]:
        """Any point of a finite space that no trial had; there must be one."""
        whole = {name: every_value(parameter) for name, parameter in sorted(self.space.items())}
        count = self.size or 0
        first = int(rng.integers(count))
        points = (nth(whole, (first + step) % count) for step in range(count))
        return next(values for values in points if key(values) not in tried)


def values_of(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    """The values that a trial was begun with, also where it was killed before it had read them all."""
    return dict(trial.system_attrs.get("fixed_params", {}))


def key(values: Mapping[str, Any]) -> tuple[Any, ...]:
    """What is equal for equal values."""
    return tuple(sorted((name, repr(value)) for name, value in values.items()))


def nth(whole: Mapping[str, Sequence[Any]], index: int) -> dict[str, Any]:
    """The element of that index of the product of all values."""
    found = {}
    for name, values in whole.items():
        index, place = divmod(index, len(values))
        found[name] = values[place]
    return found


def every_value(parameter: Parameter) -> Sequence[Any]:
    """All values of a parameter that has only so many."""
    if isinstance(parameter, Choice):
        return parameter.values
    return range(int(parameter.low), int(parameter.high) + 1)


def distribution(parameter: Parameter) -> Any:
    """A parameter as Optuna has it."""
    distributions = imported().distributions
    if isinstance(parameter, Choice):
        return distributions.CategoricalDistribution(parameter.values)
    kind = distributions.IntDistribution if parameter.whole else distributions.FloatDistribution
    return kind(parameter.low, parameter.high, log=parameter.log)
