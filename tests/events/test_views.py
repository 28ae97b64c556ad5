from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lagom_magic.events.views import ComputeSaved, RunView, Series


def test_a_short_series_keeps_every_point() -> None:
    series = Series()
    for step in range(Series.LIMIT):
        series.add(step, step / 2)
    assert series.points == [(step, step / 2) for step in range(Series.LIMIT)]


@given(st.integers(1, 5000))
def test_a_long_series_stays_small_and_keeps_its_first_and_last_point(n_points: int) -> None:
    series = Series()
    for step in range(n_points):
        series.add(step, float(step))
    points = series.points
    assert len(points) <= Series.LIMIT + 1
    assert (points[0], points[-1]) == ((0, 0.0), (n_points - 1, n_points - 1.0))
    assert len(set(points)) == len(points)


def test_a_thinned_series_has_even_gaps() -> None:
    series = Series()
    for step in range(1000):
        series.add(step, 0.0)
    steps = [step for step, _ in series.points]
    assert {after - before for before, after in pairwise(steps[:-1])} == {8}


def test_values_that_are_not_finite_leave_a_gap() -> None:
    series = Series()
    for step, value in enumerate([1.0, math.nan, math.inf, 2.0]):
        series.add(step, value)
    assert series.points == [(0, 1.0), (3, 2.0)]


@pytest.mark.parametrize(
    ("complete", "pruned", "n_steps", "expected"),
    [
        ({20: 3}, {5: 2}, 70, ComputeSaved(70, 100.0)),
        ({10: 1, 20: 1}, {5: 1}, 35, ComputeSaved(35, 45.0)),
        ({10: 1}, {12: 1}, 22, ComputeSaved(22, 22.0)),
        ({}, {5: 2}, 10, None),
        ({20: 3}, {}, 60, None),
    ],
)
def test_pruned_trials_count_at_the_median_steps_of_the_complete_ones(
    complete: dict[int, int], pruned: dict[int, int], n_steps: int, expected: ComputeSaved | None
) -> None:
    view = RunView(complete_steps=Counter(complete), pruned_steps=Counter(pruned), n_steps=n_steps)
    assert view.compute_saved() == expected


def test_the_saved_fraction_is_of_what_would_have_run() -> None:
    assert ComputeSaved(70, 100.0).fraction == pytest.approx(0.3)
    assert ComputeSaved(0, 0.0).fraction == 0.0


@given(st.lists(st.integers(0, 20), min_size=1))
def test_the_median_is_the_usual_one(values: list[int]) -> None:
    import statistics

    view = RunView(complete_steps=Counter(values), pruned_steps=Counter({0: 1}))
    saved = view.compute_saved()
    assert saved is not None
    assert saved.n_steps_expected == statistics.median(values)
