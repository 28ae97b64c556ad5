"""A stored journal of an ablation gives the stored rows, and those are what SciPy and statsmodels say of its data."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from golden import JOURNALS

from lagom_magic.statistics.ablation import Ablation, ablation_of
from lagom_magic.store.journal import read_view

EXPECTED = json.loads((JOURNALS / "ablation_pair.rows.json").read_text("utf-8"))
METRICS = ["accuracy", "loss"]


@pytest.fixture
def ablation(tmp_path: Path) -> Ablation:
    shutil.copy(JOURNALS / "ablation_pair.jsonl", tmp_path / "events.jsonl")
    return ablation_of(read_view(tmp_path))


def returned(metric: str) -> dict[str, list[float]]:
    """Component → what its repeats returned, read from the journal without our fold."""
    started: dict[int, dict[str, Any]] = {}
    values: dict[str, dict[int, float]] = {}
    for line in (JOURNALS / "ablation_pair.jsonl").read_text("utf-8").splitlines():
        fact = json.loads(line)
        if fact["type"] == "trial_started":
            started[fact["trial_id"]] = fact["hparams"]
        elif fact["type"] == "trial_ended" and fact["state"] == "COMPLETE":
            hparams = started[fact["trial_id"]]
            values.setdefault(hparams["component"], {})[hparams["repeat"]] = fact["metrics"][metric]
    return {component: [repeats[r] for r in range(3)] for component, repeats in values.items()}


def expected_rows(metric: str) -> dict[str, dict[str, Any]]:
    return {row["component"]: row for row in EXPECTED["rows"] if row["metric"] == metric}


def test_the_journal_gives_its_stored_rows(ablation: Ablation) -> None:
    assert (ablation.unit, list(ablation.notices)) == (EXPECTED["unit"], EXPECTED["notices"])
    found = [asdict(row) for row in ablation.rows]
    assert len(found) == len(EXPECTED["rows"]) == 10
    for row, expected in zip(found, EXPECTED["rows"], strict=True):
        for name, value in expected.items():
            assert row[name] == (pytest.approx(value, rel=1e-9) if isinstance(value, float) else value), name


@pytest.mark.parametrize("metric", METRICS)
def test_the_stored_rows_are_what_scipy_and_statsmodels_say(metric: str) -> None:
    from scipy import stats
    from statsmodels.stats.multitest import multipletests

    values, rows = returned(metric), expected_rows(metric)
    components = ["conv2", "augment", "conv2 + augment"]
    tests = {component: stats.ttest_rel(values[component], values["baseline"]) for component in components}
    corrected = multipletests([tests[component].pvalue for component in components], method="holm")[1]
    for component, p_holm in zip(components, corrected, strict=True):
        row, test = rows[component], tests[component]
        interval = test.confidence_interval(0.95)
        assert [row["p"], row["p_holm"], row["ci_low"], row["ci_high"]] == pytest.approx(
            [test.pvalue, p_holm, interval.low, interval.high], rel=1e-8
        )
        assert (row["evidence"] == "none") == (p_holm >= 0.05)
        assert row["mean"] == pytest.approx(sum(values[component]) / 3)


@pytest.mark.parametrize("metric", METRICS)
def test_the_stored_interaction_is_the_t_test_of_what_the_two_alone_do_not_explain(metric: str) -> None:
    from scipy import stats

    values, row = returned(metric), expected_rows(metric)["conv2 + augment"]
    beyond = [
        values["conv2 + augment"][r] - values["conv2"][r] - values["augment"][r] + values["baseline"][r]
        for r in range(3)
    ]
    test = stats.ttest_1samp(beyond, 0.0)
    interval = test.confidence_interval(0.95)
    assert [
        row["interaction"],
        row["interaction_p_holm"],
        row["interaction_low"],
        row["interaction_high"],
    ] == pytest.approx([sum(beyond) / 3, test.pvalue, interval.low, interval.high], rel=1e-8)


def test_the_part_that_cannot_be_left_out_is_a_row_at_the_end(ablation: Ablation) -> None:
    of_accuracy = [row for row in ablation.rows if row.metric == "accuracy"]
    assert [row.component for row in of_accuracy] == ["baseline", "conv2 + augment", "conv2", "augment", "flatten"]
    last = of_accuracy[-1]
    assert (last.state, last.n, last.evidence) == ("FAILED", 0, None)
    assert last.reason == "NotRemovableError: flatten cannot be left out: dense takes vectors of 1024 numbers."
