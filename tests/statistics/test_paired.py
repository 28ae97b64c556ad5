"""Our paired statistics are those of SciPy and statsmodels, and honest where those have nothing to say."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from lagom_magic.statistics.paired import (
    Difference,
    difference,
    expected_width,
    holm,
    mean_and_deviation,
    resolution_of,
)

#: Accuracies of five repeats, without a layer and with it.
FIXED = [(0.912, 0.941), (0.905, 0.938), (0.921, 0.944), (0.899, 0.947), (0.917, 0.936)]


def random_pairs(seed: int) -> list[tuple[float, float]]:
    rng = random.Random(seed)
    n, scale = rng.randrange(2, 60), 10 ** rng.uniform(-6, 6)
    shift = rng.choice([0.0, 0.1, 5.0])
    return [
        (scale * (value + shift + rng.gauss(0, 0.3)), scale * value) for value in (rng.gauss(0, 1) for _ in range(n))
    ]


def test_five_fixed_repeats_give_the_numbers_that_a_textbook_gives() -> None:
    found = difference(FIXED)
    assert found.n == 5
    assert found.mean == pytest.approx(-0.0304)
    # sd = 0.011216 and t(4) = 2.77645, so ± 0.013927; t = −6.0606
    assert (found.low, found.high) == (pytest.approx(-0.044327, abs=1e-6), pytest.approx(-0.016473, abs=1e-6))
    assert found.p == pytest.approx(0.003742, abs=1e-6)
    assert found.effect_size == pytest.approx(-2.7104, abs=1e-4)


@pytest.mark.parametrize("pairs", [FIXED, *(random_pairs(seed) for seed in range(60))])
def test_interval_and_p_are_those_of_scipys_paired_t_test(pairs: list[tuple[float, float]]) -> None:
    from scipy import stats

    found = difference(pairs)
    expected = stats.ttest_rel([a for a, _ in pairs], [b for _, b in pairs])
    interval = expected.confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-8, abs=1e-300)
    assert (found.low, found.high) == (pytest.approx(interval.low, rel=1e-8), pytest.approx(interval.high, rel=1e-8))
    assert found.effect_size == pytest.approx(expected.statistic / math.sqrt(len(pairs)), rel=1e-8)


@pytest.mark.parametrize("seed", range(60))
def test_holm_is_that_of_statsmodels(seed: int) -> None:
    from statsmodels.stats.multitest import multipletests

    rng = random.Random(seed)
    p_values = [rng.choice([rng.random(), rng.random() ** 6, 0.0, 1.0, 0.03]) for _ in range(rng.randrange(1, 40))]
    assert holm(p_values) == pytest.approx(list(multipletests(p_values, method="holm")[1]))


def test_holm_on_fixed_numbers_steps_down_and_never_falls() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]


def test_what_was_not_tested_stays_untested_and_does_not_count() -> None:
    assert holm([None, 0.02, None, 0.04]) == [None, pytest.approx(0.04), None, pytest.approx(0.04)]
    assert holm([None]) == [None]
    assert holm([]) == []


def test_without_a_pair_nothing_can_be_said() -> None:
    assert difference([]) == Difference(0)
    assert difference([(math.nan, 0.5), (math.inf, 0.5), (0.5, -math.inf)]) == Difference(0)


def test_one_pair_has_a_difference_without_an_interval() -> None:
    assert difference([(0.5, 0.75)]) == Difference(1, -0.25)


def test_a_pair_with_a_number_that_is_not_finite_is_left_out() -> None:
    assert difference([*FIXED, (math.nan, 0.9), (0.9, math.inf)]) == difference(FIXED)


def test_no_difference_at_all_is_no_evidence() -> None:
    assert difference([(0.9, 0.9), (0.8, 0.8)], resolution=0.01) == Difference(2, 0.0, 0.0, 0.0, 1.0)


def test_the_same_difference_in_every_repeat_of_numbers_without_a_step_has_no_noise() -> None:
    found = difference([(0.5, 0.75)] * 3)
    assert (found.mean, found.low, found.high, found.p, found.has_spread) == (-0.25, None, None, None, False)
    assert found.effect_size is None


def test_an_interval_is_never_narrower_than_the_spread_that_was_seen() -> None:
    """Losses near a million as 32 bits, where what is seen may be the last digits, or all there is."""
    pairs = [(float(np.float32(1e6 + 0.2 * k)), float(np.float32(1e6 + 1))) for k in (-2, 0, 1, 3, 5)]
    found = difference(pairs, resolution=1e-3)
    differences = np.array([a - b for a, b in pairs])
    interval = scipy.stats.ttest_1samp(differences, 0).confidence_interval()
    assert found.low is not None
    assert found.low <= interval.low + 1e-9


def test_the_last_digits_of_floats_are_no_spread() -> None:
    pairs = [(0.9 - 0.1 * k, 0.8 - 0.1 * k) for k in range(4)]
    assert len({a - b for a, b in pairs}) > 1
    found = difference(pairs)
    assert (found.has_spread, found.p) == (False, None)
    assert difference([(0.1 + 0.2, 0.3), (0.3, 0.3)]).p == 1.0


def test_the_last_digits_of_32_bits_are_no_spread() -> None:
    """Accuracies of torch and Keras: 0.97 and 0.965 as 32 bits."""
    pairs = [(float(np.float32(k / 200 - 0.005)), float(np.float32(k / 200))) for k in (194, 193, 195, 191)]
    assert len({a - b for a, b in pairs}) > 1
    assert difference(pairs, 0.005).has_spread is False
    assert difference(pairs, 0.005).p == pytest.approx(difference([(0.965, 0.97)] * 4, 0.005).p, rel=1e-4)
    assert resolution_of([[b for _, b in pairs], [pairs[0][1], math.nextafter(pairs[0][1], 1)]]) == pytest.approx(0.005)


def test_large_numbers_of_64_bits_keep_their_spread() -> None:
    pairs = [(-1e7 - 0.1 * k * k, -1e7 - 0.3 * k) for k in range(5)]
    assert difference(pairs).has_spread
    assert resolution_of([[a for a, _ in pairs]]) == pytest.approx(0.1)


def test_the_same_small_difference_twice_is_no_evidence_where_numbers_move_in_such_steps() -> None:
    found = difference([(0.970, 0.975), (0.965, 0.970)], resolution=0.005)
    assert found.mean == pytest.approx(-0.005)
    assert found.p is not None
    assert found.p > 0.05
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0 < found.high


def test_the_same_large_difference_is_evidence_whatever_the_step() -> None:
    found = difference([(0.5, 0.975), (0.495, 0.970), (0.5, 0.975)], resolution=0.005)
    assert found.p is not None
    assert found.p < 0.001


def test_by_chance_equal_differences_are_called_evidence_less_often_than_one_time_in_twenty() -> None:
    """Two models alike, on 200 samples, over three seeds, with the step in which such an accuracy moves."""
    rng = random.Random(0)

    def accuracy() -> float:
        return sum(rng.random() < 0.995 for _ in range(200)) / 200

    studies = [[(accuracy(), accuracy()) for _ in range(3)] for _ in range(600)]
    careful = sum(found.p is not None and found.p < 0.05 for found in (difference(s, 1 / 200) for s in studies))
    assert careful <= 0.05 * len(studies)


def test_the_expected_width_shrinks_with_the_root_of_the_pairs_and_students_t() -> None:
    found = difference(FIXED)
    assert expected_width(found, 5) == pytest.approx(found.width)
    assert expected_width(found, 20) == pytest.approx(
        found.width * (2.0930 / math.sqrt(20)) / (2.7764 / math.sqrt(5)), rel=1e-4
    )
    assert expected_width(difference(FIXED[:1]), 2) == math.inf


def test_the_resolution_is_the_smallest_step_within_a_group() -> None:
    assert resolution_of([[0.5, 0.75, 0.5], [0.8, 0.9]]) == pytest.approx(0.1)
    assert resolution_of([[0.5, 0.5], [0.501], [0.3, math.nextafter(0.3, 1), math.nan]]) == 0.0
    assert resolution_of([]) == 0.0


numbers = st.floats(allow_nan=True, allow_infinity=True)


@given(st.lists(st.tuples(numbers, numbers), max_size=12), st.floats(0, 1))
def test_whatever_the_numbers_nothing_breaks_and_the_mean_lies_in_its_interval(
    pairs: list[tuple[float, float]], resolution: float
) -> None:
    found = difference(pairs, resolution)
    assert found.p is None or 0 <= found.p <= 1
    if found.low is not None and found.high is not None and found.mean is not None:
        assert found.low <= found.mean <= found.high


def test_mean_and_deviation_of_huge_and_tiny_numbers_stay_numbers() -> None:
    mean, deviation = mean_and_deviation([1e300, 3e300])
    assert (mean, deviation) == (pytest.approx(2e300), pytest.approx(math.sqrt(2) * 1e300))
    assert mean_and_deviation([1e-300, 3e-300])[1] == pytest.approx(math.sqrt(2) * 1e-300)
    assert mean_and_deviation([0.5]) == (0.5, None)
