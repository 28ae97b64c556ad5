"""Golden journals: what a person must see of each, in the form that the expected tables are kept in.

The same files are folded by the TypeScript model; the table therefore holds plain JSON only.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lagom_magic.events.facts import TrialError, number_to_json
from lagom_magic.events.fold import RunView, TrialView, WorkerView

JOURNALS = Path(__file__).parents[1] / "journals"


def table_of(view: RunView) -> dict[str, Any]:
    """The view as the expected table."""
    saved = view.compute_saved()
    return {
        "state": view.state.value,
        "reason": view.state_reason,
        "elapsed_s": round(view.elapsed_s(view.updated_at or 0.0), 3),
        "n_done": view.n_done,
        "n_trials": view.n_trials,
        "counts": {state.value: n for state, n in view.counts.items() if n},
        "metric": view.metric_name,
        "best": view.best_id,
        "worst": view.worst_id,
        "improvements": [[round(seconds, 3), trial_id, value] for seconds, trial_id, value in view.improvements],
        "compute_saved": None if saved is None else [saved.n_steps_run, saved.n_steps_expected],
        "columns": list(view.hparam_columns),
        "metrics": list(view.metric_names),
        "notices": view.notices,
        "n_late": view.n_late,
        "workers": [_worker(view.workers[worker_id]) for worker_id in sorted(view.workers)],
        "trials": [_trial(view.trials[trial_id]) for trial_id in sorted(view.trials)],
    }


def _worker(worker: WorkerView) -> dict[str, Any]:
    return {
        "id": worker.id,
        "incarnation": worker.incarnation,
        "is_alive": worker.is_alive,
        "trial_id": worker.trial_id,
        "n_ended": worker.n_ended,
        "lost_reason": worker.lost_reason,
    }


def _trial(trial: TrialView) -> dict[str, Any]:
    return {
        "id": trial.id,
        "attempt": trial.attempt,
        "state": trial.state.value,
        "worker_id": trial.worker_id,
        "hparams": trial.hparams,
        "n_steps": trial.n_steps,
        "last_step": trial.last_step,
        "value": _number(trial.value),
        "points": [list(point) for point in trial.series.points],
        "duration_s": round(trial.duration_s, 3),
        "error": _error(trial.error),
        "files": trial.files,
        "requeue_reason": trial.requeue_reason,
    }


def _number(value: float | None) -> float | str | None:
    return None if value is None else number_to_json(value)


def _error(error: TrialError | None) -> str | None:
    return None if error is None else f"{error.kind}: {error.message}"


def expected_table(name: str) -> Any:
    return json.loads((JOURNALS / f"{name}.table.json").read_text())
