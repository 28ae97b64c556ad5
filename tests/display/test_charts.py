from __future__ import annotations

import re

import pytest
from display_runs import BEGAN, run_started, trial_facts, view_of

from lagom_magic.display.charts import (
    PLOT_HEIGHT,
    PLOT_WIDTH,
    best_so_far,
    curve,
    curves,
    sparkline,
    thinned,
    ticks,
    value_range,
)
from lagom_magic.events.facts import MetricReported, TrialStarted, TrialState


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.17, 0.99, [0.25, 0.5, 0.75]),
        (1, 20, [5, 10, 15, 20]),
        (0, 1, [0, 0.5, 1]),
        (-3, 3, [-2.5, 0, 2.5]),
        (7, 7, [7]),
        (1e-6, 4e-6, [1e-6, 2e-6, 3e-6, 4e-6]),
    ],
)
def test_ticks_are_round_numbers(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high, 3) == expected


@pytest.mark.parametrize(("low", "high"), [(-1e308, 1e308), (0.0, 5e-324), (0.0, 1e-323), (1.0, 1.0)])
def test_a_range_that_no_float_divides_has_one_tick(low: float, high: float) -> None:
    assert ticks(low, high, 3) == [low]


@pytest.mark.parametrize("values", [(-1e308, 1e308), (0.0, 5e-324), (1.0, 1.0), (1, 10**300)])
def test_a_curve_of_extreme_values_and_steps_is_drawn(values: tuple[float, float]) -> None:
    html = curve("loss", [(0, values[0]), ((1 << 63) - 1, values[1])])
    assert "nan" not in html
    assert html.count("<path") >= 2


def test_labels_of_values_that_hardly_differ_are_told_apart() -> None:
    labels = re.findall(r'text-anchor="end">([^<]*)</text>', curve("loss", [(0, 0.98331), (0, 0.98334)]))
    assert len(labels) >= 3
    assert len(set(labels)) == len(labels)


def test_an_outlier_does_not_flatten_a_curve() -> None:
    assert ">0.1</text>" in curve("loss", [(0, 1e6), *((step, 1 / step) for step in range(1, 100))])


@pytest.mark.parametrize("width", [1e-12, 3e-5, 0.1, 0.7, 1, 9.99, 12345.0, 1e9])
def test_every_range_gets_a_few_ticks(width: float) -> None:
    assert 3 <= len(ticks(0.3 * width, 1.3 * width, 3)) <= 11


def test_long_curves_are_thinned_and_keep_their_ends() -> None:
    points = [(step, 0.0) for step in range(1000)]
    kept = thinned(points, 40)
    assert len(kept) == 40
    assert (kept[0], kept[-1]) == (points[0], points[-1])


def test_a_few_outliers_do_not_flatten_the_curves() -> None:
    facts = [run_started(), TrialStarted(0, 1, 1, {}), MetricReported(0, 1, 1, 0, {"accuracy": 1e9})]
    facts += [MetricReported(0, 1, 1, step, {"accuracy": 1 / step}) for step in range(1, 40)]
    low, high = value_range(view_of(facts).trials.values(), None) or (0, 0)
    assert (low, high < 2) == (1 / 39, True)


def test_everything_is_drawn_inside_the_picture() -> None:
    facts = [run_started(direction="min")]
    for trial_id in range(5):
        facts += trial_facts(trial_id, TrialState.COMPLETE, 10.0**trial_id, n_steps=5)
    view = view_of(facts)
    for svg in (curves(view, list(view.trials.values())), best_so_far(view, BEGAN + 60)):
        paths = re.findall(r' d="([^"]*)"', svg)
        assert len(paths) > 3
        for x, y in re.findall(r"[ML]([-\d.e+]+) ([-\d.e+]+)", " ".join(paths)):
            assert 0 <= float(x) <= PLOT_WIDTH
            assert 0 <= float(y) <= PLOT_HEIGHT


def test_the_best_line_falls_when_less_is_better() -> None:
    facts = [run_started(direction="min")]
    for trial_id, value in enumerate((3.0, 2.0, 2.5, 1.0)):
        facts += trial_facts(trial_id, TrialState.COMPLETE, value)
    (stairs,) = re.findall(r'class="lg-best lg-top" d="([^"]*)"', best_so_far(view_of(facts), BEGAN + 60))
    heights = [float(y) for y in re.findall(r"V([\d.]+)", stairs)]
    assert heights == sorted(heights)
    assert len(heights) == 3


def test_one_report_is_a_dot_and_none_is_nothing() -> None:
    view = view_of([run_started(), *trial_facts(0, None, n_steps=1), *trial_facts(1, None, n_steps=0)])
    assert "h.01" in sparkline(view.trials[0], (0.0, 1.0), 1)
    assert sparkline(view.trials[1], (0.0, 1.0), 1) == ""
    assert curves(view, [view.trials[1]]) == ""
    assert best_so_far(view, BEGAN) == ""
