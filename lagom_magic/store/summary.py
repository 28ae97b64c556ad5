"""What a run came to, in Maggy's words and ours: the content of result.json and of `Run` as a mapping."""

from __future__ import annotations

from typing import Any

from lagom_magic.events.facts import TrialState
from lagom_magic.events.views import RunView

#: Maggy's keys, which `Run` has as a mapping.
RESULT_KEYS = (
    "best_id",
    "best_val",
    "best_config",
    "best_hp",
    "worst_id",
    "worst_val",
    "worst_config",
    "avg",
    "metric_list",
    "num_trials",
    "early_stopped",
)


def result_of(view: RunView) -> dict[str, Any]:
    """Maggy's result: best, worst and mean over the COMPLETE trials, None without one.

    `metric_list` holds the metrics of the COMPLETE trials by id, `num_trials` counts the trials in a final
    state and `early_stopped` the pruned ones.
    """
    best, worst = view.best, view.worst
    best_config = best and dict(best.hparams)
    complete = [view.trials[trial_id] for trial_id in sorted(view.trials)]
    return {
        "best_id": best and best.id,
        "best_val": best and best.metric,
        "best_config": best_config,
        "best_hp": best_config,
        "worst_id": worst and worst.id,
        "worst_val": worst and worst.metric,
        "worst_config": worst and dict(worst.hparams),
        "avg": view.mean_metric,
        "metric_list": [trial.metric for trial in complete if trial.state is TrialState.COMPLETE],
        "num_trials": view.n_done,
        "early_stopped": view.counts[TrialState.PRUNED],
    }


def result_document(view: RunView) -> dict[str, Any]:
    """Content of result.json."""
    saved = view.compute_saved()
    return {
        "state": view.state.value,
        "reason": view.state_reason,
        "started_at": view.started_at,
        "duration_s": view.elapsed_s(view.updated_at or 0.0),
        "metric": view.metric_name,
        "counts": {state.value: n for state, n in view.counts.items() if n},
        "compute_saved": saved and {"n_steps_run": saved.n_steps_run, "n_steps_expected": saved.n_steps_expected},
        **result_of(view),
    }
