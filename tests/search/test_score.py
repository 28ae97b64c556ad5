import math

import pytest

from lagom_magic.search.score import WORST, score


@pytest.mark.parametrize("direction", ["max", "min"])
def test_a_nan_is_the_worst(direction) -> None:
    assert score(math.nan, direction) == WORST


def test_more_is_better_whatever_the_direction() -> None:
    assert score(0.9, "max") > score(0.1, "max")
    assert score(0.1, "min") > score(0.9, "min")


def test_an_infinitely_good_value_is_never_best() -> None:
    assert score(math.inf, "max") == score(-math.inf, "min") == WORST
    assert score(-math.inf, "max") == score(math.inf, "min") == WORST
