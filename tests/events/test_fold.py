from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lagom_magic.events.facts import (
    Fact,
    MetricReported,
    Noticed,
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
from lagom_magic.events.fold import RunView, counted_value, fold

BEGAN = 1000.0


def begin(**changes: Any) -> RunStarted:
    fields: dict[str, Any] = {
        "run_id": "20261122-093000-k3f7",
        "experiment": "digits",
        "kind": "hpo",
        "n_trials": 10,
        "n_workers": 2,
        "metric": "accuracy",
        "direction": "max",
        "sampler": "random",
        "pruner": "none",
        "seed": 7,
    }
    return RunStarted(**{**fields, **changes})


def view_of(facts: Iterable[Fact]) -> RunView:
    view = RunView()
    for number, fact in enumerate(facts):
        fold(view, fact, BEGAN + number)
    return view


def start(trial_id: int, attempt: int = 1, worker_id: int = 1) -> TrialStarted:
    return TrialStarted(trial_id, attempt, worker_id, {"lr": 0.1})


def report(trial_id: int, step: int, value: float, attempt: int = 1) -> MetricReported:
    return MetricReported(trial_id, attempt, 1, step, {"accuracy": value})


def end(
    trial_id: int, metric: float | None = None, state: TrialState = TrialState.COMPLETE, attempt: int = 1
) -> TrialEnded:
    return TrialEnded(trial_id, attempt, 1, state, {}, metric, duration_s=2.0)


WORKER = WorkerRegistered(1, 1, "host", 100)


@pytest.mark.parametrize(("direction", "best", "worst"), [("max", 1, 2), ("min", 2, 1)])
def test_best_and_worst_follow_the_direction(direction: str, best: int, worst: int) -> None:
    facts: list[Fact] = [begin(direction=direction)]
    for trial_id, metric in enumerate([0.5, 0.9, 0.1]):
        facts += [start(trial_id), end(trial_id, metric)]
    view = view_of(facts)
    assert (view.best_id, view.worst_id) == (best, worst)
    assert view.mean_metric == pytest.approx(0.5)


@pytest.mark.parametrize("metric", [math.nan, math.inf, -math.inf, None])
def test_what_is_not_finite_is_never_best_nor_worst(metric: float | None) -> None:
    view = view_of([begin(), start(0), end(0, metric), start(1), end(1, 0.5)])
    assert view.best_id == view.worst_id == 1
    assert view.mean_metric == 0.5


@pytest.mark.parametrize("state", [TrialState.PRUNED, TrialState.FAILED, TrialState.STOPPED])
def test_only_a_complete_trial_can_be_best(state: TrialState) -> None:
    view = view_of([begin(), start(0), end(0, 0.99, state), start(1), end(1, 0.5)])
    assert view.best_id == 1


def test_an_equal_metric_does_not_replace_the_best() -> None:
    view = view_of([begin(), start(0), end(0, 0.5), start(1), end(1, 0.5)])
    assert view.best_id == 0
    assert [improvement.trial_id for improvement in view.improvements] == [0]


def test_facts_of_an_old_attempt_change_nothing() -> None:
    current = [begin(), WORKER, start(0), report(0, 0, 0.5), TrialRequeued(0, 2, "lost"), start(0, 2)]
    view = view_of([*current, report(0, 1, 0.7), end(0, 0.9), start(0, 1)])
    trial = view.trials[0]
    assert (trial.state, trial.attempt, trial.n_steps, trial.last_value) == (TrialState.RUNNING, 2, 0, None)
    assert view.best_id is None
    assert view.n_late == 3


def test_reports_after_the_end_change_nothing() -> None:
    view = view_of([begin(), start(0), end(0, 0.5), report(0, 9, 0.9), end(0, 0.9)])
    assert view.trials[0].last_step is None
    assert view.best is not None
    assert view.best.metric == 0.5


def test_a_requeued_trial_waits_without_its_reports_and_keeps_its_hparams() -> None:
    view = view_of([begin(), WORKER, start(0), report(0, 0, 0.5), TrialRequeued(0, 2, "worker 1 was lost")])
    trial = view.trials[0]
    assert trial.state is TrialState.WAITING
    assert trial.hparams == {"lr": 0.1}
    assert trial.series.points == []
    assert trial.requeue_reason == "worker 1 was lost"
    assert view.workers[1].trial_id is None
    assert view.n_steps == 0


def test_a_failed_trial_that_is_retried_counts_as_its_last_attempt_only() -> None:
    failed = [begin(), WORKER, start(0), report(0, 0, 0.9), end(0, None, TrialState.FAILED)]
    view = view_of([*failed, TrialRequeued(0, 2, "retried by its user")])
    assert (view.counts[TrialState.FAILED], view.counts[TrialState.WAITING], view.n_done) == (0, 1, 0)
    assert (view.trials[0].error, view.trials[0].ended_at, view.n_steps, view.ended_duration_s) == (None, None, 0, 0.0)
    for fact in (start(0, 2), report(0, 0, 0.2, attempt=2), end(0, 0.5, attempt=2), start(1), report(1, 0, 0.1)):
        fold(view, fact, BEGAN)
    fold(view, end(1, None, TrialState.PRUNED), BEGAN)
    assert (view.best_id, view.n_late, view.n_done, view.n_steps) == (0, 0, 2, 2)
    saved = view.compute_saved()
    assert saved is not None
    assert (saved.n_steps_run, saved.n_steps_expected) == (2, 2)


def test_a_lost_worker_comes_back_as_its_next_incarnation() -> None:
    view = view_of([begin(), WORKER, WorkerLost(1, 1, "reset")])
    assert not view.workers[1].is_alive
    fold(view, WorkerRegistered(1, 2, "host", 200), BEGAN)
    fold(view, WorkerLost(1, 1, "late"), BEGAN)
    assert view.workers[1].is_alive
    assert view.workers[1].incarnation == 2


def test_a_worker_shows_the_trial_in_its_hands() -> None:
    view = view_of([begin(), WORKER, start(0)])
    assert view.workers[1].trial_id == 0
    fold(view, end(0, 0.5), BEGAN)
    assert view.workers[1].trial_id is None
    assert view.workers[1].n_ended == 1


def test_without_a_named_metric_the_first_report_names_it() -> None:
    view = view_of([begin(metric=None), start(0), MetricReported(0, 1, 1, 0, {"f1": 0.5})])
    assert view.metric_name == "f1"
    assert view.trials[0].last_value == 0.5


@pytest.mark.parametrize(
    ("final", "name"), [({"accuracy": 0.9}, "accuracy"), ({"metric": 0.9}, "metric"), ({"a": 0.1, "b": 0.9}, "b")]
)
def test_without_a_named_metric_the_final_one_gives_the_name_and_not_the_reports(
    final: dict[str, float], name: str
) -> None:
    ended = TrialEnded(0, 1, 1, TrialState.COMPLETE, final, 0.9)
    view = view_of([begin(metric=None), start(0), MetricReported(0, 1, 1, 0, {"loss": 0.5}), ended])
    assert view.metric_name == name


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_metric_that_is_not_finite_has_its_name_all_the_same(value: float) -> None:
    ended = TrialEnded(0, 1, 1, TrialState.COMPLETE, {"accuracy": value, "n": 3.0}, value)
    assert view_of([begin(metric=None), start(0), ended]).metric_name == "accuracy"


def test_a_named_metric_keeps_its_name() -> None:
    ended = TrialEnded(0, 1, 1, TrialState.COMPLETE, {"metric": 0.9}, 0.9)
    assert view_of([begin(), start(0), ended]).metric_name == "accuracy"


def test_the_first_complete_trial_gives_the_name_for_good() -> None:
    ends = [TrialEnded(i, 1, 1, TrialState.COMPLETE, {name: 0.9}, 0.9) for i, name in enumerate(["accuracy", "other"])]
    facts = [begin(metric=None), start(0), ends[0], start(1), ends[1], begin(metric=None), start(2)]
    assert view_of([*facts, MetricReported(2, 1, 1, 0, {"loss": 0.5})]).metric_name == "accuracy"


@pytest.mark.parametrize(
    ("metrics", "name", "expected"),
    [
        ({"accuracy": 1.0, "loss": 2.0}, "loss", ("loss", 2.0)),
        ({"metric": 1.0}, "loss", ("loss", 1.0)),
        ({"metric": 1.0, "loss": 2.0}, None, ("metric", 1.0)),
        ({"f1": 1.0}, None, ("f1", 1.0)),
        ({"accuracy": 1.0, "loss": 2.0}, None, None),
        ({"accuracy": 1.0}, "loss", None),
        ({}, None, None),
    ],
)
def test_the_metric_that_counts(metrics: dict[str, float], name: str | None, expected: object) -> None:
    assert counted_value(metrics, name) == expected


def test_the_run_goes_from_starting_over_running_to_its_end() -> None:
    view = view_of([begin()])
    assert view.state is RunState.STARTING
    fold(view, WORKER, BEGAN + 1)
    assert view.state is RunState.RUNNING
    fold(view, RunEnded(RunState.STOPPED, "by hand"), BEGAN + 5)
    assert (view.state, view.state_reason) == (RunState.STOPPED, "by hand")
    assert view.elapsed_s(now=BEGAN + 99) == 5.0
    assert view.n_workers_alive == 0


def test_notices_are_kept_in_order() -> None:
    assert view_of([begin(), Noticed("a"), Noticed("b")]).notices == ["a", "b"]


def test_time_left_counts_waiting_trials_and_what_the_running_ones_lack() -> None:
    view = view_of([begin(n_trials=4), WORKER, start(0), end(0, 0.5), start(1)])
    assert view.remaining_s(now=BEGAN + 4) == pytest.approx(2 * 2.0 + 2.0)
    assert view.remaining_s(now=BEGAN + 5) == pytest.approx(2 * 2.0 + 1.0)


def test_trials_that_fail_at_once_do_not_shorten_the_time_left() -> None:
    failed: list[Fact] = []
    for trial_id in (1, 2):
        failed += [start(trial_id), replace(end(trial_id, state=TrialState.FAILED), duration_s=0.1)]
    view = view_of([begin(n_trials=5), WORKER, start(0), end(0, 0.5), *failed])
    assert view.remaining_s(now=BEGAN + 9) == pytest.approx(2 * 2.0)


def test_nothing_is_said_of_the_time_left_before_a_trial_has_ended() -> None:
    assert view_of([begin(), WORKER, start(0)]).remaining_s(now=BEGAN + 9) is None


def test_rows_are_ranked_by_their_shown_value_and_those_without_come_last() -> None:
    facts = [begin(), start(0), end(0, 0.2), start(1), report(1, 0, 0.9), start(2), start(3), end(3, math.inf)]
    assert [trial.id for trial in view_of(facts).ranked()] == [1, 0, 2, 3]
    assert [trial.id for trial in view_of(facts).ranked(limit=1)] == [1]


actions = st.lists(
    st.tuples(st.sampled_from(["start", "report", "requeue", *TrialState]), st.integers(0, 3), st.integers(1, 3)),
    max_size=60,
)


@given(actions)
def test_counts_always_agree_with_the_trials_in_any_order_of_facts(steps: list[tuple[str, int, int]]) -> None:
    view = view_of([begin(), WORKER])
    for kind, trial_id, attempt in steps:
        if kind == "start":
            fold(view, start(trial_id, attempt), BEGAN)
        elif kind == "report":
            fold(view, report(trial_id, 0, 0.5, attempt), BEGAN)
        elif kind == "requeue":
            fold(view, TrialRequeued(trial_id, attempt, ""), BEGAN)
        elif TrialState(kind).is_final:
            fold(view, end(trial_id, 0.5, TrialState(kind), attempt), BEGAN)
        states = [trial.state for trial in view.trials.values()]
        assert {state: n for state, n in view.counts.items() if n} == {state: states.count(state) for state in states}
        assert view.running == {trial.id for trial in view.trials.values() if trial.state is TrialState.RUNNING}
        assert view.n_steps == sum(trial.n_steps for trial in view.trials.values())
        assert view.n_done == sum(state.is_final for state in states)
        assert view.best is None or view.best.state is TrialState.COMPLETE
