"""The pure machine: facts in, commands out; no thread, socket or clock anywhere in this file."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pytest
from driven import Driven, PruneAt, of, records

from lagom_magic.driver import inputs
from lagom_magic.driver.plan import RunPlan
from lagom_magic.driver.state import MAX_RESTARTS, DriverState, trial_seed
from lagom_magic.events import commands, facts
from lagom_magic.events.facts import RunState, TrialError, TrialState
from lagom_magic.search.base import WAIT, Suggestion


def started(orders: Iterable[commands.Command]) -> list[tuple[int, int, int]]:
    return [(order.worker_id, order.trial_id, order.attempt) for order in of(orders, commands.StartTrial)]


def test_a_run_starts_every_slot_and_has_the_first_trial_ready_before_a_worker_is_there() -> None:
    driven = Driven(n_workers=2)
    assert of(driven.orders, commands.StartWorker) == [commands.StartWorker(1, 1), commands.StartWorker(2, 1)]
    assert started(driven.register(2)) == [(2, 0, 1)]


def test_trials_go_to_whoever_is_idle_until_all_are_done() -> None:
    driven = Driven(n_trials=3)
    driven.register(1, 2)
    assert started(driven.orders) == [(1, 0, 1), (2, 1, 1)]
    assert started(driven.complete(1)) == [(2, 2, 1)]
    driven.complete(0)
    last = driven.complete(2)
    assert of(last, commands.ShutDownWorker) == [commands.ShutDownWorker(1), commands.ShutDownWorker(2)]
    assert of(driven.leave(1), commands.EndRun) == []
    assert of(driven.leave(2), commands.EndRun) == [commands.EndRun(RunState.COMPLETE, "")]
    assert driven.ends() == [(i, 1, TrialState.COMPLETE) for i in (1, 0, 2)]


def test_a_worker_that_joins_late_gets_a_trial() -> None:
    driven = Driven(n_trials=5, n_workers=2)
    driven.register(1)
    driven.complete(0)
    assert started(driven.register(2)) == [(2, 2, 1)]


def test_an_exhausted_sampler_ends_the_run_when_its_trials_are_done() -> None:
    driven = Driven(n_trials=10, n_workers=1)
    driven.sampler_size = 2
    driven.register(1)
    driven.complete(0)
    driven.complete(1)
    assert driven.leave(1)[-1] == commands.EndRun(RunState.COMPLETE, "")


def test_a_waiting_sampler_is_asked_again_after_the_next_end_only() -> None:
    state = DriverState(RunPlan("run", "exp", "hpo", 5, 2), PruneAt())
    state.start()
    state.handle(inputs.Suggested(0, Suggestion({})))
    state.handle(facts.WorkerRegistered(1, 1, "host", 1))
    assert state.handle(facts.WorkerRegistered(2, 1, "host", 2))[1:] == [commands.Ask(1)]
    assert state.handle(inputs.NotSuggested(1, WAIT)) == []
    after = state.handle(facts.TrialEnded(0, 1, 1, TrialState.COMPLETE, {"metric": 1.0}))
    assert of(after, commands.Ask) == [commands.Ask(1)]


def test_a_lost_workers_trial_goes_to_the_next_worker_as_a_new_attempt() -> None:
    driven = Driven(n_trials=2)
    driven.register(1, 2)
    lost = driven.tell(facts.WorkerLost(1, 1, "connection reset"))
    assert records(lost, facts.TrialRequeued)[0].attempt == 2
    assert started(driven.complete(1)) == [(2, 0, 2)]


def test_a_message_of_an_old_attempt_is_ignored() -> None:
    driven = Driven(n_trials=1, n_workers=2)
    driven.register(1)
    driven.tell(facts.WorkerLost(1, 1, "gone"))
    driven.register(2)
    assert driven.complete(0, attempt=1) == []
    assert driven.tell(facts.MetricReported(0, 1, 1, 3, {"metric": 0.1})) == []
    assert records(driven.complete(0, attempt=2), facts.TrialEnded)[0].attempt == 2


def test_a_trial_that_loses_its_worker_twice_has_failed() -> None:
    driven = Driven(n_trials=2, n_workers=2)
    driven.register(1, 2)
    driven.tell(facts.WorkerLost(1, 1, "gone"))
    driven.complete(1)
    driven.tell(facts.WorkerLost(2, 1, "gone too"))
    ended = records(driven.orders, facts.TrialEnded)[-1]
    assert (ended.trial_id, ended.state, ended.error.kind) == (0, TrialState.FAILED, "LOST")


def test_a_slot_is_started_again_three_times_and_no_more() -> None:
    driven = Driven(n_trials=1, n_workers=1)
    for incarnation in range(1, MAX_RESTARTS + 1):
        orders = driven.tell(inputs.WorkerExited(1, incarnation, "crashed"))
        assert of(orders, commands.StartWorker) == [commands.StartWorker(1, incarnation + 1)]
    orders = driven.tell(inputs.WorkerExited(1, MAX_RESTARTS + 1, "crashed"))
    assert of(orders, commands.EndRun)[0].state is RunState.FAILED
    assert "crashed" in of(orders, commands.EndRun)[0].reason


def test_an_exit_that_overtakes_the_end_of_the_connection_loses_the_worker_once() -> None:
    driven = Driven(n_trials=2, n_workers=1)
    driven.register(1)
    orders = driven.tell(inputs.WorkerExited(1, 1, "killed"), facts.WorkerLost(1, 1, "connection closed"))
    assert len(records(orders, facts.WorkerLost)) == 1
    assert len(of(orders, commands.StartWorker)) == 1


def test_a_retried_spark_task_takes_its_slot_back_without_a_restart() -> None:
    driven = Driven(n_trials=2, n_workers=1)
    driven.register(1)
    driven.tell(facts.WorkerLost(1, 1, "executor lost"))
    assert started(driven.register(1)) == [(1, 0, 2)]


def test_the_pruner_sees_reports_and_its_verdict_goes_to_the_worker_once() -> None:
    pruner = PruneAt(step=2)
    driven = Driven(pruner=pruner)
    driven.register(1, 2)
    reports = [facts.MetricReported(0, 1, 1, step, {"metric": 0.1}) for step in (1, 2, 2)]
    assert of(driven.tell(*reports), commands.PruneTrial) == [commands.PruneTrial(1, 0, 1)]
    driven.end(0, TrialState.PRUNED)
    ended = records(driven.orders, facts.TrialEnded)[-1]
    assert (ended.state, ended.metric) == (TrialState.PRUNED, 0.1)
    assert pruner.calls[-1] == ("end", 0)


def test_reports_about_another_metric_do_not_reach_the_pruner() -> None:
    pruner = PruneAt(step=1)
    driven = Driven(pruner=pruner, metric="accuracy")
    driven.register(1)
    driven.tell(facts.MetricReported(0, 1, 1, 1, {"loss": 0.1}))
    assert pruner.calls == []


def test_a_failed_trial_runs_again_as_often_as_retries_allow() -> None:
    pruner = PruneAt()
    driven = Driven(n_trials=1, n_workers=1, retries=1, pruner=pruner)
    driven.register(1)
    assert started(driven.fail(0)) == [(1, 0, 2)]
    assert ("restart", 0) in pruner.calls
    driven.fail(0, attempt=2)
    assert driven.ends() == [(0, 1, TrialState.FAILED), (0, 2, TrialState.FAILED)]
    assert driven.leave(1)[-1] == commands.EndRun(RunState.FAILED, "the trial failed with ValueError: no")
    assert len(of(driven.orders, commands.Tell)) == 1


def test_more_failures_than_allowed_end_the_run() -> None:
    driven = Driven(n_trials=10, n_workers=2, max_failures=1)
    driven.register(1, 2)
    driven.fail(0)
    orders = driven.fail(1)
    assert [order.trial_id for order in of(orders, commands.StopTrial)] == [2]
    assert driven.state.ending_state is RunState.FAILED
    assert "max_failures=1" in driven.state.reason


def test_a_run_of_failed_trials_only_has_failed() -> None:
    driven = Driven(n_trials=2, n_workers=1)
    driven.register(1)
    driven.fail(0)
    driven.fail(1)
    assert driven.leave(1)[-1] == commands.EndRun(
        RunState.FAILED, "every one of the 2 trials failed, the first with ValueError: no"
    )


def test_a_stop_keeps_what_is_finished_and_stops_what_runs() -> None:
    driven = Driven(n_trials=10, n_workers=2)
    driven.register(1, 2)
    driven.complete(0)
    orders = driven.tell(inputs.StopRequested("stopped with ■"))
    assert sorted(order.trial_id for order in of(orders, commands.StopTrial)) == [1, 2]
    driven.end(1, TrialState.STOPPED)
    driven.complete(2)  # it was faster
    driven.leave(1)
    assert driven.leave(2)[-1] == commands.EndRun(RunState.STOPPED, "stopped with ■")
    assert driven.ends() == [(0, 1, TrialState.COMPLETE), (1, 1, TrialState.STOPPED), (2, 1, TrialState.COMPLETE)]


def test_workers_that_do_not_answer_a_stop_are_given_up() -> None:
    driven = Driven(n_trials=10, n_workers=2)
    driven.register(1, 2)
    driven.tell(inputs.StopRequested("stopped"))
    orders = driven.tell(inputs.PatienceEnded())
    assert [f.state for f in records(orders, facts.TrialEnded)] == [TrialState.STOPPED] * 2
    assert orders[-1] == commands.EndRun(RunState.STOPPED, "stopped")
    assert driven.complete(0) == []


def test_a_stop_before_any_worker_came_ends_at_once() -> None:
    driven = Driven()
    assert driven.tell(inputs.StopRequested("stopped"))[-1] == commands.EndRun(RunState.STOPPED, "stopped")


def test_a_requeued_trial_is_closed_by_a_stop() -> None:
    driven = Driven(n_trials=2, n_workers=2)
    driven.register(1)
    driven.tell(facts.WorkerLost(1, 1, "gone"), inputs.StopRequested("stopped"))
    assert driven.ends() == [(0, 2, TrialState.STOPPED)]


def test_a_timeout_ends_the_run_with_what_it_has() -> None:
    driven = Driven(n_trials=10, n_workers=1)
    driven.register(1)
    driven.complete(0)
    driven.tell(inputs.TimeIsUp(60.0))
    driven.end(1, TrialState.STOPPED)
    end = driven.leave(1)[-1]
    assert isinstance(end, commands.EndRun)
    assert end.state is RunState.COMPLETE
    assert "60 s" in end.reason


def test_a_timeout_without_a_complete_trial_is_a_failure() -> None:
    driven = Driven(n_trials=10, n_workers=1)
    driven.register(1)
    driven.tell(inputs.TimeIsUp(60.0))
    assert driven.state.ending_state is RunState.FAILED


@pytest.mark.parametrize(
    ("metric", "metrics", "state", "word"),
    [
        (None, {"metric": 0.5}, TrialState.COMPLETE, ""),
        (None, {"accuracy": 0.5}, TrialState.COMPLETE, ""),
        (None, {"metric": math.inf}, TrialState.COMPLETE, ""),
        ("accuracy", {"accuracy": 0.5, "loss": 1.0}, TrialState.COMPLETE, ""),
        ("accuracy", {"metric": 0.5}, TrialState.COMPLETE, ""),
        (None, {"metric": math.nan}, TrialState.FAILED, "nan"),
        (None, {}, TrialState.FAILED, "return a number"),
        (None, {"accuracy": 0.5, "loss": 1.0}, TrialState.FAILED, "--maximize accuracy"),
        ("acuracy", {"accuracy": 0.5, "loss": 1.0}, TrialState.FAILED, "Did you mean accuracy?"),
    ],
)
def test_the_metric_that_counts(metric: str | None, metrics: dict[str, float], state: TrialState, word: str) -> None:
    driven = Driven(n_trials=3, n_workers=1, metric=metric)
    driven.register(1)
    driven.end(0, TrialState.COMPLETE, metrics=metrics)
    ended = records(driven.orders, facts.TrialEnded)[0]
    assert ended.state is state
    assert word in (ended.error.message if ended.error else "")


@pytest.mark.parametrize(
    ("metrics", "direction", "is_doubted"),
    [
        ({"loss": 0.5}, "max", True),
        ({"val_rmse": 0.5}, "max", True),
        ({"loss": 0.5}, "min", False),
        ({"accuracy": 0.5}, "max", False),
        ({"false_alarms": 0.5}, "max", False),
    ],
)
def test_a_loss_that_is_maximised_because_nothing_was_said_is_noticed_once(
    metrics: dict[str, float], direction: str, is_doubted: bool
) -> None:
    driven = Driven(n_trials=3, n_workers=1, metric=None, direction=direction)
    driven.register(1)
    driven.end(0, TrialState.COMPLETE, metrics=metrics)
    driven.end(1, TrialState.COMPLETE, metrics=metrics)
    told = [fact.text for fact in records(driven.orders, facts.Noticed)]
    assert told == ([f"{name} is maximised, as nothing else was said. If less is better: --minimize {name}"
                     for name in metrics] if is_doubted else [])  # fmt: skip


@pytest.mark.parametrize(
    ("metrics", "shown"), [({"score": 2.25}, 2.25), ({"score": 2.25, "loss": 1.0}, 2.25), ({}, None)]
)
def test_the_first_number_of_a_single_call_is_what_is_shown(metrics: dict[str, float], shown: float | None) -> None:
    driven = Driven(n_trials=1, n_workers=1, needs_metric=False)
    driven.register(1)
    driven.end(0, TrialState.COMPLETE, metrics=metrics)
    (ended,) = records(driven.orders, facts.TrialEnded)
    assert (ended.state, ended.metric) == (TrialState.COMPLETE, shown)


def test_why_a_run_failed_is_said_in_words_and_its_trials_kind_is_kept() -> None:
    driven = Driven(n_trials=1, n_workers=1)
    driven.register(1)
    driven.end(0, TrialState.COMPLETE, metrics={})
    (ended,) = records(driven.orders, facts.TrialEnded)
    assert ended.error is not None
    assert ended.error.kind == "NO_METRIC"
    assert driven.leave(1)[-1] == commands.EndRun(
        RunState.FAILED,
        "the trial failed with no metric: it returned None and broadcast nothing; return a number, or a dict with one",
    )


def test_a_named_metric_that_the_first_trial_lacks_stops_the_run() -> None:
    driven = Driven(n_trials=30, n_workers=2, metric="f1")
    driven.register(1, 2)
    driven.end(0, TrialState.COMPLETE, metrics={"accuracy": 0.5, "loss": 1.0})
    assert driven.state.ending_state is RunState.FAILED
    assert "'f1' is not among what it returned: accuracy, loss" in driven.state.reason


def test_a_named_metric_that_was_there_before_fails_only_the_trial_that_lacks_it() -> None:
    driven = Driven(n_trials=30, n_workers=1, metric="accuracy")
    driven.register(1)
    driven.end(0, TrialState.COMPLETE, metrics={"accuracy": 0.5})
    driven.end(1, TrialState.COMPLETE, metrics={"loss": 0.5})
    assert driven.state.ending_state is None
    assert driven.ends()[-1] == (1, 1, TrialState.FAILED)


def test_a_trial_that_returns_no_number_counts_its_last_broadcast() -> None:
    driven = Driven(n_trials=2, n_workers=1)
    driven.register(1)
    driven.tell(facts.MetricReported(0, 1, 1, 1, {"metric": 0.25}))
    driven.end(0, TrialState.COMPLETE)
    assert records(driven.orders, facts.TrialEnded)[0].metric == 0.25


def test_a_single_run_needs_no_metric() -> None:
    driven = Driven(n_trials=1, n_workers=1, needs_metric=False)
    driven.register(1)
    driven.end(0, TrialState.COMPLETE)
    assert driven.ends() == [(0, 1, TrialState.COMPLETE)]


def test_an_expensive_sampler_is_asked_ahead_and_not_for_a_single_worker() -> None:
    for n_workers, n_expected in ((1, 0), (2, 1)):
        state = DriverState(RunPlan("run", "exp", "hpo", 50, n_workers), PruneAt())
        state.start()
        state.handle(inputs.Suggested(0, Suggestion({}), cost_s=0.1))
        state.handle(facts.WorkerRegistered(1, 1, "host", 1))
        orders = state.handle(facts.TrialEnded(0, 1, 1, TrialState.COMPLETE, {"metric": 1.0}, duration_s=0.2))
        orders = state.handle(inputs.Suggested(1, Suggestion({}), cost_s=0.1))
        assert len(of(orders, commands.Ask)) == n_expected


def test_a_sampler_that_raises_ends_the_run_with_its_message() -> None:
    driven = Driven(n_workers=1)
    driven.register(1)
    driven.tell(inputs.SamplerFailed("KeyError: 'lr'"))
    assert driven.state.ending_state is RunState.FAILED
    assert "KeyError: 'lr'" in driven.state.reason


def test_seeds_are_fixed_by_run_seed_and_trial() -> None:
    assert trial_seed(7, 3) == trial_seed(7, 3)
    assert len({trial_seed(7, i) for i in range(100)} | {trial_seed(8, i) for i in range(100)}) == 200
    assert trial_seed(None, 3) is None


def test_fixed_hparams_reach_every_trial_beside_the_suggested_ones() -> None:
    driven = Driven(n_workers=1, fixed_hparams={"epochs": 3})
    driven.register(1)
    assert of(driven.orders, commands.StartTrial)[0].hparams == {"epochs": 3, "x": 0}


def test_trials_that_lost_their_worker_twice_count_against_max_failures() -> None:
    driven = Driven(n_trials=5, n_workers=2, max_failures=0)
    driven.register(1)
    driven.tell(facts.WorkerLost(1, 1, "gone"))
    driven.register(2)
    driven.tell(facts.WorkerLost(2, 1, "gone too"))
    assert driven.state.ending_state is RunState.FAILED
    assert "max_failures=0" in driven.state.reason


def test_an_event_of_another_worker_changes_nothing() -> None:
    driven = Driven()
    driven.register(1, 2)
    assert driven.tell(facts.TrialEnded(0, 1, 2, TrialState.COMPLETE, {"metric": 1.0})) == []
    assert driven.tell(facts.MetricReported(0, 1, 2, 1, {"metric": 1.0})) == []


def test_without_a_name_only_the_metric_that_was_returned_prunes() -> None:
    pruner = PruneAt(step=1)
    driven = Driven(n_trials=6, n_workers=1, pruner=pruner)
    driven.register(1)
    driven.tell(facts.MetricReported(0, 1, 1, 1, {"loss": 0.1}))
    driven.end(0, TrialState.COMPLETE, metrics={"accuracy": 0.9})
    driven.tell(facts.MetricReported(1, 1, 1, 1, {"loss": 0.1}))
    assert ("report", 0) not in pruner.calls
    assert ("report", 1) not in pruner.calls
    driven.tell(facts.MetricReported(1, 1, 1, 1, {"accuracy": 0.1}))
    assert ("report", 1) in pruner.calls


def test_a_pruner_that_raises_ends_the_run_with_its_message() -> None:
    class Broken(PruneAt):
        def report(self, trial_id: int, step: int, value: float) -> bool:
            raise ZeroDivisionError("by zero")

    driven = Driven(n_workers=1, pruner=Broken())
    driven.register(1)
    driven.tell(facts.MetricReported(0, 1, 1, 1, {"metric": 0.1}))
    assert driven.state.reason == "the pruner failed: ZeroDivisionError: by zero"


def test_a_sampler_that_waits_for_nothing_ends_the_run() -> None:
    state = DriverState(RunPlan("run", "exp", "hpo", 5, 1), PruneAt())
    state.start()
    orders = state.handle(inputs.NotSuggested(0, WAIT))
    assert of(orders, commands.EndRun) == [commands.EndRun(RunState.FAILED, "the sampler suggested nothing")]


def test_an_end_that_overtakes_the_answer_wait_makes_it_worth_another_question() -> None:
    state = DriverState(RunPlan("run", "exp", "hpo", 5, 2), PruneAt())
    state.start()
    state.handle(inputs.Suggested(0, Suggestion({})))
    state.handle(facts.WorkerRegistered(1, 1, "host", 1))
    state.handle(facts.WorkerRegistered(2, 1, "host", 2))
    state.handle(facts.TrialEnded(0, 1, 1, TrialState.COMPLETE, {"metric": 1.0}))
    assert of(state.handle(inputs.NotSuggested(1, WAIT)), commands.Ask) == [commands.Ask(1)]


def test_a_metric_that_was_nan_first_was_there() -> None:
    driven = Driven(n_trials=5, n_workers=1, metric="accuracy")
    driven.register(1)
    driven.end(0, TrialState.COMPLETE, metrics={"accuracy": math.nan})
    driven.end(1, TrialState.COMPLETE, metrics={"loss": 1.0})
    assert driven.state.ending_state is None


def test_files_that_did_not_arrive_are_named_at_the_end() -> None:
    driven = Driven(n_trials=1, n_workers=1)
    driven.register(1)
    driven.complete(0, files=("artifacts/a.png", "artifacts/b.png"))
    driven.tell(facts.FileStored(0, 1, "artifacts/a.png", 1, "00"))
    notices = records(driven.leave(1), facts.Noticed)
    assert [notice.text for notice in notices] == [
        "files that the run's end left on the workers: artifacts/b.png of trial 0."
    ]


def test_a_running_trial_is_pruned_on_request_and_once() -> None:
    pruner = PruneAt(step=2)
    driven = Driven(n_trials=3, n_workers=1, pruner=pruner)
    driven.register(1)
    assert driven.tell(inputs.PruneRequested(0)) == [commands.PruneTrial(1, 0, 1)]
    assert driven.tell(inputs.PruneRequested(0)) == []
    driven.tell(facts.MetricReported(0, 1, 1, 2, {"metric": 0.1}))
    assert of(driven.orders, commands.PruneTrial) == [commands.PruneTrial(1, 0, 1)]
    driven.end(0, TrialState.PRUNED)
    assert driven.ends() == [(0, 1, TrialState.PRUNED)]


def test_a_new_attempt_is_not_pruned_by_the_request_for_the_old_one() -> None:
    driven = Driven(n_trials=1, n_workers=2)
    driven.register(1)
    driven.tell(inputs.PruneRequested(0), facts.WorkerLost(1, 1, "gone"))
    driven.register(2)
    assert driven.tell(inputs.PruneRequested(0)) == [commands.PruneTrial(2, 0, 2)]


def test_what_does_not_run_is_not_pruned_and_a_person_is_told() -> None:
    driven = Driven(n_trials=4, n_workers=2)
    driven.register(1)
    driven.complete(0)
    driven.tell(facts.WorkerLost(1, 1, "gone"))
    orders = driven.tell(inputs.PruneRequested(0), inputs.PruneRequested(1), inputs.PruneRequested(99))
    assert [notice.text for notice in records(orders, facts.Noticed)] == [
        "trial 0 is complete: only a running trial can be pruned.",
        "trial 1 is waiting: only a running trial can be pruned.",
        "there is no trial 99 yet: only a running trial can be pruned.",
    ]
    assert of(driven.orders, commands.PruneTrial) == []


def test_a_failed_trial_runs_again_on_request_before_those_that_wait() -> None:
    pruner = PruneAt()
    driven = Driven(n_trials=3, n_workers=2, pruner=pruner)
    driven.register(1, 2)
    driven.fail(0)
    assert driven.tell(inputs.RetryRequested(0)) == [commands.Record(facts.TrialRequeued(0, 2, "retried by its user"))]
    assert pruner.calls[-1] == ("restart", 0)
    assert started(driven.complete(1)) == [(2, 0, 2)]


def test_the_run_waits_for_a_retried_trial_and_the_sampler_hears_of_both_ends() -> None:
    driven = Driven(n_trials=2, n_workers=1)
    driven.register(1)
    driven.fail(0)
    driven.tell(inputs.RetryRequested(0))
    assert started(driven.complete(1)) == [(1, 0, 2)]
    assert driven.state.ending_state is None
    driven.complete(0, attempt=2)
    assert driven.leave(1)[-1] == commands.EndRun(RunState.COMPLETE, "")
    told = [(order.ended.trial_id, order.ended.state, order.is_again) for order in of(driven.orders, commands.Tell)]
    assert told == [
        (0, TrialState.FAILED, False),
        (1, TrialState.COMPLETE, False),
        (0, TrialState.COMPLETE, True),
    ]


def test_a_retried_failure_counts_no_more() -> None:
    driven = Driven(n_trials=4, n_workers=1, max_failures=1)
    driven.register(1)
    driven.fail(0)
    driven.tell(inputs.RetryRequested(0))
    driven.fail(1)
    assert driven.state.ending_state is None
    driven.fail(0, attempt=2)
    assert driven.state.ending_state is RunState.FAILED


def test_the_first_failure_is_the_first_of_those_that_stayed() -> None:
    driven = Driven(n_trials=2, n_workers=2)
    driven.register(1, 2)
    driven.end(0, TrialState.FAILED, error=TrialError("KeyError", "first"))
    driven.tell(inputs.RetryRequested(0))
    driven.end(1, TrialState.FAILED, error=TrialError("OSError", "second"))
    driven.end(0, TrialState.FAILED, attempt=2, error=TrialError("KeyError", "third"))
    assert driven.state.reason == "every one of the 2 trials failed, the first with OSError: second"


def test_a_retried_trial_may_lose_a_worker_again() -> None:
    driven = Driven(n_trials=2, n_workers=3)
    driven.register(1)
    driven.tell(facts.WorkerLost(1, 1, "gone"))
    driven.register(2)
    driven.tell(facts.WorkerLost(2, 1, "gone too"))
    driven.tell(inputs.RetryRequested(0))
    driven.register(3)
    driven.tell(facts.WorkerLost(3, 1, "gone as well"))
    assert [requeued.attempt for requeued in records(driven.orders, facts.TrialRequeued)] == [2, 3, 4]


def test_what_has_not_failed_is_not_retried_and_a_person_is_told() -> None:
    driven = Driven(n_trials=4, n_workers=1)
    driven.register(1)
    driven.complete(0)
    orders = driven.tell(*(inputs.RetryRequested(trial_id) for trial_id in (0, 1, 99)))
    assert [notice.text for notice in records(orders, facts.Noticed)] == [
        "trial 0 is complete: only a failed trial can be retried.",
        "trial 1 is running: only a failed trial can be retried.",
        "there is no trial 99 yet: only a failed trial can be retried.",
    ]
    assert started(orders) == []


def test_a_run_that_goes_to_its_end_neither_prunes_nor_retries() -> None:
    driven = Driven(n_trials=4, n_workers=2)
    driven.register(1, 2)
    driven.fail(0)
    driven.tell(inputs.StopRequested("stopped"))
    assert driven.tell(inputs.RetryRequested(0), inputs.PruneRequested(1)) == []


def test_a_retried_trial_that_never_began_again_is_stopped_with_the_run() -> None:
    driven = Driven(n_trials=2, n_workers=1)
    driven.register(1)
    driven.fail(0)
    driven.tell(inputs.RetryRequested(0), inputs.StopRequested("stopped"))
    assert driven.ends() == [(0, 1, TrialState.FAILED), (0, 2, TrialState.STOPPED)]


def test_an_end_and_a_retry_that_overtake_the_answer_wait_make_it_worth_another_question() -> None:
    state = DriverState(RunPlan("run", "exp", "hpo", 5, 2), PruneAt())
    state.start()
    state.handle(inputs.Suggested(0, Suggestion({})))
    state.handle(facts.WorkerRegistered(1, 1, "host", 1))
    state.handle(facts.WorkerRegistered(2, 1, "host", 2))
    state.handle(facts.TrialEnded(0, 1, 1, TrialState.FAILED))
    state.handle(inputs.RetryRequested(0))
    assert of(state.handle(inputs.NotSuggested(1, WAIT)), commands.Ask) == [commands.Ask(1)]


def test_what_libraries_measured_on_training_data_neither_prunes_nor_counts_beside_the_validated() -> None:
    pruner = PruneAt(step=1)
    state = DriverState(RunPlan("run", "exp", "hpo", 5, 1, metric="accuracy"), pruner)
    state.start()
    state.handle(inputs.Suggested(0, Suggestion({})))
    state.handle(facts.WorkerRegistered(1, 1, "host", 1))
    for step, metrics in enumerate([{"accuracy": 0.9, "val_accuracy": 0.5}, {"accuracy": 0.95}]):
        orders = state.handle(facts.MetricReported(0, 1, 1, step, metrics, is_automatic=True))
        assert of(orders, commands.PruneTrial) == []
    (ended,) = records(state.handle(facts.TrialEnded(0, 1, 1, TrialState.COMPLETE)), facts.TrialEnded)
    assert ended.state is TrialState.FAILED
    assert ended.error is not None
    assert "'val_accuracy' beside it. Name that one" in ended.error.message


def test_a_first_trial_of_which_only_a_library_told_numbers_and_none_is_named_stops_the_run() -> None:
    state = DriverState(RunPlan("run", "exp", "hpo", 30, 1), PruneAt())
    state.start()
    state.handle(inputs.Suggested(0, Suggestion({})))
    state.handle(facts.WorkerRegistered(1, 1, "host", 1))
    state.handle(facts.MetricReported(0, 1, 1, 0, {"loss": 0.9}, is_automatic=True))
    orders = state.handle(facts.TrialEnded(0, 1, 1, TrialState.COMPLETE))
    (ended,) = records(orders, facts.TrialEnded)
    assert ended.error is not None
    assert "name one that was logged, with --maximize or --minimize: loss" in ended.error.message
    assert state.ending_state is RunState.FAILED
