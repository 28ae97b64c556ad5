from __future__ import annotations

from dataclasses import replace

from display_runs import BEGAN, run_started, some_run, trial_facts, view_of

from lagom_magic.display.text import render_text
from lagom_magic.events.facts import (
    Fact,
    Noticed,
    RunEnded,
    RunState,
    TrialEnded,
    TrialError,
    TrialState,
    WorkerLost,
    WorkerRegistered,
)
from lagom_magic.events.views import RunView


def test_a_living_run_as_text() -> None:
    view = view_of(some_run())
    now = (view.updated_at or 0.0) + 1
    assert render_text(view, now, "lagom_runs/digits/x").split("\n") == [
        "digits 20261122-093000-k3f7 · running on 1 worker · 5 of 30 trials · 29 s, about 50 s left",
        "best accuracy: 0.8637 (trial 1 · lr 0.05 · width 32)",
        "[####=xx>................................]  3 complete · 1 pruned · 1 failed · 1 running"
        "  compute saved 11 % (≈ 2 of 18 steps not run)  1 / 2 workers busy",
        "trial     state     worker      lr  step  accuracy   time",
        "    5     RUNNING   w1      0.0167     2    0.5000  4.0 s",
        "    1  *  COMPLETE  w1        0.05     2    0.8637  2.0 s",
        "    0     COMPLETE  w1         0.1     2    0.8366  2.0 s",
        "    2     COMPLETE  w1      0.0333     2    0.5564  2.0 s",
        "    3     PRUNED    w1       0.025     0    0.3000  2.0 s",
        "    4     FAILED    w1        0.02     2    0.1000  2.0 s  ValueError: shapes differ",
        "the same in all trials: width 32",
        "! trial 4 failed: ValueError: shapes differ",
        "run folder: lagom_runs/digits/x",
    ]


def test_nothing_is_known_yet() -> None:
    assert render_text(RunView(), BEGAN, "here").split("\n") == [
        "run · starting · 0 trials · 0 s",
        "best metric: – (none yet)",
        "[........................................]  0 / 0 workers busy",
        "run folder: here",
    ]


def test_the_end_does_not_depend_on_the_clock() -> None:
    view = view_of(some_run(is_ended=True))
    assert render_text(view, BEGAN, "x") == render_text(view, BEGAN + 1e6, "x")


def test_rows_that_do_not_fit_are_counted() -> None:
    lines = render_text(view_of(some_run(n_complete=100)), BEGAN, "x").split("\n")
    assert "… and 83 more" in lines
    assert len(lines) <= 30


def test_why_a_run_ended_early_and_notices_are_told() -> None:
    facts = [run_started(), Noticed("3 slots for 4 workers"), RunEnded(RunState.STOPPED, "stopped by ■")]
    text = render_text(view_of(facts), BEGAN, "x")
    assert "digits 20261122-093000-k3f7 · stopped · 0 of 30 trials" in text
    assert "! 3 slots for 4 workers\n! stopped by ■" in text
    assert "(no complete trial)" in text


def test_what_trials_warn_of_is_told_once_for_each_text() -> None:
    facts: list[Fact] = [run_started()]
    for number in range(12):
        *before, ended = trial_facts(number, TrialState.COMPLETE)
        assert isinstance(ended, TrialEnded)
        own = (f"'path{number}': there is no file",) if number > 8 else ()
        facts += [*before, replace(ended, warnings=("'value' is a\x1b[31m\nDataFrame", *own))]
    text = render_text(view_of(facts), BEGAN, "x")
    assert [line for line in text.split("\n") if line.startswith("!")] == [
        "! 12 trials warn, e.g. trial 0: 'value' is a DataFrame",
        "! trial 9 warns: 'path9': there is no file",
        "! trial 10 warns: 'path10': there is no file",
        "! and 1 more warning: lagom_run.trials[i].warnings",
    ]


def test_lost_workers_and_gpus_are_counted() -> None:
    facts = [run_started(), WorkerRegistered(1, 1, "a", 1, ("0",)), WorkerRegistered(2, 1, "b", 1, ("0",))]
    text = render_text(view_of([*facts, WorkerLost(2, 1, "killed")]), BEGAN, "x")
    assert "running on 1 worker" in text
    assert "0 / 2 workers busy · 2 GPUs · 1 lost" in text


def test_a_run_without_reports_has_no_column_for_steps() -> None:
    facts = [run_started(), *trial_facts(0, TrialState.COMPLETE, n_steps=0)]
    assert " step " not in render_text(view_of(facts), BEGAN, "x")


def test_a_second_attempt_is_named_as_its_folder() -> None:
    view = view_of(some_run())
    view.trials[2].attempt = 2
    assert "\n  2.2     COMPLETE" in render_text(view, BEGAN, "x")


def test_while_trials_fail_a_line_says_how_many_and_the_first_reason() -> None:
    errors = [TrialError("NO_METRIC", "it returned None"), TrialError("NAN", "loss is nan"), TrialError("SIGKILL", "")]
    failed = [trial_facts(n, TrialState.FAILED, n_steps=0, error=error) for n, error in enumerate(errors)]
    facts = [run_started(), *(fact for trial in failed for fact in trial)]
    text = render_text(view_of(facts), BEGAN, "x")
    assert "! 3 trials failed; the first, trial 0: no metric: it returned None\n" in text
    assert "not a number: loss is nan\n" in text
    assert "SIGKILL\n" in text
    ended = render_text(view_of([*facts, RunEnded(RunState.FAILED, "every one of the 3 trials failed")]), BEGAN, "x")
    assert "3 trials failed; the first" not in ended
