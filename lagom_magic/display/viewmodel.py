"""A run's rows as plain JSON for a page: its head, its workers and its trials, each of bounded size.

Used by `updates`, for the messages of docs/live-view.md. What is empty is left out of workers and trials, and long
texts are cut: a page asks for the whole of a trial when a person looks at it.
"""

from __future__ import annotations

import json
import math
from typing import Any

from lagom_magic.display.charts import thinned
from lagom_magic.display.wording import one_line
from lagom_magic.events.facts import number_to_json
from lagom_magic.events.fold import RunView, TrialView, WorkerView

#: Points of a trial's curve: enough for a sparkline.
CURVE_POINTS = 16
DIGITS = 5
NAME_LIMIT, VALUE_LIMIT, MESSAGE_LIMIT, NOTICE_LIMIT = 60, 120, 300, 200
#: Hyperparameters and metrics of a row; names in the head.
NAMES_LIMIT = 64
IMPROVEMENTS_LIMIT, NOTICES_LIMIT, GPUS_LIMIT = 100, 20, 8
#: A row that would be larger comes without what a function chose: hyperparameters, metrics and curve.
ROW_LIMIT_BYTES = 8 * 1024


def run_head(view: RunView) -> dict[str, Any]:
    """The run without its trials; every key is always there, None where nothing is known."""
    header, saved = view.header, view.compute_saved()
    improvements = [view.improvements[i] for i in _evenly(len(view.improvements), IMPROVEMENTS_LIMIT)]
    return {
        "run_id": one_line(header.run_id, NAME_LIMIT) if header else None,
        "experiment": one_line(header.experiment, NAME_LIMIT) if header else None,
        "kind": one_line(header.kind, NAME_LIMIT) if header else None,
        "direction": one_line(header.direction, NAME_LIMIT) if header else None,
        "sampler": one_line(header.sampler, NAME_LIMIT) if header else None,
        "pruner": one_line(header.pruner, NAME_LIMIT) if header else None,
        "seed": header.seed if header else None,
        "n_trials": view.n_trials,
        "n_workers": header.n_workers if header else None,
        "n_workers_alive": view.n_workers_alive,
        "state": view.state.value,
        "state_reason": one_line(view.state_reason, MESSAGE_LIMIT),
        "started_at": view.started_at,
        "ended_at": view.ended_at,
        "metric_name": None if view.metric_name is None else one_line(view.metric_name, NAME_LIMIT),
        "metric_names": _names(view.metric_names),
        "hparam_names": _names(view.hparam_columns),
        "counts": {state.value: n for state, n in view.counts.items()},
        "best_id": view.best_id,
        "improvements": [[short(item.elapsed_s), item.trial_id, number_to_json(item.value)] for item in improvements],
        "compute_saved": None if saved is None else [saved.n_steps_run, saved.n_steps_expected],
        "notices": [one_line(text, NOTICE_LIMIT) for text in view.notices[-NOTICES_LIMIT:]],
    }


def worker_rows(view: RunView, limit: int) -> list[dict[str, Any]]:
    """The workers by id; where there are more than `limit`, those that live come before lost ones."""
    chosen = sorted(view.workers.values(), key=lambda worker: (not worker.is_alive, worker.id))[:limit]
    return [_worker(worker) for worker in sorted(chosen, key=lambda worker: worker.id)]


def trial_row(trial: TrialView) -> dict[str, Any]:
    """A trial as its latest attempt stands: `id`, `changed_at` and `state`, and of the rest what there is."""
    row = filled(
        {
            "id": trial.id,
            "changed_at": trial.changed_at,
            "state": trial.state.value,
            "attempt": trial.attempt if trial.attempt > 1 else None,
            "worker_id": trial.worker_id,
            "world_size": trial.world_size if trial.world_size > 1 else None,
            "budget": trial.budget,
            "started_at": _milliseconds(trial.started_at),
            "ended_at": _milliseconds(trial.ended_at),
            "paused_s": _milliseconds(trial.paused_s or None),
            "duration_s": _milliseconds(trial.duration_s or None),
            "step": trial.last_step,
            "value": None if trial.value is None else number_to_json(trial.value),
            "error": _error(trial),
            "n_warnings": len(trial.warnings) or None,
            "n_files": len(trial.files) or None,
        }
    )
    chosen = filled(
        {
            "hparams": _hparams(trial.hparams),
            "metrics": {one_line(name, NAME_LIMIT): short(trial.metrics[name]) for name in _first(trial.metrics)},
            "curve": [[step, short(value)] for step, value in thinned(trial.series.points, CURVE_POINTS)],
        }
    )
    is_small = len(json.dumps(chosen)) <= ROW_LIMIT_BYTES
    return {**row, **chosen} if is_small else {**row, "is_cut": True}


def plain_json(value: Any) -> Any:
    """The value with nan and ±inf, which JSON lacks, as their names."""
    if isinstance(value, float):
        return number_to_json(value)
    if isinstance(value, dict):
        return {str(key): plain_json(item) for key, item in value.items()}
    return [plain_json(item) for item in value] if isinstance(value, (list, tuple)) else value


def _worker(worker: WorkerView) -> dict[str, Any]:
    row = {
        "id": worker.id,
        "incarnation": worker.incarnation if worker.incarnation > 1 else None,
        "host": one_line(worker.host, NAME_LIMIT),
        "gpus": [one_line(gpu, NAME_LIMIT) for gpu in worker.gpus[:GPUS_LIMIT]],
        "trial_id": worker.trial_id,
        "lost_reason": one_line(worker.lost_reason, NAME_LIMIT),
    }
    return {**filled(row), "is_alive": worker.is_alive}


def _error(trial: TrialView) -> dict[str, str] | None:
    if trial.error is None:
        return None
    return {
        "kind": one_line(trial.error.kind, NAME_LIMIT),
        "message": one_line(trial.error.message, MESSAGE_LIMIT),
    }


def _hparams(hparams: dict[str, Any]) -> dict[str, Any]:
    return {one_line(name, NAME_LIMIT): _hparam(hparams[name]) for name in _first(hparams)}


def _hparam(value: Any) -> Any:
    """Numbers shortened, texts cut, and what is too long for a table as the beginning of its JSON."""
    if isinstance(value, float):
        return short(value)
    if isinstance(value, str):
        return one_line(value, VALUE_LIMIT)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):  # JavaScript's numbers are exact up to here
        return value if abs(value) < 2**53 else one_line(str(value), VALUE_LIMIT)
    plain = plain_json(value)
    text = json.dumps(plain, ensure_ascii=False)
    return plain if len(text) <= VALUE_LIMIT and text.isprintable() else one_line(text, VALUE_LIMIT)


def short(value: float) -> float | str:
    """The number with `DIGITS` significant digits."""
    if isinstance(value, int) or not math.isfinite(value):
        return number_to_json(value)
    return float(f"{value:.{DIGITS}g}")


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _names(names: Any) -> list[str]:
    return [one_line(name, NAME_LIMIT) for name in _first(names)]


def _first(names: Any) -> list[str]:
    return list(names)[:NAMES_LIMIT]


def filled(row: dict[str, Any]) -> dict[str, Any]:
    """The row without what is empty."""
    return {key: value for key, value in row.items() if value not in (None, "", [], {})}


def _evenly(n_items: int, limit: int) -> list[int]:
    """At most `limit` indices, the first and the last among them."""
    if n_items <= limit:
        return list(range(n_items))
    return [round(i * (n_items - 1) / (limit - 1)) for i in range(limit)]
