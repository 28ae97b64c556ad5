"""Whatever kills a worker costs its trial one attempt: it runs again, once, and what comes late is ignored."""

from __future__ import annotations

import signal

import pytest
from calling_home import Caller, Home, call_home
from masters import Master, ended, facts_of, states, still_there

from lagom_magic import Run
from lagom_magic.events.facts import MetricReported, TrialEnded, TrialRequeued, WorkerLost, WorkerRegistered

pytestmark = [pytest.mark.spark]


def train(case, port, trial, reporter):
    """Tells the test that it runs, waits for its word, returns its attempt."""
    reporter.broadcast(trial.attempt, step=0)
    call_home(port, trial=trial.id, attempt=trial.attempt, worker=trial.worker)
    reporter.broadcast(trial.attempt, step=1)
    return trial.attempt


def assert_ran_again_once(run: Run, *lost: Caller) -> None:
    """Their trials are complete in their second attempts, and the journal holds nothing late of the first."""
    assert run.state == "COMPLETE", run.error
    assert set(states(run)) == {"COMPLETE"}
    requeued = {fact.trial_id: fact for fact in facts_of(run, TrialRequeued)}
    assert requeued.keys() == {caller.facts["trial"] for caller in lost}
    assert {fact.worker_id for fact in facts_of(run, WorkerLost)} == {caller.facts["worker"] for caller in lost}
    for caller in lost:
        trial_id = caller.facts["trial"]
        told = [fact for fact in facts_of(run, TrialRequeued, MetricReported, TrialEnded) if fact.trial_id == trial_id]
        assert requeued[trial_id].attempt == 2
        assert f"worker {caller.facts['worker']} was lost" in requeued[trial_id].reason
        assert all(fact.attempt == 2 for fact in told[told.index(requeued[trial_id]) :])
        assert sum(isinstance(fact, TrialEnded) for fact in told) == 1
        assert (run.trials[trial_id].attempt, run.trials[trial_id].metric) == (2, 2.0)


def let_the_rest_go_on(run: Run, home: Home, n_calls: int) -> None:
    for _ in range(n_calls):
        home.next_caller().say()
    ended(run)


@pytest.mark.parametrize("victim", ["spark_python", "supervisor"])
def test_a_killed_process_of_a_worker_costs_its_trial_one_attempt(master: Master, home: Home, victim: str) -> None:
    run = master.begin(train, cases=[1, 2, 3], hparams={"port": home.port})
    lost, other = home.next_callers(2)
    processes = [lost.process, lost.supervisor, lost.spark_python]
    getattr(lost, victim).kill()
    assert still_there(processes[:2]) == []
    other.say()
    let_the_rest_go_on(run, home, 2)
    assert_ran_again_once(run, lost)
    registered = [fact.worker_id for fact in facts_of(run, WorkerRegistered)]
    assert registered.count(lost.facts["worker"]) <= 2


def test_a_trial_whose_workers_are_lost_twice_has_failed(master: Master, home: Home) -> None:
    run = master.begin(train, cases=[1, 2], workers=1, hparams={"port": home.port})
    for _ in range(2):
        home.next_caller().supervisor.kill()
    home.next_caller().say()
    ended(run)
    assert states(run) == ["FAILED", "COMPLETE"]
    error = run.trials[0].error
    assert error is not None
    assert error.kind == "LOST"
    assert "lost twice" in error.message
    assert len(facts_of(run, WorkerLost)) == 2


@pytest.mark.only_on("local")  # a cluster's job goes on after the loss of a task, so Spark tells nothing
def test_late_messages_of_a_lost_attempt_are_ignored(master: Master, home: Home) -> None:
    run = master.begin(train, cases=[1, 2], hparams={"port": home.port})
    lost, other = home.next_callers(2)
    supervisor = lost.supervisor
    supervisor.suspend()
    lost.spark_python.kill()
    lost.say()  # its end, and that of its pipe, wait before the supervisor
    other.say()
    again = home.next_caller()
    assert (again.facts["trial"], again.facts["attempt"]) == (lost.facts["trial"], 2)
    supervisor.resume()
    assert still_there([supervisor]) == []
    again.say()
    ended(run)
    assert_ran_again_once(run, lost)


@pytest.mark.only_on("standalone")  # the executor of a local master is the kernel's own JVM
def test_a_killed_executor_costs_its_trials_one_attempt(master: Master, home: Home) -> None:
    run = master.begin(train, cases=[1, 2, 3, 4, 5], workers=4, hparams={"port": home.port})
    callers = home.next_callers(4)
    victim = callers[0].executor
    lost = [caller for caller in callers if caller.executor == victim]
    others = [caller for caller in callers if caller.executor != victim]
    assert len(lost) == len(others) == 2
    below = [process for caller in lost for process in (caller.process, caller.supervisor)]
    victim.send_signal(signal.SIGKILL)
    assert still_there(below) == []
    for caller in others:
        caller.say()
    let_the_rest_go_on(run, home, 3)
    assert_ran_again_once(run, *lost)
