"""What a resumed run makes of its journal: which trials run again, and what sampler and pruner learn."""

from __future__ import annotations

from typing import Any

import pytest

from lagom_magic.driver import inputs
from lagom_magic.driver.past import RESUMED, RETRIED_BY_USER, replay
from lagom_magic.driver.plan import RunPlan
from lagom_magic.driver.state import DriverState
from lagom_magic.errors import ConfigError, StoreError
from lagom_magic.events import commands
from lagom_magic.events.facts import (
    Fact,
    HParams,
    MetricReported,
    RunStarted,
    RunState,
    TrialEnded,
    TrialError,
    TrialRequeued,
    TrialStarted,
    TrialState,
    WorkerLost,
    WorkerRegistered,
)
from lagom_magic.events.fold import RunView, fold
from lagom_magic.search.base import EXHAUSTED, Answer, Pruner, Sampler, Suggestion

PLAN = RunPlan("run", "exp", "hpo", 6, 2, fixed_hparams={"epochs": 3})


class Asked(Sampler):
    """Suggests the trial's own number, and keeps what it is told."""

    def __init__(self, size: int = 100) -> None:
        self.size = size
        self.told: list[tuple[Any, ...]] = []

    def ask(self, trial_id: int) -> Suggestion | Answer:
        return Suggestion({"x": trial_id}) if trial_id < self.size else EXHAUSTED

    def tell(self, trial_id: int, state: TrialState, value: float | None) -> None:
        self.told.append((trial_id, state.value, value))

    def tell_again(self, trial_id: int, state: TrialState, value: float | None) -> None:
        self.told.append((trial_id, state.value, value, "again"))


class Heard(Pruner):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def report(self, trial_id: int, step: int, value: float) -> bool:
        self.heard.append((trial_id, step, value))
        return True

    def end(self, trial_id: int, state: TrialState) -> None:
        self.heard.append((trial_id, state.value))

    def restart(self, trial_id: int) -> None:
        self.heard.append((trial_id, "restart"))


def began(trial_id: int, attempt: int = 1, hparams: HParams | None = None) -> TrialStarted:
    return TrialStarted(trial_id, attempt, 1, {"epochs": 3, "x": trial_id} if hparams is None else hparams)


def ended(trial_id: int, state: TrialState = TrialState.COMPLETE, attempt: int = 1) -> TrialEnded:
    value = float(trial_id) if state in (TrialState.COMPLETE, TrialState.PRUNED) else None
    error = TrialError("ValueError", "no") if state is TrialState.FAILED else None
    metrics = {} if value is None else {"accuracy": value}
    return TrialEnded(trial_id, attempt, 1, state, metrics, value, error=error)


def replayed(*facts: Fact, size: int = 100) -> tuple[Any, Asked, Heard]:
    sampler, pruner = Asked(size), Heard()
    return replay(facts, sampler, pruner, ["epochs"]), sampler, pruner


def test_sampler_and_pruner_learn_what_they_learnt_then() -> None:
    report = MetricReported(0, 1, 1, 4, {"accuracy": 0.5})
    past, sampler, pruner = replayed(began(0), ended(0), began(1), MetricReported(1, 1, 1, 4, {"accuracy": 0.5}))
    assert past.metric_name == "accuracy"
    assert sampler.told == [(0, "COMPLETE", 0.0)]
    assert pruner.heard == [(0, "COMPLETE"), (1, 4, 0.5), (1, "restart")]
    named = Heard()
    replay([began(0), report], Asked(), named, ["epochs"], "accuracy")
    assert named.heard == [(0, 4, 0.5), (0, "restart")]


@pytest.mark.parametrize("state", [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED])
def test_what_has_ended_does_not_run_again(state: TrialState) -> None:
    past, _, _ = replayed(began(0), ended(0, state))
    assert past.n_missing == 0
    machine = DriverState(PLAN, Heard(), past)
    assert machine.trials[0].state is state
    assert not [order for order in machine.start() if isinstance(getattr(order, "fact", None), TrialRequeued)]


@pytest.mark.parametrize("last", [[], [ended(0, TrialState.STOPPED)]])
def test_what_was_running_or_stopped_runs_again_as_a_further_attempt(last: list[Fact]) -> None:
    past, sampler, _ = replayed(began(0), *last)
    assert sampler.told == []
    machine = DriverState(PLAN, Heard(), past)
    orders = machine.start()
    assert commands.Record(TrialRequeued(0, 2, RESUMED)) in orders
    after = machine.handle(WorkerRegistered(1, 1, "host", 1))
    assert commands.Record(TrialStarted(0, 2, 1, {"epochs": 3, "x": 0})) in after


def test_what_comes_is_asked_for_from_where_the_run_was() -> None:
    past, _, _ = replayed(began(0), ended(0), began(1), ended(1))
    machine = DriverState(PLAN, Heard(), past)
    assert commands.Ask(2) in machine.start()


def test_a_failure_that_the_driver_retried_is_not_told() -> None:
    past, sampler, _ = replayed(
        began(0),
        ended(0, TrialState.FAILED),
        TrialRequeued(0, 2, "ValueError, retry 1"),
        began(0, 2),
        ended(0, attempt=2),
    )
    assert sampler.told == [(0, "COMPLETE", 0.0)]
    assert past.trials[0].n_failures == 1
    assert past.trials[0].attempt == 2


def test_a_failure_that_a_person_retried_is_told_again() -> None:
    _, sampler, _ = replayed(
        began(0), ended(0, TrialState.FAILED), TrialRequeued(0, 2, RETRIED_BY_USER), began(0, 2), ended(0, attempt=2)
    )
    assert sampler.told == [(0, "FAILED", None), (0, "COMPLETE", 0.0, "again")]


def test_late_ends_of_earlier_attempts_count_for_nothing() -> None:
    past, sampler, _ = replayed(began(0), TrialRequeued(0, 2, "worker 1 was lost"), began(0, 2), ended(0))
    assert sampler.told == []
    assert past.n_missing == 1


def test_a_trial_whose_beginning_cannot_be_read_runs_anew() -> None:
    past, _, _ = replayed(began(0), ended(0), began(2), ended(2))
    assert past.trials[1].suggestion == Suggestion({"x": 1})
    assert past.n_missing == 1


def test_a_made_up_trial_that_ran_later_is_told_with_what_it_ran_with() -> None:
    class Learning(Asked):
        """Does not suggest the same twice, as one that has no seed."""

        def recall(self, trial_id: int, hparams: HParams, budget: int | None) -> Suggestion:
            return Suggestion(hparams, budget)

    resumed = [TrialRequeued(0, 2, RESUMED), began(0, 2, hparams={"x": 7}), ended(0, attempt=2)]
    sampler = Learning()
    past = replay([began(1), ended(1), *resumed], sampler, Heard(), ["epochs"])
    assert past.trials[0].suggestion == Suggestion({"x": 7})
    assert sampler.told == [(1, "COMPLETE", 1.0), (0, "COMPLETE", 0.0)]
    assert past.n_missing == 0


def test_a_gap_that_the_sampler_cannot_fill_is_told() -> None:
    with pytest.raises(StoreError, match=r"the journal lacks trial 0.* cannot be resumed"):
        replayed(began(1, hparams={"x": 1}), size=0)


def test_a_sampler_that_suggests_something_else_is_refused_with_both() -> None:
    with pytest.raises(ConfigError, match=r"for trial 0 it suggests \{'x': 0\}, and the run has \{'x': 9\}"):
        replayed(began(0, hparams={"x": 9, "epochs": 3}))


def test_the_view_of_a_resumed_run_counts_each_trial_once_and_no_pause() -> None:
    view = RunView()
    started = RunStarted("run", "exp", "hpo", 2, 1, None, "max", "random", "none", 0)
    facts: list[tuple[Fact, float]] = [
        (started, 0.0),
        (began(0), 1.0),
        (ended(0), 2.0),
        (began(1), 2.0),
        (ended(1, TrialState.STOPPED), 3.0),
        (started, 1000.0),
        (TrialRequeued(1, 2, RESUMED), 1000.0),
        (began(1, 2), 1001.0),
        (ended(1, attempt=2), 1002.0),
    ]
    for fact, time in facts:
        fold(view, fact, time)
    assert (view.counts[TrialState.COMPLETE], view.counts[TrialState.STOPPED], view.n_done) == (2, 0, 2)
    assert view.elapsed_s(1002.0) == 5.0
    assert [trial.paused_s for trial in view.trials.values()] == [997.0, 0.0]
    assert view.state is RunState.RUNNING


def test_a_resumed_run_ends_when_its_last_trial_has() -> None:
    past, _, _ = replayed(*(fact for trial_id in range(5) for fact in (began(trial_id), ended(trial_id))))
    machine = DriverState(PLAN, Heard(), past)
    machine.start()
    machine.handle(WorkerRegistered(1, 1, "host", 1))
    machine.handle(inputs.Suggested(5, Suggestion({"x": 5})))
    orders = machine.handle(ended(5))
    assert commands.ShutDownWorker(1) in orders
    assert machine.ending_state is RunState.COMPLETE


def test_what_a_pruned_trial_reported_on_its_way_to_the_end_is_not_heard_again() -> None:
    reports = [MetricReported(0, 1, 1, step, {"accuracy": 0.5}) for step in range(3)]
    pruner = Heard()  # gives up at the first report
    replay([began(0), *reports, ended(0, TrialState.PRUNED)], Asked(), pruner, ["epochs"], "accuracy")
    assert pruner.heard == [(0, 0, 0.5), (0, "PRUNED")]


def lost_again(retries: int, *facts: Fact) -> list[Fact]:
    """What is recorded when a resumed trial's worker is lost."""
    past, _, _ = replayed(*facts)
    machine = DriverState(
        RunPlan("run", "exp", "hpo", 1, 1, fixed_hparams={"epochs": 3}, retries=retries), Heard(), past
    )
    machine.start()
    machine.handle(WorkerRegistered(1, 1, "host", 1))
    orders = machine.handle(WorkerLost(1, 1, "its node went away"))
    return [order.fact for order in orders if isinstance(order, commands.Record)]


LOST_ONCE = (began(0), WorkerLost(1, 1, "out of memory"), TrialRequeued(0, 2, "worker 1 was lost: out of memory"))


def test_a_trial_that_lost_its_worker_before_the_resume_has_no_further_attempt_for_free() -> None:
    end = next(fact for fact in lost_again(0, *LOST_ONCE, began(0, 2)) if isinstance(fact, TrialEnded))
    assert (end.attempt, end.state) == (3, TrialState.FAILED)
    assert end.error is not None
    assert (end.error.kind, "lost twice" in end.error.message) == ("LOST", True)
    assert TrialRequeued(0, 4, "worker 1 was lost: its node went away, retry 1") in lost_again(
        1, *LOST_ONCE, began(0, 2)
    )


def test_a_loss_after_the_first_counts_as_a_retry_after_the_resume_too() -> None:
    twice = (*LOST_ONCE, began(0, 2), TrialRequeued(0, 3, "worker 1 was lost: out of memory, retry 1"), began(0, 3))
    past, _, _ = replayed(*twice)
    assert (past.trials[0].n_losses, past.trials[0].n_failures) == (2, 1)
    assert any(isinstance(fact, TrialEnded) for fact in lost_again(1, *twice))


def test_neither_a_failure_nor_a_resume_is_a_loss_and_a_persons_retry_forgets_them() -> None:
    failed = (began(0), ended(0, TrialState.FAILED), TrialRequeued(0, 2, "ValueError, retry 1"), began(0, 2))
    past, _, _ = replayed(*failed, TrialRequeued(0, 3, RESUMED), began(0, 3))
    assert (past.trials[0].n_losses, past.trials[0].n_failures) == (0, 1)
    asked = (ended(0, TrialState.FAILED, 2), TrialRequeued(0, 3, RETRIED_BY_USER), began(0, 3))
    past, _, _ = replayed(*LOST_ONCE, began(0, 2), *asked)
    assert past.trials[0].n_losses == 0


def test_a_run_that_was_cut_off_after_its_last_trial_ends_without_a_worker() -> None:
    past, _, _ = replayed(*(fact for trial_id in range(6) for fact in (began(trial_id), ended(trial_id))))
    machine = DriverState(PLAN, Heard(), past)
    orders = machine.start()
    assert not [order for order in orders if isinstance(order, commands.StartWorker)]
    assert orders[-1] == commands.EndRun(RunState.COMPLETE, "")
    assert machine.state is RunState.COMPLETE
