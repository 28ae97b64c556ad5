from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from display_runs import BEGAN, run_started, view_of
from page import Page

from lagom_magic.display.ablation_message import ablation_json
from lagom_magic.display.updates import LineRing, Updates
from lagom_magic.display.viewmodel import trial_row
from lagom_magic.display.wire import MESSAGE_LIMIT_BYTES, wire_size
from lagom_magic.events.facts import Fact, MetricReported, TrialEnded, TrialStarted, TrialState
from lagom_magic.events.fold import RunView, fold
from lagom_magic.statistics.ablation import Ablation, AblationRow, ablation_of


def header(**changes: Any) -> Fact:
    return run_started(kind="ablate", hparam_names=("component", "repeat"), **changes)


def started(trial_id: int, component: str, repeat: int = 0) -> Fact:
    return TrialStarted(trial_id, 1, 1, {"component": component, "repeat": repeat})


def ended(trial_id: int, value: float) -> Fact:
    return TrialEnded(trial_id, 1, 1, TrialState.COMPLETE, {"accuracy": value, "loss": -value}, value, 1.0)


def add(view: RunView, *facts: Fact) -> None:
    for fact in facts:
        fold(view, fact, BEGAN + view.n_facts)


def large_study(n_components: int) -> RunView:
    view = view_of([header()])
    for repeat in range(3):
        for number in range(n_components):
            name = f"a rather long name of a component {number}" if number else "baseline"
            trial_id = repeat * n_components + number
            add(view, started(trial_id, name, repeat), ended(trial_id, 0.9 - 0.001 * number * (1 + 0.01 * repeat)))
    return view


def all_of(updates: Updates) -> list[dict[str, Any]]:
    told = []
    while (update := updates.next(BEGAN)) is not None:
        assert wire_size(update) <= MESSAGE_LIMIT_BYTES
        told.append(update)
    return told


def test_the_components_are_told_when_a_trial_begins_or_ends_and_not_in_between() -> None:
    view = view_of([header(), started(0, "baseline")])
    updates = Updates(view, LineRing())
    assert [component["name"] for component in all_of(updates)[0]["ablation"]["components"]] == ["baseline"]
    add(view, MetricReported(0, 1, 1, 0, {"accuracy": 0.1}))
    assert ["ablation" in update for update in all_of(updates)] == [False]
    add(view, ended(0, 0.9))
    (update,) = all_of(updates)
    assert update["ablation"]["metrics"][0]["rows"] == [{"at": 0, "mean": 0.9, "n": 1}]


def test_a_page_that_asks_again_is_told_again() -> None:
    view = view_of([header(), started(0, "baseline"), ended(0, 0.9)])
    updates = Updates(view, LineRing())
    (first,) = all_of(updates)
    updates.sync(first["seq"], 0)
    (again,) = all_of(updates)
    assert again["ablation"] == first["ablation"]
    assert again["trials"] == []


def test_other_runs_have_none() -> None:
    (update,) = all_of(Updates(view_of([run_started(), started(0, "baseline")]), LineRing()))
    assert "ablation" not in update


def test_a_component_travels_once_and_its_numbers_for_each_metric() -> None:
    message = ablation_json(ablation_of(large_study(3)), 20_000)
    assert [metric["name"] for metric in message["metrics"]] == ["accuracy", "loss"]
    assert message["components"][1]["name"].endswith("component 2")
    assert "state" not in message["components"][1]
    row = message["metrics"][0]["rows"][1]
    assert (row["at"], row["n"], row["evidence"]) == (1, 3, "worse")
    assert row["ci_low"] < row["delta"] < row["ci_high"] < 0
    json.dumps(message, allow_nan=False)


def test_a_difference_is_told_with_the_digits_that_all_faces_show() -> None:
    rows = [AblationRow("baseline", "m", 0.3718, n=2), AblationRow("a", "m", 0.2553, delta=-0.116499, n=2)]
    message = ablation_json(Ablation(tuple(rows), "trial"), 20_000)["metrics"][0]
    assert (message["decimals"], message["rows"][1]["delta"]) == (3, -0.116)
    rows[1] = replace(rows[1], delta=-123_456.7, ci_low=float("-inf"), ci_high=0.2)
    told = ablation_json(Ablation(tuple(rows), "trial"), 20_000)["metrics"][0]["rows"][1]
    assert (told["delta"], told["ci_low"], told["ci_high"]) == (-123_457, "-inf", 0)


def test_a_large_ablation_gives_up_other_metrics_then_components() -> None:
    ablation = ablation_of(large_study(120))
    message = ablation_json(ablation, 20_000)
    assert wire_size(message) <= 20_000
    assert [metric["name"] for metric in message["metrics"]] == ["accuracy"]
    assert message["n_left_out"] + len(message["components"]) == 120
    assert len(message["components"]) > 50
    assert wire_size(ablation_json(ablation, 1_000)) <= 1_000


def test_every_message_of_a_large_study_with_many_prints_is_small_and_all_arrives() -> None:
    view, lines, page = large_study(150), LineRing(), Page()
    lines.add("x" * 4_000 for _ in range(40))
    told = all_of(Updates(view, lines))
    page.take_all(told)
    assert page.trials == {trial.id: json.loads(json.dumps(trial_row(trial))) for trial in view.trials.values()}
    assert len(page.lines) == 40
    assert sum("ablation" in update for update in told) == 1
