"""What libraries were told in runs side by side, and in a run's report; the rest is in tests/magics/test_finding.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from store_runs import begun, hparams, run_on_disk

from lagom_magic.display.comparison import PARAM_LIMIT, render_comparison
from lagom_magic.display.report import render_report
from lagom_magic.display.stored import StoredRun, read_stored
from lagom_magic.events.facts import Fact, RunEnded, RunState, TrialEnded, TrialStarted, TrialState


def run_with(home: Path, *params: dict[str, Any], has_metric: bool = True) -> StoredRun:
    """A run whose trials, each better than the one before, have these logged parameters."""
    facts: list[Fact] = begun()
    for trial_id, logged in enumerate(params):
        metrics, value = ({"accuracy": float(trial_id)}, float(trial_id)) if has_metric else ({}, None)
        facts.append(TrialStarted(trial_id, 1, 1, hparams(trial_id)))
        facts.append(TrialEnded(trial_id, 1, 1, TrialState.COMPLETE, metrics, value, params=logged))
    return read_stored(run_on_disk(home, facts=[*facts, RunEnded(RunState.COMPLETE)]))


def test_options_are_told_as_they_are_typed_and_defaults_are_not(tmp_path: Path) -> None:
    asked = {"num_trials": 20, "optimizer": "tpe", "es_policy": "median", "workers": 4, "timeout": None}
    more = {"num_trials": 40, "timeout": 90.0, "backend": "gloo"}
    different, _, same = configured(tmp_path, asked, asked | more).partition("the same in all:\n")
    rows = {line.split()[0]: line.split()[1:] for line in different.splitlines() if line.startswith("--")}
    assert rows == {"--trials": ["20", "40"], "--timeout": ["–", "90s"]}
    assert "config backend" in different
    assert "  --workers  " in same
    assert "num_trials" not in different + same


def configured(home: Path, *configs: dict[str, Any]) -> str:
    """The comparison of runs whose run.json has these configs."""
    runs = []
    for config in configs:
        run = run_with(home, {})
        (run.dir / "run.json").write_text(json.dumps({"kind": "hpo", "config": config}))
        runs.append(read_stored(run.dir))
    return render_comparison(runs)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("timeout", [3600, 3659]),
        ("timeout", [float("inf"), float("nan")]),
        ("trial_timeout", [90_000, 93_000]),
        ("of_a_newer_version", [True, False]),
        ("train_set", ["/data/project/experiments/customers/v1.csv", "/data/project/experiments/customers/v2.csv"]),
    ],
)
def test_whatever_differs_is_not_told_to_be_the_same(tmp_path: Path, name: str, values: list[Any]) -> None:
    different = configured(tmp_path, *({name: value} for value in values)).partition("the same in all:")[0]
    (row,) = [line.split() for line in different.splitlines() if line.startswith("--")]
    assert len(set(row[1:])) == 2


def called_with(home: Path, defaults: dict[str, Any], fixed: dict[str, Any], metric: str = "accuracy") -> StoredRun:
    """A run of one trial whose function had these defaults and was given these arguments."""
    end = TrialEnded(0, 1, 1, TrialState.COMPLETE, {metric: 0.5}, 0.5)
    facts = [*begun(metric=metric, hparam_names=()), TrialStarted(0, 1, 1, fixed), end, RunEnded(RunState.COMPLETE)]
    run = run_on_disk(home, facts=facts)
    (run / "run.json").write_text(json.dumps({"kind": "run", "defaults": defaults, "fixed_hparams": fixed}))
    return read_stored(run)


def test_a_default_is_compared_with_what_another_run_was_given(tmp_path: Path) -> None:
    asked = called_with(tmp_path, {"csv": "a.csv"}, {"depth": 5})
    different, _, same = render_comparison([called_with(tmp_path, {"csv": "a.csv", "depth": 3}, {}), asked]).partition(
        "the same in all:\n"
    )
    assert ["depth", "3", "5"] in [line.split() for line in different.splitlines()]
    assert ["csv", "a.csv"] in [line.split() for line in same.splitlines()]


def test_arguments_are_compared_where_no_trial_is_the_best(tmp_path: Path) -> None:
    runs = [run_with(tmp_path, {}, {}, has_metric=False) for _ in range(2)]
    for run, document in zip(runs, ({"defaults": {"depth": 3}}, {"fixed_hparams": {"depth": 5}}), strict=True):
        (run.dir / "run.json").write_text(json.dumps(document))
    text = render_comparison([read_stored(run.dir) for run in runs])
    assert ["depth", "3", "5"] in [line.split() for line in text.splitlines()]


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([0.12345, 0.12346], ["0.12345", "0.12346"]),
        ([0.12345, 0.2], ["0.123", "0.2"]),
        ([1_000_000_007, 1_000_000_009], ["1000000007", "1000000009"]),
        ([1e300, 1.0001e300], ["1e+300", "1.0001e+300"]),
        ([3, 3.0], ["3"]),
        ([0.12345, 0.12345], ["0.123"]),
    ],
)
def test_numbers_have_all_digits_where_they_look_the_same_and_are_not(
    tmp_path: Path, values: list[float], shown: list[str]
) -> None:
    text = render_comparison([called_with(tmp_path, {"lr": value}, {}) for value in values])
    assert ["lr", *shown] in [line.split() for line in text.splitlines()]


@pytest.mark.parametrize("defaults", [None, 3, ["depth"]])
def test_defaults_of_another_form_are_none(tmp_path: Path, defaults: Any) -> None:
    run = called_with(tmp_path, defaults, {"depth": 5})
    assert ["depth", "5"] in [line.split() for line in render_comparison([run, run]).splitlines()]


def test_how_many_trials_came_to_what_is_never_cut(tmp_path: Path) -> None:
    facts: list[Fact] = begun()
    for trial_id, state in enumerate((TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED, TrialState.STOPPED)):
        facts += [TrialStarted(trial_id, 1, 1, {}), TrialEnded(trial_id, 1, 1, state, {}, None)]
    run = read_stored(run_on_disk(tmp_path, facts=[*facts, RunEnded(RunState.COMPLETE)]))
    text = render_comparison([run, run_with(tmp_path, {})])
    assert "1 complete · 1 pruned · 1 failed · 1 stopped  1 complete" in text


def test_a_number_returned_without_a_name_is_the_metric(tmp_path: Path) -> None:
    text = render_comparison([called_with(tmp_path, {}, {}, name) for name in ("metric", "loss")])
    rows = [line.split() for line in text.splitlines()]
    assert ["metric", "0.5000", "–"] in rows
    assert ["metric", "loss", "–", "0.5000"] in rows


def test_a_long_value_is_shown_from_where_it_differs(tmp_path: Path) -> None:
    ends = ("v1.csv", "v2.csv")
    text = configured(tmp_path, *({"train_set": f"/data/project/experiments/customers/{end}"} for end in ends))
    assert all(f" …tomers/v{number}.csv" in text for number in (1, 2)), text


def test_a_value_of_spaces_leaves_no_cell_empty(tmp_path: Path) -> None:
    text = configured(tmp_path, {"train_set": "  "}, {"train_set": "rows.csv"})
    assert ["--train-set", "–", "rows.csv"] in [line.split() for line in text.splitlines()]


def test_a_config_with_thousands_of_keys_is_compared(tmp_path: Path) -> None:
    configs = [{f"key{number}": number + shift for number in range(4_000)} for shift in (1, 2)]
    assert configured(tmp_path, *configs).count("--key") == 4_000


def test_the_best_trials_logged_parameters_are_compared(tmp_path: Path) -> None:
    first = run_with(tmp_path, {"SVC.C": 7.0}, {"SVC.C": 1.0, "SVC.kernel": "rbf", "SVC.tol": 0.001})
    second = run_with(tmp_path, {"SVC.C": 0.5, "SVC.kernel": "rbf", "SVC.tol": 0.001, "SVC.gamma": "auto\x1b[2J"})
    text = render_comparison([first, second])
    table = text.partition("logged parameters that differ:\n")[2].partition("\n\n")[0]
    assert [line.split() for line in table.splitlines()] == [["SVC.C", "1", "0.5"], ["SVC.gamma", "–", "auto"]]
    assert "7" not in table
    assert "logged parameters" not in render_comparison([first, first])


def test_what_is_not_set_and_what_further_fits_repeat_is_no_difference(tmp_path: Path) -> None:
    first = run_with(tmp_path, {"X.depth": 9, "X.gamma": None, "X.n": 5, "X 2.depth": 9, "X 2.n": 10})
    second = run_with(tmp_path, {"X.depth": 5, "X.alpha": None, "X.n": 5, "X.tol": 0.1})
    table = render_comparison([first, second]).partition("logged parameters that differ:\n")[2].partition("\n\n")[0]
    rows = [line.split() for line in table.splitlines()]
    assert rows == [["X.depth", "9", "5"], ["X", "2.n", "10", "–"], ["X.tol", "–", "0.1"]]


def test_of_many_logged_parameters_the_first_are_named(tmp_path: Path) -> None:
    runs = [run_with(tmp_path, {f"SVC.p{i}": i + shift for i in range(PARAM_LIMIT + 3)}) for shift in (0, 1)]
    assert render_comparison(runs).count("SVC.p") == PARAM_LIMIT
    assert "… and 3 more" in render_comparison(runs)


def sources_compared(home: Path, first: list[str], other: list[str]) -> list[str]:
    """What is said of two sources, without the lines that name the runs."""
    runs = [run_with(home, {}), run_with(home, {})]
    for run, lines in zip(runs, (first, other), strict=True):
        (run.dir / "source.py").write_text("\n".join(lines) + "\n")
    said = render_comparison([read_stored(run.dir) for run in runs]).split("\n\n")[-1]
    for name, run in zip(("first", "other"), runs, strict=True):
        said = said.replace(run.dir.name, name)
    return [line.rstrip() for line in said.splitlines()]


def test_of_long_sources_the_lines_that_differ_are_shown_with_their_numbers(tmp_path: Path) -> None:
    lines = [f"x{number % 100}" for number in range(20_000)]
    other = [*lines[:10_000], "new", *lines[10_001:]]
    assert sources_compared(tmp_path, lines, other) == [
        "--- first",
        "+++ other",
        "@@ -9999,5 +9999,5 @@",
        " x98",
        " x99",
        "-x0",
        "+new",
        " x1",
        " x2",
    ]
    assert sources_compared(tmp_path, lines[:3], lines[:2])[2:] == ["@@ -1,3 +1,2 @@", " x0", " x1", "-x2"]
    assert sources_compared(tmp_path, lines[:1], ["a", "b", *lines[:1]])[2:] == ["@@ -1 +1,3 @@", "+a", "+b", " x0"]
    assert sources_compared(tmp_path, ["a", "a"], ["a", "a", "a"])[2:] == ["@@ -1,2 +1,3 @@", " a", " a", "+a"]


def test_sources_that_differ_over_very_many_lines_are_not_aligned(tmp_path: Path) -> None:
    first = [f"x{number % 150} = {number % 150}" for number in range(100_000)]
    other = [f"x{number % 150} = {(number + 1) % 151}" for number in range(100_010)]
    assert sources_compared(tmp_path, ["same", *first, "end"], ["same", *other, "end"]) == [
        "the sources differ: 100,000 lines of first, 100,010 of other; compare the two source.py"
    ]


@pytest.mark.parametrize("has_metric", [True, False], ids=["the best trial", "the only trial"])
def test_a_report_has_the_logged_parameters(tmp_path: Path, has_metric: bool) -> None:
    params = [{"SVC.C": 7.5}, {"SVC.C": 1.25, "SVC.kernel": "<rbf>"}]
    run = run_with(tmp_path, *(params if has_metric else params[1:]), has_metric=has_metric)
    report = render_report(run, 0.0, tmp_path)
    heading = f"<h2>Logged parameters of trial {1 if has_metric else 0}</h2>"
    table = report.partition(heading)[2].partition("</table>")[0]
    assert '<tr><th scope="row">SVC.C</th><td>1.25</td></tr>' in table
    assert '<tr><th scope="row">SVC.kernel</th><td>&lt;rbf&gt;</td></tr>' in table
    assert "7.5" not in table
    assert "Logged parameters" not in render_report(run_with(tmp_path, {}), 0.0, tmp_path)
