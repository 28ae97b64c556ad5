"""What libraries were told in runs side by side, and in a run's report; the rest is in tests/magics/test_finding.py."""

from __future__ import annotations

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


def test_the_best_trials_logged_parameters_are_compared(tmp_path: Path) -> None:
    first = run_with(tmp_path, {"SVC.C": 7.0}, {"SVC.C": 1.0, "SVC.kernel": "rbf", "SVC.tol": 0.001})
    second = run_with(tmp_path, {"SVC.C": 0.5, "SVC.kernel": "rbf", "SVC.tol": 0.001, "SVC.gamma": "auto\x1b[2J"})
    text = render_comparison([first, second])
    table = text.partition("logged parameters that differ:\n")[2].partition("\n\n")[0]
    assert [line.split() for line in table.splitlines()] == [["SVC.C", "1", "0.5"], ["SVC.gamma", "–", "auto"]]
    assert "7" not in table
    assert "logged parameters" not in render_comparison([first, first])


def test_of_many_logged_parameters_the_first_are_named(tmp_path: Path) -> None:
    runs = [run_with(tmp_path, {f"SVC.p{i}": i + shift for i in range(PARAM_LIMIT + 3)}) for shift in (0, 1)]
    assert render_comparison(runs).count("SVC.p") == PARAM_LIMIT
    assert "… and 3 more" in render_comparison(runs)


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
