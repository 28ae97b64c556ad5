from __future__ import annotations

import dataclasses

import pytest

from lagom_magic.display.ablation import (
    amount,
    baseline_detail,
    baseline_words,
    p_value,
    picture_of,
    saving,
)
from lagom_magic.statistics.ablation import Ablation, AblationRow, Evidence

BASE = AblationRow("baseline", "accuracy", mean=0.95, n=5, sd=0.002, state="COMPLETE", parameters=100, seconds=1.0)


def row(name: str, delta: float | None, evidence: Evidence | None = None, metric: str = "accuracy") -> AblationRow:
    """A complete component with an interval of ± 0.002."""
    if delta is None:
        return AblationRow(name, metric, state="FAILED", reason="it fails")
    return AblationRow(
        name,
        metric,
        0.95 + delta,
        delta,
        delta - 0.002,
        delta + 0.002,
        0.01,
        0.02,
        5,
        state="COMPLETE",
        evidence=evidence,
    )


def ablation(*rows: AblationRow) -> Ablation:
    return Ablation((BASE, *rows), "step")


def test_of_many_components_those_with_evidence_stay_then_the_largest_in_their_order() -> None:
    rows = [row("a", -0.09, "none"), row("b", -0.03, "worse"), row("c", -0.01, "none"), row("d", 0.02, "better")]
    picture = picture_of(ablation(*rows, row("e", None)), 3, 1)
    assert [shown.component for shown in picture.tables[0].rows] == ["a", "b", "d"]
    assert (picture.n_components, picture.n_left_out) == (5, 2)
    assert (picture.n_judged, picture.n_with_evidence) == (4, 2)


def test_all_metrics_show_the_same_components_in_the_same_order() -> None:
    of_loss = [dataclasses.replace(BASE, metric="loss"), row("b", 0.1, None, "loss"), row("a", 0.2, None, "loss")]
    picture = picture_of(ablation(row("a", -0.2), row("b", -0.1), *of_loss), 10, 2)
    assert [[shown.component for shown in table.rows] for table in picture.tables] == [["a", "b"], ["a", "b"]]
    assert [table.metric for table in picture.tables] == ["accuracy", "loss"]
    assert len(picture_of(ablation(*of_loss), 10, 1).tables) == 1


def test_the_axis_holds_zero_and_all_but_the_widest_intervals() -> None:
    wide = dataclasses.replace(row("wide", -0.01), ci_low=-9.0, ci_high=9.0)
    low, high = picture_of(ablation(row("a", -0.02), wide), 10, 1).tables[0].axis
    assert -0.06 < low < -0.05
    assert 0.05 < high < 0.06
    low, high = picture_of(ablation(row("a", 0.04)), 10, 1).tables[0].axis
    assert -0.01 < low < 0
    assert 0.042 < high < 0.05


def test_the_axis_holds_the_narrowest_interval_where_all_differences_are_next_to_nothing() -> None:
    narrow = dataclasses.replace(row("narrow", 1e-17), ci_low=-0.1, ci_high=0.1)
    wide = dataclasses.replace(row("wide", -1e-17), ci_low=-9.0, ci_high=9.0)
    low, high = picture_of(ablation(narrow, wide), 10, 1).tables[0].axis
    assert -0.12 < low < -0.1
    assert 0.1 < high < 0.12


def test_the_axis_is_a_range_also_without_differences() -> None:
    low, high = picture_of(ablation(row("a", None)), 10, 1).tables[0].axis
    assert low < 0 < high


@pytest.mark.parametrize(
    ("deltas", "texts"),
    [
        ((-0.0512, 0.0021), ("-0.0512", "+0.0021")),
        ((-0.5, 0.0), ("-0.500", "0.000")),
        ((123.4, -7.0), ("+123", "-7")),
        ((12_345_678.0, -1.0), ("+1.23e7", "-1")),
        ((1e-9, -2e-9), ("+1e-9", "-2e-9")),
    ],
)
def test_differences_have_as_many_digits_as_the_table_needs(
    deltas: tuple[float, float], texts: tuple[str, str]
) -> None:
    table = picture_of(ablation(*(row(str(delta), delta) for delta in deltas)), 10, 1).tables[0]
    assert tuple(table.signed(delta) for delta in deltas) == texts


def test_what_is_not_known_is_a_dash() -> None:
    table = picture_of(ablation(row("a", -0.01)), 10, 1).tables[0]
    assert table.signed(None) == table.interval(None, 0.1) == p_value(None) == amount(None) == "–"
    assert table.signed(float("nan")) == "nan"
    assert table.interaction(row("a", -0.01)) == ""


def test_an_interaction_is_told_with_its_interval_and_p() -> None:
    table = picture_of(ablation(row("a + b", -0.0123)), 10, 1).tables[0]
    pair = dataclasses.replace(table.rows[0], interaction=-0.004)
    assert table.interaction(pair) == "interaction -0.0040"
    pair = dataclasses.replace(pair, interaction_low=-0.0061, interaction_high=-0.0019, interaction_p_holm=0.0001)
    assert table.interaction(pair) == "interaction -0.0040 [-0.0061, -0.0019], p < 0.001"


def test_the_head_tells_the_baseline_and_how_many_components_have_evidence() -> None:
    picture = picture_of(ablation(row("a", -0.01, "worse"), row("b", 0.0, "none"), row("c", None)), 10, 1)
    assert baseline_words(picture) == "0.9500 ± 0.002"
    assert baseline_detail(picture) == "baseline, 5 repeats (± sd) · evidence for 1 of 2 components"


def test_the_head_says_what_is_missing() -> None:
    nothing = picture_of(Ablation((), "trial"), 10, 1)
    assert (baseline_words(nothing), baseline_detail(nothing)) == ("–", "baseline: none · no component")
    once = dataclasses.replace(BASE, sd=None, n=1)
    single = picture_of(Ablation((once, row("a", -0.01)), "trial"), 10, 1)
    assert (baseline_words(single), baseline_detail(single)) == ("0.9500", "baseline, 1 repeat · no interval")


def test_sizes_and_savings_are_short() -> None:
    assert [amount(n) for n in (61_706, 11_689_512, 999_999_999, 7 * 10**9)] == ["61,706", "11.7 M", "1 G", "7 G"]
    assert [saving(value, 100) for value in (88, 99.7, 100, 100.01, 250, None)] == [
        "-12 %",
        "-0.3 %",
        "the same",
        "about the same",
        "+150 %",
        "",
    ]
    assert saving(1.0, None) == saving(1.0, 0) == ""
