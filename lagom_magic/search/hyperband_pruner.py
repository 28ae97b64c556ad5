"""Hyperband (`--pruner hyperband`): ASHA ladders that begin at different rungs, so slow starters have a chance."""

from __future__ import annotations

from lagom_magic.errors import ConfigError
from lagom_magic.events.facts import TrialState
from lagom_magic.search.asha_pruner import REDUCTION_FACTOR, AshaPruner
from lagom_magic.search.base import Direction, Pruner
from lagom_magic.search.rungs import bracket_schedule

N_BRACKETS = 3


class HyperbandPruner(Pruner):
    """Deals trials out to brackets; bracket s is an ASHA ladder without the first s rungs.

    Args:
        direction: "max" or "min".
        reduction_factor: η, >= 2.
        min_step: first rung of bracket 0, in reporter steps, >= 1, or "auto" (as ASHA's).
        max_step: the last step of a complete trial when it is known.
        n_brackets: >= 1; 1 is plain ASHA.

    Source: Li et al., "Hyperband", JMLR 2018; asynchronous brackets as in Li et al., MLSys 2020, §3.
    """

    def __init__(
        self,
        direction: Direction,
        *,
        reduction_factor: int = REDUCTION_FACTOR,
        min_step: int | str = "auto",
        max_step: int | None = None,
        n_brackets: int = N_BRACKETS,
    ) -> None:
        if n_brackets < 1:
            raise ConfigError(f"hyperband: n_brackets must be >= 1, got {n_brackets}.")
        self.reduction_factor = reduction_factor
        self.max_step = max_step
        self.n_brackets = n_brackets
        self._brackets = [
            AshaPruner(
                direction, reduction_factor=reduction_factor, min_step=min_step, max_step=max_step, first_rung=bracket
            )
            for bracket in range(n_brackets)
        ]
        self.min_step = self._brackets[0].min_step
        self._schedule = bracket_schedule(n_brackets, reduction_factor)

    def report(self, trial_id: int, step: int, value: float) -> bool:
        return self._bracket_of(trial_id).report(trial_id, step, value)

    def end(self, trial_id: int, state: TrialState) -> None:
        bracket = self._bracket_of(trial_id)
        bracket.end(trial_id, state)
        if bracket.max_step is not None:
            for other in self._brackets:
                other.learn_max_step(bracket.max_step)

    def restart(self, trial_id: int) -> None:
        self._bracket_of(trial_id).restart(trial_id)

    def _bracket_of(self, trial_id: int) -> AshaPruner:
        return self._brackets[self._schedule[trial_id % len(self._schedule)]]
