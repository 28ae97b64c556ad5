"""Retries, limits and seeds; and one run after the other in the same session."""

from __future__ import annotations

import time

import pytest
from masters import Master, by_case, facts_of, states

from lagom_magic import Float, Searchspace
from lagom_magic.events.facts import Noticed, TrialRequeued

pytestmark = [pytest.mark.spark]


def test_a_failed_run_does_not_hurt_the_next(master: Master) -> None:
    def bad(case):
        raise RuntimeError("never works")

    def good(case):
        return case

    failed = master.run(bad, cases=[1, 2])
    assert failed.state == "FAILED"
    assert failed.error is not None
    assert failed.error.startswith("every one of the 2 trials failed, the first with ")
    first, second = master.run(good, cases=[1, 2]), master.run(good, cases=[1, 2])
    assert (first.state, second.state) == ("COMPLETE", "COMPLETE")
    assert first.id != second.id
    assert second["best_config"] == {"case": 2}


def test_retries_run_a_failed_trial_again(master: Master) -> None:
    def train(case, trial):
        if case == "hopeless" or trial.attempt < 3:
            raise OSError(f"attempt {trial.attempt} did not work")
        return trial.attempt

    run = master.run(train, cases=["hopeless", "third time lucky"], retries=2)
    trials = by_case(run)
    assert run.state == "COMPLETE"
    assert (trials["hopeless"].state, trials["hopeless"].attempt) == ("FAILED", 3)
    assert (trials["third time lucky"].state, trials["third time lucky"].metric) == ("COMPLETE", 3.0)
    assert len(facts_of(run, TrialRequeued)) == 4
    assert (run.dir / "trials" / "0001.2" / "output.log").read_bytes().count(b"attempt 2 did not work") > 0


def test_the_run_ends_when_more_trials_fail_than_it_may_bear(master: Master) -> None:
    def train(case):
        raise OSError("no data")

    run = master.run(train, cases=list(range(20)), workers=1, max_failures=2)
    assert run.state == "FAILED"
    assert states(run) == ["FAILED"] * 3
    assert run.error == "3 trials failed, more than max_failures=2 allows; the last: OSError: no data"


def test_a_run_ends_at_its_timeout_and_keeps_what_is_complete(master: Master) -> None:
    def train(case, reporter):
        if case > 1:
            time.sleep(100_000)
        return case

    begin = time.monotonic()
    run = master.run(train, cases=[0, 1, 2, 3, 4], timeout=6)
    assert time.monotonic() - begin < 10
    assert run.state == "COMPLETE"
    assert states(run) == ["COMPLETE", "COMPLETE", "STOPPED", "STOPPED"]
    assert "the run's timeout of 6 s has passed" in [fact.text for fact in facts_of(run, Noticed)]


def test_the_same_seed_gives_the_same_suggestions_and_random_numbers(master: Master) -> None:
    def train(x):
        import random

        return random.random()

    def run_with(seed):
        run = master.run(train, searchspace=Searchspace(x=Float(0, 1)), num_trials=4, seed=seed)
        return [(trial.hparams["x"], trial.metric) for trial in run.trials]

    first, same, other = run_with(3), run_with(3), run_with(4)
    assert first == same
    assert {value for pair in first for value in pair}.isdisjoint({value for pair in other for value in pair})
