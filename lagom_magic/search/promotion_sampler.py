"""ASHA and Hyperband for a training function that names `budget`: promote instead of stop.

A trial runs only as far as its rung's budget; the best of a rung run again, from the start, with a larger one.
"""

from __future__ import annotations

from dataclasses import dataclass

from lagom_magic.errors import ConfigError
from lagom_magic.events.facts import HParams, TrialState
from lagom_magic.search.base import WAIT, Answer, Direction, Sampler, Suggestion
from lagom_magic.search.rungs import PromotionRung, bracket_schedule, rung_steps
from lagom_magic.search.score import score


@dataclass(frozen=True, slots=True)
class _Config:
    """One set of hparams on its way up; its id is the inner sampler's trial id."""

    hparams: HParams
    bracket: int


class PromotionSampler(Sampler):
    """Asks `inner` for new configurations at the lowest budget and promotes the top 1/reduction_factor.

    Each evaluation is a trial of its own, so the run's number of trials counts all rungs. `inner` learns a
    configuration's value at its first rung: there all are compared at equal budget. It never waits for a rung
    to fill; it answers WAIT only when `inner` has nothing and running trials may still be promoted.

    Args:
        inner: the sampler of configurations; asked and told with ids of its own, dense from 0.
        direction: "max" or "min".
        reduction_factor: η, >= 2.
        min_budget: budget at the lowest rung, >= 1.
        max_budget: budget at the highest rung, >= min_budget · reduction_factor unless there is one rung only.
        n_brackets: 1 = ASHA; more = Hyperband, whose bracket s begins s rungs up.

    Source: Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020, Alg. 2.
    """

    def __init__(
        self,
        inner: Sampler,
        direction: Direction,
        *,
        reduction_factor: int,
        min_budget: int,
        max_budget: int,
        n_brackets: int = 1,
    ) -> None:
        self.is_cheap = inner.is_cheap
        self._inner = inner
        self._direction = direction
        self._reduction_factor = reduction_factor
        self._budgets = rung_steps(min_budget, reduction_factor, max_budget)
        if len(self._budgets) > 1:
            self._budgets[-1] = max_budget  # the ladder may end short of it
        n_brackets = min(n_brackets, len(self._budgets))
        self._schedule = bracket_schedule(n_brackets, reduction_factor)
        #: [bracket][rung]; a bracket's rungs below its first stay empty, and nobody leaves the highest.
        self._rungs = [[PromotionRung() for _ in self._budgets] for _ in range(n_brackets)]
        self._configs: list[_Config] = []
        #: {trial_id: (config id, rung)} of those in flight.
        self._in_flight: dict[int, tuple[int, int]] = {}
        #: The same of those told as FAILED, which may be told again.
        self._failed: dict[int, tuple[int, int]] = {}

    def ask(self, trial_id: int) -> Suggestion | Answer:
        evaluation = self._promotion() or self._new_configuration()
        if isinstance(evaluation, Answer):
            return WAIT if self._in_flight else evaluation
        self._in_flight[trial_id] = evaluation
        config_id, rung = evaluation
        return Suggestion(dict(self._configs[config_id].hparams), self._budgets[rung])

    def recall(self, trial_id: int, hparams: HParams, budget: int | None) -> Suggestion:
        """A configuration that is known already is on its way up; else it is a new one."""
        evaluation = self._recalled_promotion(hparams, budget)
        if evaluation is None:
            config_id = len(self._configs)
            self._inner.recall(config_id, hparams, None)
            bracket = self._schedule[config_id % len(self._schedule)]
            if self._budgets[bracket] != budget:
                raise ConfigError(
                    f"the run that is resumed has budget {budget} for trial {trial_id}; this search begins with "
                    f"{self._budgets[bracket]}. Give it the pruner and the number of trials that it had."
                )
            self._configs.append(_Config(hparams, bracket))
            evaluation = config_id, bracket
        self._in_flight[trial_id] = evaluation
        return Suggestion(dict(hparams), budget)

    def _recalled_promotion(self, hparams: HParams, budget: int | None) -> tuple[int, int] | None:
        """(config id, rung) of one that has waited a rung below; it waits no more."""
        rung = self._budgets.index(budget) if budget in self._budgets else 0
        for rungs in self._rungs if rung else ():
            for config_id, config in enumerate(self._configs):
                if config.hparams == hparams and rungs[rung - 1].take(config_id):
                    return config_id, rung
        return None

    def tell(self, trial_id: int, state: TrialState, value: float | None) -> None:
        if trial_id not in self._in_flight:
            return
        config_id, rung = evaluation = self._in_flight.pop(trial_id)
        if state is TrialState.FAILED:
            self._failed[trial_id] = evaluation
        self._enter(evaluation, state, value)
        if rung == self._configs[config_id].bracket:
            self._inner.tell(config_id, state, value)

    def tell_again(self, trial_id: int, state: TrialState, value: float | None) -> None:
        if trial_id not in self._failed:
            return
        config_id, rung = evaluation = self._failed[trial_id]
        if state is not TrialState.FAILED:
            del self._failed[trial_id]
        self._enter(evaluation, state, value)
        if rung == self._configs[config_id].bracket:
            self._inner.tell_again(config_id, state, value)

    def _enter(self, evaluation: tuple[int, int], state: TrialState, value: float | None) -> None:
        """Let a complete evaluation take part in its rung."""
        config_id, rung = evaluation
        if state is TrialState.COMPLETE and value is not None:
            self._rungs[self._configs[config_id].bracket][rung].add(config_id, score(value, self._direction))

    def _promotion(self) -> tuple[int, int] | None:
        """(config id, its next rung), from the highest rung that has one."""
        for rung in reversed(range(len(self._budgets) - 1)):
            for rungs in self._rungs:
                config_id = rungs[rung].pop_promotable(self._reduction_factor)
                if config_id is not None:
                    return config_id, rung + 1
        return None

    def _new_configuration(self) -> tuple[int, int] | Answer:
        config_id = len(self._configs)
        suggestion = self._inner.ask(config_id)
        if isinstance(suggestion, Answer):
            return suggestion
        bracket = self._schedule[config_id % len(self._schedule)]
        self._configs.append(_Config(suggestion.hparams, bracket))
        return config_id, bracket
