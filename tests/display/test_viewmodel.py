from __future__ import annotations

import json
import math

from display_runs import BEGAN, run_started, some_run, trial_facts, view_of

from lagom_magic.display.viewmodel import changes, snapshot
from lagom_magic.events.facts import MetricReported, TrialState
from lagom_magic.events.fold import fold


def test_a_snapshot_holds_the_run_and_is_json() -> None:
    state = json.loads(json.dumps(snapshot(view_of(some_run())), allow_nan=False))
    assert state["run"]["best_id"] == 1
    assert state["run"]["counts"]["COMPLETE"] == 3
    assert [trial["id"] for trial in state["trials"]] == [0, 1, 2, 3, 4, 5]
    assert state["trials"][4]["error"] == {"kind": "ValueError", "message": "shapes\ndiffer"}
    assert state["trials"][0]["curve"][-1][0] == 2
    assert state["seq"] == len(some_run())


def test_only_changed_trials_travel() -> None:
    view = view_of(some_run())
    seq = snapshot(view)["seq"]
    fold(view, MetricReported(5, 1, 1, 3, {"accuracy": 0.6}), BEGAN + 100)
    update = changes(view, seq)
    assert [trial["id"] for trial in update["trials"]] == [5]
    assert (update["since"], update["seq"]) == (seq, seq + 1)
    assert changes(view, update["seq"])["trials"] == []


def test_snapshot_and_changes_together_equal_a_later_snapshot() -> None:
    facts = some_run()
    for cut in range(len(facts)):
        view = view_of(facts[:cut])
        first = snapshot(view)
        for number, fact in enumerate(facts[cut:]):
            fold(view, fact, BEGAN + cut + number)
        update = changes(view, first["seq"])
        trials = {trial["id"]: trial for trial in (*first["trials"], *update["trials"])}
        assert {**update, "since": 0, "trials": list(trials.values())} == snapshot(view)


def test_numbers_that_json_lacks_are_named() -> None:
    facts = [run_started(), *trial_facts(0, TrialState.COMPLETE, math.inf, {"lr": math.nan, "sizes": [math.inf, 1]})]
    (trial,) = json.loads(json.dumps(snapshot(view_of(facts)), allow_nan=False))["trials"]
    assert trial["hparams"] == {"lr": "nan", "sizes": ["inf", 1]}
    assert trial["value"] == "inf"
