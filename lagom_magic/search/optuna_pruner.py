"""Any Optuna pruner behind our seam, on an in-memory study of its own."""

from __future__ import annotations

import math

import optuna

from lagom_magic.events.facts import TrialState
from lagom_magic.search.base import Direction, Pruner
from lagom_magic.search.optuna_sampler import AskTellStudy


class OptunaPruner(Pruner):
    """Wraps an `optuna.pruners.BasePruner`, which may look at all trials on every report (Optuna's Median does).

    Args:
        pruner: used by this search only from now on.
        direction: "max" or "min".
    """

    def __init__(self, pruner: optuna.pruners.BasePruner, direction: Direction) -> None:
        self._study = AskTellStudy(direction, optuna.samplers.RandomSampler(), pruner)
        #: The trial of the study in which a trial's reports are; its number is our id but for restarted ones.
        self._trials: dict[int, optuna.Trial] = {}
        self._n_asked = 0

    def report(self, trial_id: int, step: int, value: float) -> bool:
        trial = self._trial_of(trial_id)
        trial.report(value if math.isfinite(value) else math.nan, step)  # an infinity makes its percentiles warn
        return trial.should_prune()

    def end(self, trial_id: int, state: TrialState) -> None:
        trial = self._trial_of(trial_id)
        del self._trials[trial_id]
        reports = self._study.get_trials(deepcopy=False)[trial.number].intermediate_values
        last = reports[max(reports)] if reports else math.nan
        if state is TrialState.COMPLETE and not math.isnan(last):
            self._study.tell(trial, last)
        else:
            is_pruned = state is TrialState.PRUNED
            self._study.tell(trial, state=optuna.trial.TrialState.PRUNED if is_pruned else optuna.trial.TrialState.FAIL)

    def restart(self, trial_id: int) -> None:
        if trial_id >= self._n_asked or trial_id in self._trials:  # not one that has failed and is told already
            self._study.tell(self._trial_of(trial_id), state=optuna.trial.TrialState.FAIL)
        self._trials[trial_id] = self._study.ask()

    def _trial_of(self, trial_id: int) -> optuna.Trial:
        while self._n_asked <= trial_id:
            self._trials[self._n_asked] = self._study.ask()
            self._n_asked += 1
        return self._trials[trial_id]
