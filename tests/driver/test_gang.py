"""A trial of several workers in the pure machine: it begins when all are there, and ends when none is left."""

from __future__ import annotations

import math
from typing import Any

import pytest
from driven import Driven, of, records

from lagom_magic.driver import inputs
from lagom_magic.driver.gang import Gang, Seat
from lagom_magic.events import commands, facts
from lagom_magic.events.facts import RunState, TrialError, TrialState

STOPPED, FAILED, COMPLETE = TrialState.STOPPED, TrialState.FAILED, TrialState.COMPLETE


class Training(Driven):
    """One trial on three workers."""

    def __init__(self, n_workers: int = 3, **plan: Any) -> None:
        super().__init__(1, n_workers, world_size=n_workers, needs_metric=False, **plan)

    def ready(self, *worker_ids: int, attempt: int = 1) -> list[commands.Command]:
        return self.tell(*(facts.RankReady(0, attempt, w, f"host:{w}") for w in worker_ids))

    def rank_ends(self, worker_id: int, state: TrialState, attempt: int = 1, **fields: Any) -> list[commands.Command]:
        return self.tell(facts.TrialEnded(0, attempt, worker_id, state, **fields))

    def report(self, worker_id: int, **metrics: float) -> list[commands.Command]:
        return self.tell(facts.MetricReported(0, 1, worker_id, 0, metrics))

    @property
    def outcome(self) -> facts.TrialEnded:
        [ended] = records(self.orders, facts.TrialEnded)
        return ended


def error(kind: str, *, is_consequence: bool = False) -> TrialError:
    return TrialError(kind, "why", is_consequence=is_consequence)


def test_a_training_begins_when_its_last_worker_is_there_and_each_gets_its_rank() -> None:
    training = Training()
    assert of(training.register(3, 1), commands.StartTrial) == []
    orders = training.register(2)
    assert [(o.worker_id, o.rank, o.world_size) for o in of(orders, commands.StartTrial)] == [
        (1, 0, 3),
        (2, 1, 3),
        (3, 2, 3),
    ]
    [started] = records(orders, facts.TrialStarted)
    assert (started.worker_id, started.world_size) == (1, 3)


def test_ranks_meet_when_the_last_of_them_is_ready() -> None:
    training = Training()
    training.register(1, 2, 3)
    assert of(training.ready(2, 3), commands.Meet) == []
    addresses = ("host:1", "host:2", "host:3")
    assert of(training.ready(1), commands.Meet) == [commands.Meet(w, 0, 1, addresses) for w in (1, 2, 3)]
    assert of(training.ready(1), commands.Meet) == []


def test_it_is_complete_when_all_ranks_are_and_has_the_metrics_of_the_first_and_the_files_of_all() -> None:
    training = Training()
    training.register(1, 2, 3)
    training.rank_ends(1, COMPLETE, metrics={"loss": 1.0}, files=("a",), duration_s=1.0)
    training.rank_ends(3, COMPLETE, metrics={"loss": 3.0}, duration_s=3.0)
    assert records(training.orders, facts.TrialEnded) == []
    training.rank_ends(2, COMPLETE, metrics={"loss": 2.0}, files=("files/rank1/b",), duration_s=2.0)
    ended = training.outcome
    assert (ended.state, ended.metrics, ended.worker_id) == (COMPLETE, {"loss": 1.0}, 1)
    assert (ended.files, ended.duration_s) == (("a", "files/rank1/b"), 3.0)


@pytest.mark.parametrize(("averages", "seen"), [(False, [1.0]), (True, [2.0])])
def test_a_report_is_the_first_ranks_or_the_mean_of_all(averages: bool, seen: list[float]) -> None:
    training = Training(averages_metrics=averages)
    training.register(1, 2, 3)
    for worker_id in (3, 1, 2):
        training.report(worker_id, loss=float(worker_id))
    assert [fact.metrics["loss"] for fact in records(training.orders, facts.MetricReported)] == seen


def test_returned_metrics_are_averaged_too() -> None:
    training = Training(averages_metrics=True)
    training.register(1, 2, 3)
    for worker_id in (3, 1, 2):
        training.rank_ends(worker_id, COMPLETE, metrics={"loss": float(worker_id)})
    assert training.outcome.metrics == {"loss": 2.0}


def test_a_rank_that_fails_stops_the_others_and_its_own_error_is_what_is_shown() -> None:
    training = Training()
    training.register(1, 2, 3)
    orders = training.rank_ends(2, FAILED, error=error("ValueError"))
    assert of(orders, commands.StopTrial) == [commands.StopTrial(w, 0, 1) for w in (1, 3)]
    assert training.rank_ends(1, FAILED, error=error("RuntimeError", is_consequence=True)) == []
    training.rank_ends(3, STOPPED)
    ended = training.outcome
    assert ended.state is FAILED
    assert ended.error is not None
    assert (ended.error.kind, ended.error.message) == ("ValueError", "rank 1 (worker 2 on host): why")
    assert training.state.ending_state is RunState.FAILED


def test_an_error_that_looks_like_a_consequence_does_not_hide_the_cause_that_comes_after_it() -> None:
    training = Training(2)
    training.register(1, 2)
    training.rank_ends(1, FAILED, error=error("RuntimeError", is_consequence=True))
    training.rank_ends(2, FAILED, error=error("SIGKILL"))
    assert training.outcome.error is not None
    assert training.outcome.error.kind == "SIGKILL"


def test_a_rank_for_which_another_waits_in_vain_is_named() -> None:
    training = Training(2)
    training.register(1, 2)
    training.rank_ends(1, FAILED, error=error("TimeoutError", is_consequence=True))
    training.rank_ends(2, STOPPED)
    assert training.outcome.error is not None
    assert training.outcome.error.message == (
        "no word of rank 1 (worker 2 on host), which did not take part in a step of all ranks. "
        "rank 0 (worker 1 on host): why"
    )


def test_a_lost_worker_costs_one_attempt_and_all_ranks_begin_anew() -> None:
    training = Training(2)
    training.register(1, 2)
    orders = training.tell(facts.WorkerLost(2, 1, "connection reset"))
    assert of(orders, commands.StopTrial) == [commands.StopTrial(1, 0, 1)]
    training.rank_ends(1, FAILED, error=error("RuntimeError", is_consequence=True))
    [requeued] = records(training.orders, facts.TrialRequeued)
    assert requeued.reason == "worker 2 was lost: connection reset (rank 1 on host)"
    training.tell(inputs.WorkerExited(2, 1, "gone"))
    orders = training.register(2, incarnation=2)
    assert [(o.worker_id, o.attempt, o.rank) for o in of(orders, commands.StartTrial)] == [(1, 2, 0), (2, 2, 1)]


def test_a_failed_training_begins_again_as_often_as_retries_allow() -> None:
    training = Training(2, retries=1)
    training.register(1, 2)
    training.rank_ends(1, FAILED, error=error("ValueError"))
    orders = training.rank_ends(2, STOPPED)
    assert [(o.worker_id, o.attempt) for o in of(orders, commands.StartTrial)] == [(1, 2), (2, 2)]


def test_a_stop_ends_every_rank() -> None:
    training = Training(2)
    training.register(1, 2)
    orders = training.tell(inputs.StopRequested("stopped by its user"))
    assert of(orders, commands.StopTrial) == [commands.StopTrial(w, 0, 1) for w in (1, 2)]
    training.rank_ends(2, STOPPED)
    training.rank_ends(1, STOPPED)
    assert training.outcome.state is STOPPED


def test_a_training_that_lacks_a_worker_when_its_time_is_up_says_both_numbers() -> None:
    training = Training()
    training.register(1, 2)
    assert training.state.is_gang_incomplete(1)
    training.tell(inputs.GangIncomplete(60, "The cluster has 2 slots.", 1))
    assert training.state.reason == (
        "2 of the 3 workers that train together came within 60 s. The cluster has 2 slots. "
        "LAGOM_START_TIMEOUT=600 waits longer."
    )


def test_ranks_that_do_not_get_ready_in_a_time_of_their_own_are_named() -> None:
    training = Training()
    training.register(1, 2, 3)
    training.ready(1, 3)
    training.tell(inputs.GangIncomplete(60, "", 1))
    assert training.state.ending_state is None
    training.tell(inputs.GangIncomplete(60, "", 2))
    assert training.state.reason == (
        "rank 1 (worker 2 on host) did not get ready within 60 s. LAGOM_START_TIMEOUT=600 waits longer."
    )


def test_the_clock_of_an_earlier_attempt_means_nothing() -> None:
    training = Training(2)
    training.register(1, 2)
    training.ready(1, 2)
    assert not training.state.is_gang_incomplete(2)
    training.tell(facts.WorkerLost(2, 1, "gone"))
    training.rank_ends(1, STOPPED)
    assert not training.state.is_gang_incomplete(2)
    assert training.state.is_gang_incomplete(3)


def test_a_training_on_one_worker_meets_itself() -> None:
    training = Training(1, kind="train")
    training.register(1)
    assert of(training.ready(1), commands.Meet) == [commands.Meet(1, 0, 1, ("host:1",))]
    training.rank_ends(1, COMPLETE, metrics={"loss": 1.0})
    assert training.outcome.metrics == {"loss": 1.0}


def test_an_address_is_told_to_ranks_and_to_nobody_else() -> None:
    training = Training(2)
    training.register(1, 2)
    training.ready(1, 2)
    assert [fact.address for fact in records(training.orders, facts.RankReady)] == ["", ""]


def test_ranks_that_were_stopped_for_anothers_sake_do_not_end_the_run() -> None:
    training = Training(2, retries=1)
    training.register(1, 2)
    training.rank_ends(1, FAILED, error=error("ValueError"))
    training.rank_ends(2, STOPPED)
    assert training.tell(inputs.PatienceEnded()) == []
    assert training.state.ending_state is None
    assert training.state.trials[0].state is TrialState.RUNNING


def test_retries_cover_lost_workers_too() -> None:
    training = Training(1, kind="train", retries=1)
    for incarnation in (1, 2, 3):
        training.register(1, incarnation=incarnation)
        training.tell(facts.WorkerLost(1, incarnation, "gone"), inputs.WorkerExited(1, incarnation, "gone"))
    requeued = [fact.reason for fact in records(training.orders, facts.TrialRequeued)]
    assert requeued == ["worker 1 was lost: gone (rank 0 on host)", "worker 1 was lost: gone (rank 0 on host), retry 1"]
    assert training.outcome.error is not None
    assert training.outcome.error.message.startswith("its worker was lost 3 times; the last, worker 1: gone")


def test_reports_of_different_steps_are_never_averaged_and_infinities_are_borne() -> None:
    gang = Gang((Seat(1, "a"), Seat(2, "b")), is_averaging=True)
    assert gang.merged(1, 0, {"loss": 1.0}) is None
    assert gang.merged(2, 1, {"loss": 9.0}) is None
    assert gang.merged(2, 1, {"loss": 5.0}) is None
    assert gang.merged(1, 1, {"loss": 3.0}) == {"loss": 6.0}
    assert gang.merged(1, 1, {"loss": 1.0}) == {"loss": 3.0}
    gang.merged(1, 2, {"loss": math.inf})
    merged = gang.merged(2, 2, {"loss": -math.inf})
    assert merged is not None
    assert math.isnan(merged["loss"])


def test_a_worker_that_cannot_be_had_any_more_ends_the_training() -> None:
    training = Training(2)
    training.register(1, 2)
    for incarnation in range(1, 5):
        training.tell(inputs.WorkerExited(2, incarnation, "no executor"))
    training.rank_ends(1, STOPPED)
    assert training.state.ending_state is RunState.FAILED
    assert "a worker of those that train together was lost 4 times" in training.state.reason


def test_the_first_trouble_is_the_cause_unless_it_is_a_consequence() -> None:
    gang = Gang((Seat(1, "a"), Seat(2, "b"), Seat(3, "c")))
    stopped = gang.end(3, facts.TrialEnded(0, 1, 3, FAILED, error=error("E", is_consequence=True)))
    assert [seat.worker_id for seat in stopped] == [1, 2]
    assert gang.end(2, facts.WorkerLost(2, 1, "gone")) == []
    gang.end(1, facts.TrialEnded(0, 1, 1, FAILED, error=error("Later")))
    outcome = gang.outcome()
    assert isinstance(outcome, facts.WorkerLost)
    assert outcome.reason == "gone (rank 1 on b)"
