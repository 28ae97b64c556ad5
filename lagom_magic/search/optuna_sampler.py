"""Optuna's samplers behind our seam, through ask and tell on an in-memory study.

Imported only when such a sampler is used, for Optuna takes 0.4 s to import.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Container
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from lagom_magic.events.facts import HParams, TrialState
from lagom_magic.search.base import EXHAUSTED, Answer, Direction, Sampler, Suggestion
from lagom_magic.search.distributions import distribution_of, drawn_of, value_of
from lagom_magic.search.quiet import quiet_optuna
from lagom_magic.search.recalling import as_given
from lagom_magic.spec.space import Searchspace

DIRECTIONS = {"max": optuna.study.StudyDirection.MAXIMIZE, "min": optuna.study.StudyDirection.MINIMIZE}


#: Finished trials that a model is fitted to: the best ones and the latest. TPE costs as many milliseconds as it
#: sees dozens of trials, a GP grows with their cube; TPE itself gives old trials next to no weight.
TPE_HISTORY = 500
GP_HISTORY = 250
#: The best ones; TPE takes no more than 25 for good.
_N_BEST = 25


class AskTellStudy(optuna.Study):
    """A study in memory that its sampler can end (grid, brute force), and that shows it a bounded history.

    Args:
        direction: "max" or "min".
        sampler: who is asked.
        pruner: none by default.
        history: how many of the latest trials to show beside the best and the running ones; None = all.
    """

    def __init__(
        self,
        direction: Direction,
        sampler: optuna.samplers.BaseSampler,
        pruner: optuna.pruners.BasePruner | None = None,
        history: int | None = None,
    ) -> None:
        with quiet_optuna():
            storage = optuna.storages.InMemoryStorage()
            storage.create_new_study([DIRECTIONS[direction]], "lagom")
            super().__init__("lagom", storage, sampler=sampler, pruner=pruner or optuna.pruners.NopPruner())
        self.is_stopped = False
        self._history = history
        #: (how bad, trial number), ascending.
        self._best: list[tuple[float, int]] = []

    def remember(self, number: int, value: float) -> None:
        """Keep a complete trial in sight for as long as it is one of the best."""
        insort(self._best, (-value if self.direction is DIRECTIONS["max"] else value, number))
        del self._best[_N_BEST:]

    def add_again(self, number: int, state: optuna.trial.TrialState, value: float | None) -> int:
        """A finished trial with the suggestion of an earlier one, which stays as it is; the new one's number."""
        earlier = super()._get_trials(deepcopy=False)[number]
        # A CMA-ES knows its own points by their attributes.
        return self.add_ended(earlier.params, earlier.distributions, state, value, earlier.system_attrs)

    def add_ended(
        self,
        params: dict[str, Any],
        distributions: dict[str, BaseDistribution],
        state: optuna.trial.TrialState,
        value: float | None,
        system_attrs: dict[str, Any] | None = None,
    ) -> int:
        """A finished trial that was not asked for; its number. The value of one that is not COMPLETE is its report."""
        is_complete = state is optuna.trial.TrialState.COMPLETE
        self.add_trial(
            optuna.trial.create_trial(
                state=state,
                value=value,
                params=params,
                distributions=distributions,
                system_attrs=system_attrs,
                intermediate_values={} if value is None or is_complete else {1: value},
            )
        )
        return len(super()._get_trials(deepcopy=False)) - 1

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[optuna.trial.TrialState] | None = None,
        use_cache: bool = False,
    ) -> list[FrozenTrial]:
        trials = super()._get_trials(deepcopy, states, use_cache)
        if self._history is None or len(trials) <= self._history:
            return trials
        best = {number for _, number in self._best}
        old, latest = trials[: -self._history], trials[-self._history :]
        return [trial for trial in old if trial.number in best or not trial.state.is_finished()] + latest

    def attributes_of(self, number: int) -> dict[str, Any]:
        """What the sampler has noted of a trial."""
        return dict(super()._get_trials(deepcopy=False)[number].system_attrs)

    def stop(self) -> None:
        """Called by a sampler; Optuna's own would refuse outside its `optimize`."""
        self.is_stopped = True


class OptunaSampler(Sampler):
    """Any `optuna.samplers.BaseSampler`; a trial's number there is its id here until one is told again.

    Conditions are resolved while asking, parents first, as in Optuna's define-by-run. A failed or stopped
    trial is told as FAIL and so is an infinitely good value; an infinitely bad one counts as the worst seen.

    Args:
        sampler: used by this search only from now on.
        space: what to suggest.
        direction: "max" or "min".
        history: how many of the latest trials the sampler sees; None = all.
        pruned_are_complete: tell a pruned trial's last report as if it were its result, for samplers that take no
            notice of pruned trials: under ASHA those are most of what there is to learn from.
    """

    def __init__(
        self,
        sampler: optuna.samplers.BaseSampler,
        space: Searchspace,
        direction: Direction,
        *,
        history: int | None = None,
        pruned_are_complete: bool = False,
    ) -> None:
        self._pruned_are_complete = pruned_are_complete
        self._space = space
        self._direction = direction
        self._study = AskTellStudy(direction, sampler, history=history)
        self._distributions = {name: distribution_of(domain) for name, domain in space.items()}
        self._in_flight: dict[int, optuna.Trial] = {}
        #: {trial_id: number in the study} of those told as FAILED, which may be told again.
        self._failed: dict[int, int] = {}
        self._worst: float | None = None
        #: {trial_id: (parameters, the sampler's attributes)} of trials in flight of a run that is resumed.
        self._recalled: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}
        #: What was recalled so far is what the sampler suggests by itself.
        self._is_as_it_was = True

    def ask(self, trial_id: int) -> Suggestion | Answer:
        if self._study.is_stopped:
            return EXHAUSTED
        trial = self._study.ask()
        hparams: HParams = {}
        for name, domain in self._space.items():
            if domain.is_active(hparams):
                hparams[name] = value_of(domain, _suggest(trial, name, self._distributions[name]))
        self._in_flight[trial_id] = trial
        return Suggestion(hparams)

    def recall(self, trial_id: int, hparams: HParams, budget: int | None) -> Suggestion:
        """Asks as ever, as long as the answers are those of the run: its sampler then goes on where it was.

        With several workers trials ended while others were asked for, so the answers differ sooner or later. From then
        on what the run has is added to the study as it ends.
        """
        if self._is_as_it_was:
            asked = self.ask(trial_id)
            if isinstance(asked, Suggestion) and asked.hparams == hparams:
                return asked
            self._is_as_it_was = False
            self._drop(trial_id)
        suggestion = as_given(self._space, trial_id, hparams)
        params = {name: drawn_of(self._space[name], value) for name, value in hparams.items()}
        self._recalled[trial_id] = params, self._attributes(trial_id)
        return suggestion

    def _attributes(self, trial_id: int) -> dict[str, Any]:
        """What the sampler knows its own points by; only a CMA-ES does, and it gives it to who asks."""
        if not isinstance(self._study.sampler, optuna.samplers.CmaEsSampler) or self._study.is_stopped:
            return {}
        self.ask(trial_id)
        attributes = self._study.attributes_of(self._in_flight[trial_id].number) if trial_id in self._in_flight else {}
        self._drop(trial_id)
        return attributes

    def _drop(self, trial_id: int) -> None:
        if trial_id in self._in_flight:
            self._study.tell(self._in_flight.pop(trial_id), state=optuna.trial.TrialState.FAIL)

    def tell(self, trial_id: int, state: TrialState, value: float | None) -> None:
        if trial_id in self._recalled:
            self._tell_recalled(trial_id, state, value)
            return
        trial = self._in_flight.pop(trial_id, None)
        if trial is None:
            return
        if state is TrialState.FAILED:
            self._failed[trial_id] = trial.number
        result, value = self._as_result(state, value)
        if result is optuna.trial.TrialState.PRUNED and value is not None:
            trial.report(value, step=1)
        if result is optuna.trial.TrialState.COMPLETE and value is not None:
            self._study.tell(trial, value)
            self._study.remember(trial.number, value)
        else:
            self._study.tell(trial, state=result)

    def _tell_recalled(self, trial_id: int, state: TrialState, value: float | None) -> None:
        params, attributes = self._recalled.pop(trial_id)
        result, value = self._as_result(state, value)
        distributions = {name: self._distributions[name] for name in params}
        number = self._study.add_ended(params, distributions, result, value, attributes)
        if state is TrialState.FAILED:
            self._failed[trial_id] = number
        if result is optuna.trial.TrialState.COMPLETE and value is not None:
            self._study.remember(number, value)

    def tell_again(self, trial_id: int, state: TrialState, value: float | None) -> None:
        """Add the result as a further trial, for a told one cannot be changed; a failure adds nothing."""
        result, value = self._as_result(state, value)
        if trial_id not in self._failed or result is optuna.trial.TrialState.FAIL:
            return
        number = self._study.add_again(self._failed.pop(trial_id), result, value)
        if result is optuna.trial.TrialState.COMPLETE and value is not None:
            self._study.remember(number, value)

    def _as_result(self, state: TrialState, value: float | None) -> tuple[optuna.trial.TrialState, float | None]:
        """The end in Optuna's words; COMPLETE only with a value."""
        value = None if value is None else self._finite(value)
        if state is TrialState.PRUNED and not (self._pruned_are_complete and value is not None):
            return optuna.trial.TrialState.PRUNED, value
        if state in (TrialState.COMPLETE, TrialState.PRUNED) and value is not None:
            return optuna.trial.TrialState.COMPLETE, value
        return optuna.trial.TrialState.FAIL, None

    def _finite(self, value: float) -> float | None:
        """The value as surrogate models can use it; None when it says nothing."""
        if math.isfinite(value):
            worse = min if self._direction == "max" else max
            self._worst = value if self._worst is None else worse(self._worst, value)
            return value
        is_bad = (value < 0) == (self._direction == "max")
        return self._worst if is_bad else None


class FixedSpaceCmaEs(optuna.samplers.CmaEsSampler):
    """CMA-ES over the hyperparameters that every trial has; the others are sampled independently.

    Optuna infers that set from past trials, and gives CMA-ES up for good when a condition shrinks it.
    """

    def __init__(self, space: Searchspace, seed: int | None) -> None:
        self._fixed_space: dict[str, BaseDistribution] = {
            name: distribution
            for name, domain in space.items()
            if not domain.when
            and isinstance(distribution := distribution_of(domain), (FloatDistribution, IntDistribution))
            and not distribution.single()
        }
        rest = len(self._fixed_space) < len(space)
        super().__init__(
            seed=seed,
            warn_independent_sampling=False,
            consider_pruned_trials=True,
            independent_sampler=tpe(space, seed) if rest else None,
        )

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._fixed_space


def tpe(space: Searchspace, seed: int | None) -> optuna.samplers.BaseSampler:
    """Multivariate TPE that keeps away from running trials; hyperparameters under a condition form groups."""
    has_conditions = any(domain.when for domain in space.values())
    with quiet_optuna():
        return optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True, group=has_conditions)


def gp(seed: int | None) -> optuna.samplers.BaseSampler:
    """Gaussian process with log expected improvement; needs torch and scipy."""
    with quiet_optuna():
        return optuna.samplers.GPSampler(seed=seed, warn_independent_sampling=False)


def cmaes(space: Searchspace, seed: int | None) -> optuna.samplers.BaseSampler:
    """CMA-ES on numbers and scales, TPE on the rest; needs the package cmaes."""
    with quiet_optuna():
        return FixedSpaceCmaEs(space, seed)


def _suggest(trial: optuna.Trial, name: str, distribution: BaseDistribution) -> Any:
    match distribution:
        case CategoricalDistribution(choices=choices):
            return trial.suggest_categorical(name, choices)
        case IntDistribution(low=low, high=high, log=log, step=step):
            return trial.suggest_int(name, low, high, log=log, step=step)
        case FloatDistribution(low=low, high=high, log=log, step=step):
            return trial.suggest_float(name, low, high, log=log, step=step)
    raise TypeError(f"no suggestion for {distribution!r}")
