"""What a library has logged by itself never becomes the metric that counts by accident."""

from __future__ import annotations

import pytest
from driven import Driven, PruneAt, records

from lagom_magic.driver.judge import judge, steering_value
from lagom_magic.events.facts import (
    MetricReported,
    Metrics,
    RunState,
    TrialEnded,
    TrialStarted,
    TrialState,
    from_record,
    to_record,
)
from lagom_magic.events.fold import fold
from lagom_magic.events.views import RunView

KERAS = {"accuracy": 0.9, "loss": 0.1, "val_accuracy": 0.8, "val_loss": 0.2}


def logged(metrics: Metrics, step: int = 0, trial_id: int = 0, worker_id: int = 0) -> MetricReported:
    return MetricReported(trial_id, 1, worker_id, step, metrics, is_automatic=True)


@pytest.mark.parametrize(
    ("metrics", "found", "named", "value"),
    [
        (KERAS, "accuracy", None, None),  # what the function returns only happens to have that name
        (KERAS, "accuracy", "accuracy", None),  # there is a better one of this kind
        (KERAS, "val_accuracy", "val_accuracy", 0.8),
        ({"accuracy": 0.9, "loss": 0.1}, "accuracy", "accuracy", 0.9),
        ({"loss": 0.1}, None, None, None),
        ({"metric": 0.1}, "score", "score", None),
    ],
)
def test_only_what_was_named_steers_the_pruner(
    metrics: Metrics, found: str | None, named: str | None, value: float | None
) -> None:
    assert steering_value(logged(metrics), found, named, metrics) == value
    own = MetricReported(0, 1, 0, 0, {"metric": 0.5})
    assert steering_value(own, found, named, metrics) == 0.5


def test_a_report_of_ones_own_says_nothing_of_being_one() -> None:
    own, theirs = MetricReported(0, 1, 0, 0, {"loss": 0.5}), logged({"loss": 0.5})
    assert "is_automatic" not in to_record(own)
    assert to_record(theirs)["is_automatic"] is True
    assert [from_record(to_record(fact)) for fact in (own, theirs)] == [own, theirs]


def test_parameters_travel_and_older_journals_have_none() -> None:
    ended = TrialEnded(0, 1, 0, TrialState.COMPLETE, params={"keras.epochs": 3, "keras.optimizer": "Adam"})
    record = to_record(ended)
    assert from_record(record) == ended
    del record["params"]
    assert from_record(record) == TrialEnded(0, 1, 0, TrialState.COMPLETE)
    with pytest.raises(ValueError, match="malformed"):
        from_record(record | {"params": "epochs"})


def test_a_returned_number_counts_whatever_was_logged() -> None:
    ended = TrialEnded(0, 1, 0, TrialState.COMPLETE, metrics={"accuracy": 0.7})
    with_logs = judge(ended, None, KERAS, was_seen=False, is_automatic=True)
    assert with_logs == judge(ended, None, {}, was_seen=False)
    assert with_logs.ended.metric == 0.7


def test_nothing_returned_and_nothing_named_ends_the_run_at_once_with_the_names_that_there_are() -> None:
    ended = TrialEnded(0, 1, 0, TrialState.COMPLETE)
    for metrics in ({"loss": 0.1}, KERAS):
        assert judge(ended, None, metrics, was_seen=True, is_automatic=True).run_error == ""
        verdict = judge(ended, None, metrics, was_seen=False, is_automatic=True)
        assert verdict.run_error.endswith(f"with --maximize or --minimize: {', '.join(metrics)}.")
        assert verdict.ended.error is not None
        assert verdict.ended.error.kind == "NO_METRIC"
        assert verdict.ended.error.message.endswith(f"with --maximize or --minimize: {', '.join(metrics)}.")


def test_the_last_value_of_each_name_counts_when_nothing_was_returned() -> None:
    driven = Driven(n_trials=1, n_workers=1, metric="eval_loss", direction="min")
    driven.register(1)
    for step, (name, value) in enumerate([("eval_loss", 0.3), ("eval_loss", 0.2), ("train_loss", 0.1)]):
        driven.tell(logged({name: value}, step, worker_id=1))
    driven.end(0, TrialState.COMPLETE)
    (ended,) = records(driven.orders, TrialEnded)
    assert (ended.state, ended.metric) == (TrialState.COMPLETE, 0.2)
    assert ended.metrics == {"eval_loss": 0.2, "train_loss": 0.1}


def test_the_pruner_hears_of_a_named_metric_only() -> None:
    for metric, calls in ((None, []), ("val_loss", [("report", 0)])):
        pruner = PruneAt()
        driven = Driven(n_trials=1, n_workers=1, pruner=pruner, metric=metric)
        driven.register(1)
        driven.tell(logged(KERAS, worker_id=1))
        assert pruner.calls == calls
        assert records(driven.orders, MetricReported) == [logged(KERAS, worker_id=1)]
        assert driven.state.state is RunState.RUNNING


def test_a_view_does_not_take_a_librarys_only_number_for_the_metric() -> None:
    view = RunView()
    started = TrialStarted(0, 1, 0, {})
    ended = TrialEnded(0, 1, 0, TrialState.COMPLETE, {"accuracy": 0.7}, 0.7, params={"a.b": 1})
    for time, fact in enumerate((started, logged({"loss": 0.5}), logged({"loss": 0.4}, 1), ended)):
        fold(view, fact, float(time))
    trial = view.trials[0]
    assert (view.metric_name, trial.value, trial.series.points) == ("accuracy", 0.7, [])
    assert trial.metrics == {"loss": 0.4, "accuracy": 0.7}
    assert trial.n_steps == 2
    assert trial.params == {"a.b": 1}
