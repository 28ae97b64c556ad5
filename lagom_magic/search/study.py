"""A run as a real `optuna.Study`, so that all of Optuna's plots and tools work on it; made for `Run.study`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from lagom_magic.events.facts import TrialState
from lagom_magic.events.views import TrialView
from lagom_magic.search.base import Direction
from lagom_magic.search.distributions import shown_distribution_of
from lagom_magic.search.optuna_sampler import DIRECTIONS
from lagom_magic.search.quiet import quiet_optuna
from lagom_magic.spec.space import Searchspace

_STATES = {
    TrialState.WAITING: optuna.trial.TrialState.WAITING,
    TrialState.RUNNING: optuna.trial.TrialState.RUNNING,
    TrialState.COMPLETE: optuna.trial.TrialState.COMPLETE,
    TrialState.PRUNED: optuna.trial.TrialState.PRUNED,
    TrialState.FAILED: optuna.trial.TrialState.FAIL,
    TrialState.STOPPED: optuna.trial.TrialState.FAIL,
}


def build_study(trials: Iterable[TrialView], space: Searchspace | None, direction: Direction) -> optuna.Study:
    """A study in memory with every trial; its number is our id.

    Args:
        trials: in any order; an id that is missing becomes a failed trial without parameters.
        space: the searched hyperparameters; None = infer ranges and choices from the trials. What is outside
            it (fixed values) goes into a trial's `user_attrs`, beside `state`, `attempt`, `worker` and metrics.
        direction: "max" or "min".

    Returns:
        The study; a trial whose metric is infinitely good is FAIL there, for it is never best here.
    """
    views = {trial.id: trial for trial in trials}
    if space is None:
        distributions = _inferred(views.values())
    else:
        distributions = {name: shown_distribution_of(domain) for name, domain in space.items()}
    with quiet_optuna():
        study = optuna.create_study(direction=DIRECTIONS[direction])
        for trial_id in range(max(views, default=-1) + 1):
            view = views.get(trial_id, TrialView(trial_id, state=TrialState.FAILED))
            study.add_trial(_frozen(view, distributions, direction))
    return study


def _frozen(view: TrialView, distributions: dict[str, BaseDistribution], direction: Direction) -> FrozenTrial:
    params = {
        name: value
        for name, value in view.hparams.items()
        if name in distributions and _is_contained(distributions[name], value)
    }
    state, value = _outcome(view, direction)
    is_waiting = state is optuna.trial.TrialState.WAITING
    started_at = datetime.fromtimestamp(view.started_at or 0.0)
    ended_at = datetime.fromtimestamp(view.ended_at) if view.ended_at is not None else started_at
    return FrozenTrial(
        number=view.id,
        trial_id=view.id,
        state=state,
        value=value,
        params=params,
        distributions={name: distributions[name] for name in params},
        intermediate_values=dict(view.series.points),
        datetime_start=None if is_waiting else started_at,
        datetime_complete=ended_at if state.is_finished() else None,
        user_attrs={
            **{name: fixed for name, fixed in view.hparams.items() if name not in params},
            **view.metrics,
            "state": view.state.value,
            "attempt": view.attempt,
            "worker": view.worker_id,
        },
        system_attrs={},
    )


def _outcome(view: TrialView, direction: Direction) -> tuple[optuna.trial.TrialState, float | None]:
    state = _STATES[view.state]
    if state is optuna.trial.TrialState.PRUNED:
        return state, view.value
    if state is not optuna.trial.TrialState.COMPLETE:
        return state, None
    never_best = math.inf if direction == "max" else -math.inf
    if view.metric is None or math.isnan(view.metric) or view.metric == never_best:
        return optuna.trial.TrialState.FAIL, None
    return state, view.metric


def _is_contained(distribution: BaseDistribution, value: Any) -> bool:
    try:
        return distribution._contains(distribution.to_internal_repr(value))
    except (TypeError, ValueError):  # Optuna's way to say no
        return False


def _inferred(trials: Iterable[TrialView]) -> dict[str, BaseDistribution]:
    seen: dict[str, list[Any]] = {}
    for trial in trials:
        for name, value in trial.hparams.items():
            if value is None or isinstance(value, (bool, int, float, str)):
                seen.setdefault(name, []).append(value)
    return {name: _inferred_from(values) for name, values in seen.items()}


def _inferred_from(values: list[Any]) -> BaseDistribution:
    if all(type(value) is int for value in values):
        return IntDistribution(min(values), max(values))
    if all(type(value) in (int, float) and math.isfinite(value) for value in values):
        return FloatDistribution(float(min(values)), float(max(values)))
    return CategoricalDistribution(tuple(dict.fromkeys(values)))
