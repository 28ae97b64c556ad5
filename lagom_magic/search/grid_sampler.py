"""Grid search: every combination once, in the order in which the space names its hyperparameters."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from lagom_magic.errors import ConfigError
from lagom_magic.events.facts import HParams, TrialState
from lagom_magic.search.base import EXHAUSTED, Answer, Sampler, Suggestion
from lagom_magic.search.scale import finite_values, n_values
from lagom_magic.spec.space import Domain, Searchspace

#: More points than this are a mistake rather than a plan.
MAX_POINTS = 100_000


class GridSampler(Sampler):
    """The product of all values; a hyperparameter without its condition is left out, and adds no duplicates.

    The last hyperparameter varies fastest. `n_trials` is the number of points.

    Raises:
        ConfigError: for a Float without step, or more than `MAX_POINTS` points.
    """

    is_cheap = True

    def __init__(self, space: Searchspace) -> None:
        for name, domain in space.items():
            if n_values(domain) is None:
                raise ConfigError(
                    f"grid: {name} = {domain.describe()} has no finite list of values. Give it a step (Float(low, "
                    "high, step=…)), list its values (Ordinal([…])), or use --sampler random or qmc."
                )
        self._points: list[HParams] = list(islice(_points(list(space.items()), {}), MAX_POINTS + 1))
        if len(self._points) > MAX_POINTS:
            sizes = " × ".join(f"{name} {n_values(domain)}" for name, domain in space.items())
            raise ConfigError(
                f"grid: {sizes} are more than {MAX_POINTS:,} points. Use larger steps or fewer values, or --sampler "
                "random, tpe or qmc, which take any number of trials."
            )
        self.n_trials = len(self._points)

    def ask(self, trial_id: int) -> Suggestion | Answer:
        return Suggestion(dict(self._points[trial_id])) if trial_id < len(self._points) else EXHAUSTED

    def tell(self, trial_id: int, state: TrialState, value: float | None) -> None:
        """Nothing to learn."""


def _points(domains: list[tuple[str, Domain]], chosen: dict[str, Any]) -> Iterator[HParams]:
    if not domains:
        yield chosen
        return
    (name, domain), *rest = domains
    if not domain.is_active(chosen):
        yield from _points(rest, chosen)
        return
    for value in finite_values(domain):
        yield from _points(rest, {**chosen, name: value})
