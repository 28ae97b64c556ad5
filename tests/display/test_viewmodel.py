from __future__ import annotations

import json
import math
from typing import Any

import pytest
from display_runs import BEGAN, run_started, some_run, trial_facts, view_of

from lagom_magic.display.viewmodel import ROW_LIMIT_BYTES, run_head, trial_row, worker_rows
from lagom_magic.display.wire import wire_size
from lagom_magic.events.facts import (
    FileStored,
    MetricReported,
    TrialEnded,
    TrialRequeued,
    TrialStarted,
    TrialState,
    WorkerLost,
    WorkerRegistered,
)


def row_of(*facts: Any, trial_id: int = 0) -> dict[str, Any]:
    """The trial's row, as it comes out of JSON."""
    row = trial_row(view_of([run_started(), *facts]).trials[trial_id])
    parsed = json.loads(json.dumps(row, allow_nan=False))
    assert isinstance(parsed, dict)
    return parsed


def test_the_head_holds_the_run_and_is_json() -> None:
    head = json.loads(json.dumps(run_head(view_of(some_run())), allow_nan=False))
    assert (head["experiment"], head["state"], head["best_id"]) == ("digits", "RUNNING", 1)
    assert head["counts"]["COMPLETE"] == 3
    assert [item[1] for item in head["improvements"]] == [0, 1]


def test_before_the_first_line_the_head_has_the_same_keys() -> None:
    empty = run_head(view_of([]))
    assert empty.keys() == run_head(view_of(some_run())).keys()
    assert (empty["run_id"], empty["state"], empty["hparam_names"]) == (None, "STARTING", [])


def test_a_row_says_when_its_trial_changed() -> None:
    facts = some_run()
    view = view_of(facts)
    changes = [trial_row(trial)["changed_at"] for trial in view.trials.values()]
    assert len(set(changes)) == len(changes)
    assert max(changes) == len(facts)


def test_a_row_leaves_out_what_is_empty() -> None:
    facts = TrialStarted(0, 1, 1, {})
    assert row_of(facts) == {"id": 0, "changed_at": 2, "state": "RUNNING", "worker_id": 1, "started_at": BEGAN + 1}


def test_a_typical_row_is_small() -> None:
    hparams = {"lr": 0.001234567890123, "width": 128, "activation": "relu", "dropout": 0.4321987654321}
    ended = row_of(*trial_facts(0, TrialState.COMPLETE, 0.98765432123, hparams, n_steps=3))
    assert len(json.dumps(ended, separators=(",", ":"))) <= 310
    assert ended["hparams"] == {"lr": 0.0012346, "width": 128, "activation": "relu", "dropout": 0.4322}
    assert ended["value"] == 0.98765432123  # exact, for a page sorts by it


def test_a_long_curve_travels_as_sixteen_points_with_its_first_and_last() -> None:
    curve = row_of(*trial_facts(0, None, n_steps=5000))["curve"]
    assert len(curve) == 16
    assert [curve[0][0], curve[-1]] == [0, [4999, 0.5]]


def test_numbers_that_json_lacks_are_named() -> None:
    row = row_of(*trial_facts(0, TrialState.COMPLETE, math.inf, {"lr": math.nan, "sizes": [math.inf, 1]}))
    assert row["hparams"] == {"lr": "nan", "sizes": ["inf", 1]}
    assert row["value"] == "inf"
    assert row["metrics"] == {"accuracy": "inf"}


def test_texts_of_workers_become_one_short_line() -> None:
    nasty = "a\x1b[31m\nb\u202e" + "x" * 1000
    row = row_of(TrialStarted(0, 1, 1, {nasty: nasty, "nested": {"k": nasty}}))
    (name, value), (_, nested) = row["hparams"].items()
    assert name.startswith("a b\ufffdxx")
    assert len(value) == 120
    assert len(nested) == 120
    assert "\u202e" not in value + nested


def test_half_a_surrogate_pair_becomes_a_sign_that_travels() -> None:
    row = row_of(TrialStarted(0, 1, 1, {"text": "\ud800"}), TrialRequeued(0, 2, "\ud800"))
    json.dumps(row, ensure_ascii=False).encode()


def test_whole_numbers_that_a_page_cannot_hold_travel_as_text() -> None:
    assert row_of(TrialStarted(0, 1, 1, {"n": 2**60}))["hparams"] == {"n": str(2**60)}


def test_a_row_that_is_too_large_comes_without_what_a_function_chose() -> None:
    row = row_of(TrialStarted(0, 1, 1, {f"{i}{'n' * 70}": "v" * 200 for i in range(64)}))
    assert row["is_cut"]
    assert row["state"] == "RUNNING"
    assert "hparams" not in row
    assert wire_size(row) < ROW_LIMIT_BYTES


def test_files_and_warnings_are_counted() -> None:
    ended = TrialEnded(0, 1, 1, TrialState.COMPLETE, warnings=("a", "b"))
    row = row_of(TrialStarted(0, 1, 1, {}), ended, FileStored(0, 1, "artifacts/a.png", 3, ""))
    assert (row["n_warnings"], row["n_files"]) == (2, 1)


def test_a_second_attempt_says_so() -> None:
    row = row_of(TrialStarted(0, 1, 1, {}), TrialRequeued(0, 2, "lost"))
    assert (row["attempt"], row["state"]) == (2, "WAITING")


def test_workers_come_by_id_and_the_living_first_where_there_are_too_many() -> None:
    facts = [WorkerRegistered(worker_id, 1, "host", 1, ("0",)) for worker_id in (3, 1, 2)]
    view = view_of([run_started(), *facts, WorkerLost(1, 1, "gone")])
    assert worker_rows(view, 9) == [
        {"id": 1, "host": "host", "gpus": ["0"], "lost_reason": "gone", "is_alive": False},
        {"id": 2, "host": "host", "gpus": ["0"], "is_alive": True},
        {"id": 3, "host": "host", "gpus": ["0"], "is_alive": True},
    ]
    assert [worker["id"] for worker in worker_rows(view, 2)] == [2, 3]


@pytest.mark.parametrize("n_improvements", [1, 3, 500])
def test_improvements_are_bounded_and_keep_the_latest(n_improvements: int) -> None:
    facts = [f for i in range(n_improvements) for f in trial_facts(i, TrialState.COMPLETE, i / 1000, n_steps=0)]
    items = run_head(view_of([run_started(), *facts]))["improvements"]
    assert len(items) == min(n_improvements, 100)
    assert items[-1][1] == n_improvements - 1


def test_metrics_are_all_there() -> None:
    row = row_of(TrialStarted(0, 1, 1, {}), MetricReported(0, 1, 1, 3, {"accuracy": 0.5, "loss": 1.25}))
    assert row["metrics"] == {"accuracy": 0.5, "loss": 1.25}
