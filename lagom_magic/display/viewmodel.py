"""The run as plain JSON for a live front end: everything at once, then only what changed.

A front end that joins late, or finds a gap between the sequence numbers, asks for the whole again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lagom_magic.display.charts import thinned
from lagom_magic.events.facts import number_to_json
from lagom_magic.events.fold import RunView, TrialView, WorkerView

#: Points of a trial's curve that travel.
CURVE_POINTS = 60


def snapshot(view: RunView) -> dict[str, Any]:
    """The complete state; `seq` counts the journal's lines that it holds."""
    return changes(view, 0)


def changes(view: RunView, since: int) -> dict[str, Any]:
    """What changed after the state whose `seq` was `since`; the head always travels, trials only when changed.

    Args:
        view: the run.
        since: `seq` of the state that the reader has; 0 for none.
    """
    return {
        "since": since,
        "seq": view.n_facts,
        "run": _run(view),
        "workers": [_worker(worker) for worker in view.workers.values()],
        "trials": [_trial(trial) for trial in view.trials.values() if trial.changed_at > since],
    }


def _run(view: RunView) -> dict[str, Any]:
    header, saved = view.header, view.compute_saved()
    return {
        "run_id": header.run_id if header else None,
        "experiment": header.experiment if header else None,
        "kind": header.kind if header else None,
        "direction": header.direction if header else None,
        "sampler": header.sampler if header else None,
        "pruner": header.pruner if header else None,
        "seed": header.seed if header else None,
        "n_trials": view.n_trials,
        "n_workers": header.n_workers if header else None,
        "state": view.state.value,
        "state_reason": view.state_reason,
        "started_at": view.started_at,
        "ended_at": view.ended_at,
        "metric_name": view.metric_name,
        "metric_names": list(view.metric_names),
        "hparam_names": list(view.hparam_columns),
        "counts": {state.value: n for state, n in view.counts.items()},
        "best_id": view.best_id,
        "improvements": [[item.elapsed_s, item.trial_id, number_to_json(item.value)] for item in view.improvements],
        "compute_saved": None if saved is None else [saved.n_steps_run, saved.n_steps_expected],
        "notices": list(view.notices),
    }


def _worker(worker: WorkerView) -> dict[str, Any]:
    return {
        "id": worker.id,
        "incarnation": worker.incarnation,
        "host": worker.host,
        "gpus": list(worker.gpus),
        "is_alive": worker.is_alive,
        "trial_id": worker.trial_id,
        "lost_reason": worker.lost_reason,
    }


def _trial(trial: TrialView) -> dict[str, Any]:
    return {
        "id": trial.id,
        "attempt": trial.attempt,
        "state": trial.state.value,
        "worker_id": trial.worker_id,
        "hparams": _json_able(trial.hparams),
        "budget": trial.budget,
        "started_at": trial.started_at,
        "ended_at": trial.ended_at,
        "duration_s": trial.duration_s,
        "step": trial.last_step,
        "value": _number(trial.value),
        "metrics": {name: number_to_json(value) for name, value in trial.metrics.items()},
        "curve": _points(thinned(trial.series.points, CURVE_POINTS)),
        "error": None if trial.error is None else {"kind": trial.error.kind, "message": trial.error.message},
        "warnings": list(trial.warnings),
        "files": dict(trial.files),
    }


def _number(value: float | None) -> float | str | None:
    return None if value is None else number_to_json(value)


def _points(points: Iterable[tuple[int, float]]) -> list[list[float]]:
    return [[step, value] for step, value in points]


def _json_able(value: Any) -> Any:
    """The value with nan and ±inf, which JSON lacks, as their names."""
    if isinstance(value, float):
        return number_to_json(value)
    if isinstance(value, dict):
        return {str(key): _json_able(item) for key, item in value.items()}
    return [_json_able(item) for item in value] if isinstance(value, (list, tuple)) else value
