from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lagom_magic.errors import ConfigError
from lagom_magic.search.rungs import PromotionRung, Rung, bracket_schedule, rung_steps


def test_rungs_grow_by_the_reduction_factor() -> None:
    assert rung_steps(1, 3, 30) == [1, 3, 9, 27]
    assert rung_steps(5, 2, 5) == [5]


@pytest.mark.parametrize("numbers", [(0, 3, 9), (1, 1, 9), (5, 3, 4)])
def test_numbers_that_make_no_ladder_are_refused(numbers) -> None:
    with pytest.raises(ConfigError, match="reduction factor"):
        rung_steps(*numbers)


def test_brackets_get_hyperbands_shares_evenly_mixed() -> None:
    schedule = bracket_schedule(3, 3)
    assert Counter(schedule) == {0: 9, 1: 5, 2: 3}
    assert set(schedule[:4]) == {0, 1, 2}


def test_one_bracket_takes_all() -> None:
    assert set(bracket_schedule(1, 4)) == {0}


@settings(max_examples=50)
@given(st.lists(st.floats(-1e9, 1e9), min_size=1), st.integers(2, 5))
def test_the_top_of_a_rung_is_its_best_share(scores, factor) -> None:
    rung = Rung()
    for score in scores:
        rung.add(score)
    n_top = max(1, len(scores) // factor)
    threshold = sorted(scores, reverse=True)[n_top - 1]
    assert all(rung.is_in_top(score, factor) == (score >= threshold) for score in scores)


def test_a_removed_score_no_longer_counts() -> None:
    rung = Rung()
    for score in (1.0, 2.0, 2.0):
        rung.add(score)
    rung.remove(2.0)
    rung.remove(2.0)
    assert len(rung) == 1
    assert rung.is_in_top(1.0, 2)


@settings(max_examples=50)
@given(st.lists(st.integers(0, 3), max_size=60), st.integers(2, 4))
def test_at_most_the_share_of_a_rung_is_promoted_even_with_ties(scores, factor) -> None:
    rung = PromotionRung()
    promoted = []
    for config_id, score in enumerate(scores):
        rung.add(config_id, score)
        while (chosen := rung.pop_promotable(factor)) is not None:
            promoted.append(chosen)
    assert len(set(promoted)) == len(promoted)
    best = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[: len(scores) // factor]
    assert set(best) <= set(promoted)
