"""The values of each trial: from one of Optuna's samplers or a grid, and never the same values twice."""

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

DRAWS = 20  # attempts to draw values that no trial has had yet


def import_optuna() -> Any:
    """Import Optuna and silence its log. Raise `UserError` if it is not installed."""
    try:
        with defer_signals(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import optuna
    except ImportError as error:
        raise missing_package("optuna", error) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", module="optuna")
    return optuna


def missing_package(package: str, error: ImportError) -> UserError:
    why = "is not installed" if isinstance(error, ModuleNotFoundError) else f"cannot be imported ({error})"
    return UserError(f"tune: the package {package} {why}; run {sys.executable} -m pip install 'mnist_mlp[tune]'")


class Proposals:
    """Proposes the values of a method's trials. `strategy` is "tpe", "random" or "grid"."""

    def __init__(self, method: str, space: Space, strategy: str, seed: int):
        self.space, self.strategy = space, strategy
        self.seeds = [seed, zlib.crc32(method.encode())]
        self.grid = grid(space) if strategy == "grid" else {}
        self.size = math.prod(map(len, self.grid.values())) if self.grid else size(space)

    def limit(self, trials: int) -> int:
        """Return how many of `trials` there can be: at most the number of points of the space."""
        return trials if self.size is None else min(trials, self.size)

    def next(self, stored: Sequence[optuna.trial.FrozenTrial]) -> dict[str, Any]:
        """Return the values of the trial after the stored ones: a pure function of these."""
        if self.grid:
            return self.grid_point(len(stored))
        tried = {key(values_of(trial)) for trial in stored}
        seeds = np.random.SeedSequence([*self.seeds, len(stored)])
        # In memory, so that rejected draws leave no trace in the study.
        scratch = import_optuna().create_study(
            direction="maximize", sampler=self.sampler(int(seeds.generate_state(1)[0]))
        )
        scratch.add_trials([trial for trial in stored if set(trial.params) == set(self.space)])
        distributions = {name: distribution(self.space[name]) for name in sorted(self.space)}
        for _ in range(DRAWS):
            values = dict(scratch.ask(distributions).params)
            if key(values) not in tried:
                return values
        return values if self.size is None else self.untried(tried, np.random.default_rng(seeds))

    def sampler(self, seed: int) -> Any:
        samplers = import_optuna().samplers
        if self.strategy == "random":
            return samplers.RandomSampler(seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna calls constant_liar experimental
            return samplers.TPESampler(seed=seed, constant_liar=True)

    def grid_point(self, number: int) -> dict[str, Any]:
        """Return the grid point of a trial: every point once, in random order."""
        bits = np.random.PCG64(np.random.SeedSequence(self.seeds))
        index = int(np.argsort(bits.random_raw(self.size), kind="stable")[number])  # type: ignore[arg-type]
        return nth(self.grid, index)

    def untried(self, tried: set[tuple[Any, ...]], rng: np.random.Generator) -> dict[str, Any]:
        """Return a random point of a finite space that no trial has had; there must be one."""
        axes = {name: all_values(parameter) for name, parameter in sorted(self.space.items())}
        count = self.size or 0
        first = int(rng.integers(count))
        points = (nth(axes, (first + step) % count) for step in range(count))
        return next(values for values in points if key(values) not in tried)


def values_of(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    """Return the values proposed for a stored trial, even if it was killed before it had read them all."""
    return dict(trial.system_attrs.get("fixed_params", {}))


def key(values: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return a hashable key that is equal for equal values."""
    return tuple(sorted((name, repr(value)) for name, value in values.items()))


def nth(axes: Mapping[str, Sequence[Any]], index: int) -> dict[str, Any]:
    """Return element `index` of the Cartesian product of the axes; the first axis varies fastest."""
    point = {}
    for name, values in axes.items():
        index, position = divmod(index, len(values))
        point[name] = values[position]
    return point


def all_values(parameter: Parameter) -> Sequence[Any]:
    """Return all values of a choice or of a range of whole numbers."""
    if isinstance(parameter, Choice):
        return parameter.values
    return range(int(parameter.low), int(parameter.high) + 1)


def distribution(parameter: Parameter) -> Any:
    """Return the Optuna distribution of a parameter."""
    distributions = import_optuna().distributions
    if isinstance(parameter, Choice):
        return distributions.CategoricalDistribution(parameter.values)
    kind = distributions.IntDistribution if parameter.whole else distributions.FloatDistribution
    return kind(parameter.low, parameter.high, log=parameter.log)
