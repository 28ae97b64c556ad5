"""The fold: how one more fact changes the view of a run.

The display, `Run` and resume run it over a journal's facts in order. Every fact costs O(1), and a fact of an
attempt that is over changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from lagom_magic.events.facts import (
    CHECKPOINTS,
    Fact,
    FileStored,
    FilesUsed,
    MetricReported,
    Metrics,
    ModelExported,
    Noticed,
    RankReady,
    RunEnded,
    RunStarted,
    RunState,
    TrialEnded,
    TrialRequeued,
    TrialStarted,
    TrialState,
    WorkerLost,
    WorkerRegistered,
)
from lagom_magic.events.views import ComputeSaved, Improvement, RunView, Series, TrialView, WorkerView

__all__ = [
    "ComputeSaved",
    "Improvement",
    "RunView",
    "Series",
    "TrialView",
    "WorkerView",
    "counted_value",
    "fold",
    "validated",
]


def fold(view: RunView, fact: Fact, time: float) -> None:
    """Change the view by one fact.

    Args:
        view: the view of all facts before.
        fact: the next one in the journal's order.
        time: when it happened, in seconds since the epoch.
    """
    view.n_facts += 1
    _FOLDS[type(fact)](view, fact, time)
    view.updated_at = time


def counted_value(metrics: Metrics, name: str | None) -> tuple[str, float] | None:
    """(name, value) of the metric that counts among `metrics`.

    A plain number, which travels as 'metric', counts for any name; without a name, the only number does.
    """
    if name is not None and name in metrics:
        return name, metrics[name]
    if "metric" in metrics:
        return name or "metric", metrics["metric"]
    if name is None and len(metrics) == 1:
        return next(iter(metrics.items()))
    return None


def validated(name: str) -> str:
    """What libraries call the same metric on validation data; where it is there, that on training data never counts."""
    return f"val_{name}"


def _run_started(view: RunView, fact: RunStarted, time: float) -> None:
    view.header = fact
    view.metric_name = fact.metric or view.metric_name
    if view.started_at is None:
        view.started_at = time
    else:  # it is resumed: the pause does not count, which is negative where the clock was set back
        paused_s = time - (view.ended_at or view.updated_at or time)
        view.started_at += paused_s
        for trial in view.trials.values():
            trial.paused_s += paused_s
        for worker in view.workers.values():
            worker.is_alive, worker.trial_id = False, None
    view.state, view.state_reason, view.ended_at = RunState.STARTING, "", None


def _worker_registered(view: RunView, fact: WorkerRegistered, time: float) -> None:
    view.state = RunState.RUNNING
    before = view.workers.get(fact.worker_id)
    view.workers[fact.worker_id] = WorkerView(
        id=fact.worker_id,
        incarnation=fact.incarnation,
        host=fact.host,
        pid=fact.pid,
        gpus=fact.gpus,
        python=fact.python,
        n_ended=before.n_ended if before else 0,
    )


def _worker_lost(view: RunView, fact: WorkerLost, time: float) -> None:
    worker = view.workers.get(fact.worker_id)
    if worker is None or worker.incarnation != fact.incarnation:
        view.n_late += 1
        return
    worker.is_alive, worker.trial_id, worker.lost_reason = False, None, fact.reason


def _trial_started(view: RunView, fact: TrialStarted, time: float) -> None:
    trial = view.trials.get(fact.trial_id)
    if trial is None:
        trial = view.trials[fact.trial_id] = TrialView(fact.trial_id)
        view.counts[TrialState.WAITING] += 1
    elif fact.attempt < trial.attempt or trial.state is not TrialState.WAITING:
        view.n_late += 1
        return
    _change_state(view, trial, TrialState.RUNNING)
    trial.attempt, trial.hparams, trial.budget = fact.attempt, fact.hparams, fact.budget
    trial.worker_id, trial.world_size, trial.started_at = fact.worker_id, fact.world_size, time
    trial.paused_s = 0.0
    view.state = RunState.RUNNING
    view.hparam_names.update(dict.fromkeys(fact.hparams))
    if (worker := view.workers.get(fact.worker_id)) is not None:
        worker.trial_id = fact.trial_id


def _rank_ready(view: RunView, fact: RankReady, time: float) -> None:
    trial, worker = view.trials.get(fact.trial_id), view.workers.get(fact.worker_id)
    if trial is None or trial.attempt != fact.attempt or trial.state is not TrialState.RUNNING:
        view.n_late += 1
    elif worker is not None:
        worker.trial_id = fact.trial_id


def _metric_reported(view: RunView, fact: MetricReported, time: float) -> None:
    trial = view.trials.get(fact.trial_id)
    if trial is None or trial.attempt != fact.attempt or trial.state is not TrialState.RUNNING:
        view.n_late += 1
        return
    view.n_steps += 1
    trial.n_steps += 1
    trial.last_step = fact.step
    trial.changed_at = view.n_facts
    _learn_metrics(view, trial, fact.metrics, is_automatic=fact.is_automatic)
    counted = _logged(view, trial, fact) if fact.is_automatic else counted_value(fact.metrics, view.metric_name)
    if counted is not None:
        view.metric_name, trial.last_value = counted
        trial.series.add(fact.step, trial.last_value)


def _logged(view: RunView, trial: TrialView, fact: MetricReported) -> tuple[str, float] | None:
    """What counts of a library's own report: nothing is guessed, for its only number is not what will be returned."""
    name = view.metric_name
    if name is None or name not in fact.metrics or validated(name) in trial.metrics:
        return None
    return name, fact.metrics[name]


def _trial_ended(view: RunView, fact: TrialEnded, time: float) -> None:
    trial = view.trials.get(fact.trial_id)
    if trial is None and fact.state is TrialState.STOPPED:
        trial = view.trials[fact.trial_id] = TrialView(fact.trial_id, fact.attempt)  # ended before it began
        view.counts[TrialState.WAITING] += 1
    if trial is None or trial.attempt != fact.attempt or trial.state.is_final:
        view.n_late += 1
        return
    _change_state(view, trial, fact.state)
    _learn_metrics(view, trial, fact.metrics)
    trial.metric, trial.error, trial.warnings, trial.values = fact.metric, fact.error, fact.warnings, fact.values
    trial.n_parameters, trial.changes, trial.params = fact.n_parameters, fact.changes, fact.params
    trial.ended_at, trial.duration_s = time, fact.duration_s
    view.ended_duration_s += fact.duration_s
    _release(view, trial, n_ended=1)
    if fact.state in (TrialState.COMPLETE, TrialState.PRUNED):
        view.told_duration_s += fact.duration_s
    if fact.state is TrialState.COMPLETE:
        view.complete_steps[trial.n_steps] += 1
        _compare(view, trial, fact.metrics, time)
    elif fact.state is TrialState.PRUNED:
        view.pruned_steps[trial.n_steps] += 1


def _trial_requeued(view: RunView, fact: TrialRequeued, time: float) -> None:
    trial = view.trials.get(fact.trial_id)
    if (
        trial is None
        or fact.attempt <= trial.attempt
        or trial.state not in (TrialState.RUNNING, TrialState.FAILED, TrialState.WAITING, TrialState.STOPPED)
    ):
        view.n_late += 1
        return
    _change_state(view, trial, TrialState.WAITING)
    _release(view, trial, n_ended=0)
    view.n_steps -= trial.n_steps
    view.ended_duration_s -= trial.duration_s
    view.trials[trial.id] = TrialView(
        id=trial.id,
        attempt=fact.attempt,
        hparams=trial.hparams,
        worker_id=trial.worker_id,
        budget=trial.budget,
        requeue_reason=fact.reason,
        changed_at=view.n_facts,
    )


def _file_stored(view: RunView, fact: FileStored, time: float) -> None:
    trial = view.trials.get(fact.trial_id)
    if trial is None or trial.attempt != fact.attempt:
        view.n_late += 1
        return
    if fact.path.startswith(CHECKPOINTS):
        trial.files = {path: size for path, size in trial.files.items() if not path.startswith(CHECKPOINTS)}
    trial.files[fact.path] = fact.size_bytes
    trial.changed_at = view.n_facts


def _model_exported(view: RunView, fact: ModelExported, time: float) -> None:
    if (trial := _running(view, fact)) is not None:
        trial.exports.append(fact)


def _files_used(view: RunView, fact: FilesUsed, time: float) -> None:
    if (trial := _running(view, fact)) is not None:
        trial.files_used = fact


def _running(view: RunView, fact: ModelExported | FilesUsed) -> TrialView | None:
    """The trial whose running attempt says so; None for what comes late."""
    trial = view.trials.get(fact.trial_id)
    if trial is None or trial.attempt != fact.attempt or trial.state is not TrialState.RUNNING:
        view.n_late += 1
        return None
    trial.changed_at = view.n_facts
    return trial


def _noticed(view: RunView, fact: Noticed, time: float) -> None:
    view.notices.append(fact.text)


def _run_ended(view: RunView, fact: RunEnded, time: float) -> None:
    view.state, view.state_reason, view.ended_at = fact.state, fact.reason, time
    for worker in view.workers.values():
        worker.is_alive, worker.trial_id = False, None


def _change_state(view: RunView, trial: TrialView, state: TrialState) -> None:
    view.counts[trial.state] -= 1
    view.counts[state] += 1
    trial.state = state
    trial.changed_at = view.n_facts
    (view.running.add if state is TrialState.RUNNING else view.running.discard)(trial.id)


def _release(view: RunView, trial: TrialView, n_ended: int) -> None:
    """The trial is in no worker's hands any more."""
    for worker in view.workers.values() if trial.world_size > 1 else [view.workers.get(trial.worker_id or 0)]:
        if worker is not None and worker.trial_id == trial.id:
            worker.trial_id = None
            worker.n_ended += n_ended


def _learn_metrics(view: RunView, trial: TrialView, metrics: Metrics, *, is_automatic: bool = False) -> None:
    trial.metrics.update(metrics)
    if is_automatic:
        view.logged_names.update(name for name in metrics if name not in view.metric_names)
    elif view.logged_names:
        view.logged_names.difference_update(metrics)
    for name in metrics:
        view.metric_names[name] = None


def _is_same(value: float, other: float) -> bool:
    return value == other or (math.isnan(value) and math.isnan(other))


def _compare(view: RunView, trial: TrialView, final_metrics: Metrics, time: float) -> None:
    """Let a complete trial's metric take part in best, worst and mean."""
    value = trial.metric
    if value is None:
        return
    if view.n_valued == 0 and (view.header is None or view.header.metric is None):
        # What trials broadcast gave the name only for the time being.
        names = [name for name, final in final_metrics.items() if _is_same(final, value)]
        if names and view.metric_name not in names:
            view.metric_name = "metric" if "metric" in names else names[0]
    if not math.isfinite(value):
        return
    view.n_valued += 1
    view.metric_sum += value
    best, worst = view.best, view.worst
    if best is None or best.metric is None or view.is_better(value, best.metric):
        view.best_id = trial.id
        view.improvements.append(Improvement(view.elapsed_s(time), trial.id, value))
    if worst is None or worst.metric is None or view.is_better(worst.metric, value):
        view.worst_id = trial.id


_FOLDS: dict[type[Fact], Callable[..., None]] = {
    RunStarted: _run_started,
    WorkerRegistered: _worker_registered,
    WorkerLost: _worker_lost,
    TrialStarted: _trial_started,
    RankReady: _rank_ready,
    MetricReported: _metric_reported,
    TrialEnded: _trial_ended,
    TrialRequeued: _trial_requeued,
    FileStored: _file_stored,
    ModelExported: _model_exported,
    FilesUsed: _files_used,
    Noticed: _noticed,
    RunEnded: _run_ended,
}
