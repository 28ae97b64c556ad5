"""Random search: the default sampler.

Ours rather than Optuna's because a trial's values then depend on nothing but (seed, trial id), whatever the
order of asks, retries and resumes, and because it is cheaper: 0.01 ms against 0.15 ms an ask.
"""

from __future__ import annotations

import random
import secrets
from typing import Any

from lagom_magic.events.facts import HParams, TrialState
from lagom_magic.search.base import Sampler, Suggestion
from lagom_magic.search.recalling import as_given
from lagom_magic.search.scale import value_at
from lagom_magic.spec.space import Searchspace


class RandomSampler(Sampler):
    """Draws every hyperparameter independently, uniform on its scale.

    Args:
        space: may be empty; then every suggestion is `{}`.
        seed: the run's; None = from the operating system.
    """

    is_cheap = True

    def __init__(self, space: Searchspace, seed: int | None = None) -> None:
        self._space = space
        self._is_unseeded = seed is None
        self._seed = secrets.randbits(64) if seed is None else seed

    def ask(self, trial_id: int) -> Suggestion:
        generator = random.Random(f"{self._seed}/{trial_id}")
        hparams: dict[str, Any] = {}
        for name, domain in self._space.items():
            position = generator.random()  # drawn for an inactive one too, so that its siblings do not shift
            if domain.is_active(hparams):
                hparams[name] = value_at(domain, position)
        return Suggestion(hparams)

    def recall(self, trial_id: int, hparams: HParams, budget: int | None) -> Suggestion:
        return (
            as_given(self._space, trial_id, hparams) if self._is_unseeded else super().recall(trial_id, hparams, budget)
        )

    def tell(self, trial_id: int, state: TrialState, value: float | None) -> None:
        """Nothing to learn."""
