"""Quasi-random search (`--sampler qmc`): scrambled Sobol points cover the space more evenly than random ones.

Ours rather than Optuna's because point `i` belongs to trial `i`, and because a hyperparameter that exists only
under a condition keeps its own dimension (Optuna falls back to random there).
"""

from __future__ import annotations

import secrets
from typing import Any

from lagom_magic.events.facts import HParams, TrialState
from lagom_magic.search.base import Sampler, Suggestion
from lagom_magic.search.recalling import as_given
from lagom_magic.search.scale import value_at
from lagom_magic.spec.space import Searchspace

#: Points drawn at once; a power of two keeps each block of the sequence balanced.
_BLOCK = 64


class QmcSampler(Sampler):
    """The trial's point of a Sobol sequence, scrambled by the seed.

    Args:
        space: at least one hyperparameter, each one dimension.
        seed: the run's; None = from the operating system.

    Source: Bergstra & Bengio, "Random Search for Hyper-Parameter Optimization", JMLR 2012, §5;
        Owen, "Scrambling Sobol' and Niederreiter-Xing points", J. Complexity 1998.
    """

    is_cheap = True

    def __init__(self, space: Searchspace, seed: int | None = None) -> None:
        from scipy.stats import qmc  # type: ignore[import-untyped]

        self._space = space
        self._is_unseeded = seed is None
        self._engine = qmc.Sobol(len(space), scramble=True, seed=secrets.randbits(63) if seed is None else seed)
        self._points: list[list[float]] = []

    def ask(self, trial_id: int) -> Suggestion:
        while len(self._points) <= trial_id:
            self._points.extend(self._engine.random(_BLOCK).tolist())
        hparams: dict[str, Any] = {}
        for (name, domain), position in zip(self._space.items(), self._points[trial_id], strict=True):
            if domain.is_active(hparams):
                hparams[name] = value_at(domain, position)
        return Suggestion(hparams)

    def recall(self, trial_id: int, hparams: HParams, budget: int | None) -> Suggestion:
        return (
            as_given(self._space, trial_id, hparams) if self._is_unseeded else super().recall(trial_id, hparams, budget)
        )

    def tell(self, trial_id: int, state: TrialState, value: float | None) -> None:
        """Nothing to learn."""
