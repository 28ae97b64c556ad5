"""What a training function can do to itself: the trial has failed, the others and the workers go on."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections import deque
from itertools import repeat
from typing import Any

import pytest
from masters import Master, by_case, facts_of, output_of, states

from lagom_magic.display.text import render_text
from lagom_magic.events.facts import WorkerLost, WorkerRegistered

pytestmark = [pytest.mark.spark]


def assert_workers_lived_on(run: Any) -> None:
    assert {fact.incarnation for fact in facts_of(run, WorkerRegistered)} == {1}
    assert facts_of(run, WorkerLost) == []


def test_a_trial_that_raises_has_failed_and_the_others_go_on(master: Master) -> None:
    def train(case):
        if case == "bad":
            raise ValueError("the learning rate burst")
        return 1.0

    run = master.run(train, cases=["bad", "good", "also good"])
    trials = by_case(run)
    assert run.state == "COMPLETE"
    assert {case: trial.state for case, trial in trials.items()} == {
        "bad": "FAILED",
        "good": "COMPLETE",
        "also good": "COMPLETE",
    }
    log = output_of(trials["bad"]).decode()
    assert "Traceback (most recent call last)" in log
    assert 'raise ValueError("the learning rate burst")' in log or "in train" in log
    assert log.rstrip().endswith("ValueError: the learning rate burst")
    (line,) = [line for line in render_text(run.view, time.time(), "run").splitlines() if "FAILED" in line]
    assert "ValueError: the learning rate burst" in line
    assert_workers_lived_on(run)


def test_what_is_no_number_fails_its_trial_and_is_kept_as_text(master: Master) -> None:
    class Thing:
        def __repr__(self) -> str:
            return "<a thing>"

    def train(case):
        return {"nan": float("nan"), "none": None, "string": "0.9", "object": Thing(), "number": 0.5}[case]

    run = master.run(train, cases=["nan", "none", "string", "object", "number"])
    trials = by_case(run)
    errors = {case: trial.error and (trial.error.kind, trial.error.message) for case, trial in trials.items()}
    assert run.state == "COMPLETE"
    assert run.best == trials["number"]
    assert errors == {
        "nan": ("NAN", "metric is nan"),
        "none": ("NO_METRIC", "it returned None and broadcast nothing; return a number, or a dict with one"),
        "string": ("NO_METRIC", "it returned value='0.9' and broadcast nothing; return a number, or a dict with one"),
        "object": (
            "NO_METRIC",
            "it returned value=<a thing> and broadcast nothing; return a number, or a dict with one",
        ),
        "number": None,
    }


def test_a_trial_process_that_ends_itself_costs_one_trial(master: Master) -> None:
    def train(case):
        if case == "exit":
            os._exit(3)
        if case == "segfault":
            ctypes.string_at(0)
        if case == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        return 1.0

    run = master.run(train, cases=["exit", "segfault", "killed", "good", "also good"])
    trials = by_case(run)
    errors = {case: trial.error.kind for case, trial in trials.items() if trial.error}
    assert run.state == "COMPLETE"
    assert errors == {"exit": "EXIT", "segfault": "SIGSEGV", "killed": "SIGKILL"}
    assert "exit code 3" in str(trials["exit"].error)
    assert b"Segmentation fault" in output_of(trials["segfault"])
    assert_workers_lived_on(run)


def test_a_trial_that_sleeps_for_ever_is_killed_at_its_timeout(master: Master) -> None:
    def train(case):
        if case == "sleeper":
            time.sleep(100_000)
        return 1.0

    run = master.run(train, cases=["sleeper", "good", "also good"], workers=1, trial_timeout=0.5)
    trials = by_case(run)
    assert run.state == "COMPLETE"
    assert states(run) == ["FAILED", "COMPLETE", "COMPLETE"]
    assert trials["sleeper"].error is not None
    assert trials["sleeper"].error.kind == "TIMEOUT"
    assert "0.5 s" in trials["sleeper"].error.message
    assert trials["sleeper"].duration_s < 1.5
    assert_workers_lived_on(run)


def test_a_c_loop_that_holds_the_gil_is_killed_at_the_timeout(master: Master) -> None:
    def train(case):
        if case == "stuck":
            deque(repeat(0), maxlen=0)
        return 1.0

    run = master.run(train, cases=["stuck", "good", "also good"], workers=1, trial_timeout=0.5)
    trials = by_case(run)
    assert run.state == "COMPLETE"
    assert states(run) == ["FAILED", "COMPLETE", "COMPLETE"]
    assert trials["stuck"].error is not None
    assert trials["stuck"].error.kind == "TIMEOUT"
    assert_workers_lived_on(run)


def test_equal_configurations_are_trials_of_their_own(master: Master) -> None:
    def train(case):
        return case

    run = master.run(train, cases=[7], optimizer="random", num_trials=5)
    assert states(run) == ["COMPLETE"] * 5
    assert [trial.hparams for trial in run.trials] == [{"case": 7}] * 5
    assert len({trial.dir for trial in run.trials}) == 5
    assert len(run.study.trials) == 5
