"""Which trials and hyperparameters a table of bounded size shows; the same choice in every face."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, islice
from typing import Any

from lagom_magic.display.ablation import is_ablation
from lagom_magic.display.wording import hparam
from lagom_magic.events.facts import TrialState
from lagom_magic.events.fold import RunView, TrialView

#: Characters of a hyperparameter's name over its column.
NAME_LIMIT = 20
#: Characters of a metric's column.
METRIC_WIDTH = 10
#: Trials whose values tell how wide a column becomes.
SAMPLE_SIZE = 50


@dataclass(frozen=True, slots=True)
class Rows:
    """The trials to show, in their order, and how many are left out."""

    trials: list[TrialView]
    n_left_out: int


@dataclass(frozen=True, slots=True)
class Columns:
    """The hyperparameters that differ between trials, and those that do not."""

    varying: list[str]
    #: Varying too, but without room for a column.
    left_out: list[str]
    constant: dict[str, Any]
    #: Metrics shown beside the one that counts.
    metrics: list[str]
    #: Without room for a column.
    metrics_left_out: list[str]


def choose_rows(view: RunView, limit: int) -> Rows:
    """Running trials first, then the best, then the latest failures, at most `limit` of all.

    Running ones take at most half of the table and failures a fifth, unless nothing else is there to show. In an
    ablation trials do not compete: the others come in their order.
    """
    running = [view.trials[trial_id] for trial_id in sorted(view.running)]
    failed = sorted((t for t in view.trials.values() if t.state is TrialState.FAILED), key=_latest_first)
    n_taken = len(running) + len(failed)
    if is_ablation(view):
        best, ordered = None, sorted(view.trials.values(), key=lambda trial: trial.id)
    else:
        best, ordered = view.best, view.ranked(limit + n_taken)
    ranked = [t for t in ordered if t is not best and t.state not in (TrialState.RUNNING, TrialState.FAILED)]
    if best is not None:
        ranked.insert(0, best)
    n_failed = min(len(failed), max(limit // 5, limit - len(ranked) - len(running)))
    n_running = min(len(running), max(limit // 2, limit - len(ranked) - n_failed))
    chosen = [*running[:n_running], *ranked[: limit - n_running - n_failed], *failed[:n_failed]]
    return Rows(chosen, len(view.trials) - len(chosen))


def choose_columns(view: RunView, n_columns: int, n_characters: int, n_metrics: int = 2) -> Columns:
    """Split the hyperparameters; those that are equal in all of several trials need no column.

    Args:
        view: the run.
        n_columns: at most so many, of hyperparameters and further metrics together.
        n_characters: how wide these columns may be together; the first hyperparameter always has one.
        n_metrics: at most so many of them are of metrics.
    """
    constant = {name: _first_value(view, name) for name in view.hparam_names if _is_constant(view, name)}
    varying = [name for name in view.hparam_columns if name in view.hparam_names and name not in constant]
    others = [name for name in view.metric_names if name not in (view.metric_name, "metric")]
    widths = [_width(view, name) for name in varying]
    n_shown = sum(end <= n_characters or end == widths[0] for end in accumulate(widths[:n_columns]))
    n_free = min(n_columns - n_shown, (n_characters - sum(widths[:n_shown])) // METRIC_WIDTH, n_metrics)
    n_free = max(0, n_free)
    return Columns(varying[:n_shown], varying[n_shown:], constant, others[:n_free], others[n_free:])


def _width(view: RunView, name: str) -> int:
    """Characters that the hyperparameter's column needs, the space before it included."""
    some = islice((trial.hparams[name] for trial in view.trials.values() if name in trial.hparams), SAMPLE_SIZE)
    return 2 + max(min(len(name), NAME_LIMIT), *(len(hparam(value)) for value in some))


def _is_constant(view: RunView, name: str) -> bool:
    if len(view.trials) < 2:
        return False
    with_hparams = [trial.hparams for trial in view.trials.values() if trial.hparams]
    missing = object()
    first = with_hparams[0].get(name, missing) if with_hparams else missing
    return all(type(value := h.get(name, missing)) is type(first) and value == first for h in with_hparams)


def _first_value(view: RunView, name: str) -> Any:
    return next((trial.hparams[name] for trial in view.trials.values() if name in trial.hparams), None)


def _latest_first(trial: TrialView) -> tuple[float, int]:
    return -(trial.ended_at or 0.0), -trial.id
