"""The search of one trial that is run again: it is suggested what it had, once."""

from __future__ import annotations

from lagom_magic.events.facts import TrialState
from lagom_magic.search.base import EXHAUSTED, Answer, Sampler, Suggestion


class OnePointSampler(Sampler):
    """Suggests one thing.

    Args:
        suggestion: with the `seed_id` that the trial had.
    """

    is_cheap = True
    n_trials = 1

    def __init__(self, suggestion: Suggestion) -> None:
        self._suggestion = suggestion

    def ask(self, trial_id: int) -> Suggestion | Answer:
        return self._suggestion if trial_id == 0 else EXHAUSTED

    def tell(self, trial_id: int, state: TrialState, value: float | None) -> None:
        """Nothing to learn."""
