from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lagom_magic.search.scale import finite_values, n_values, value_at
from lagom_magic.spec.space import Categorical, Float, Int, Ordinal

positions = st.floats(0, 1, exclude_max=True)
bounds = st.tuples(st.integers(-1000, 1000), st.integers(-1000, 1000)).map(sorted)


@settings(max_examples=50)
@given(bounds, st.integers(1, 50), positions)
def test_an_int_is_on_its_steps(low_high, step, position) -> None:
    domain = Int(*low_high, step=step)
    assert value_at(domain, position) in finite_values(domain)


@settings(max_examples=50)
@given(st.integers(1, 1000), st.integers(0, 100_000), positions)
def test_a_log_int_stays_in_its_range(low, width, position) -> None:
    domain = Int(low, low + width, log=True)
    assert domain.contains(value_at(domain, position))


@settings(max_examples=50)
@given(st.floats(-1e6, 1e6), st.floats(0, 1e6), positions)
def test_a_float_stays_in_its_range(low, width, position) -> None:
    domain = Float(low, low + width)
    assert domain.contains(value_at(domain, position))


@settings(max_examples=50)
@given(st.floats(1e-9, 1e3), st.floats(1, 1e6), positions)
def test_a_log_float_stays_in_its_range(low, factor, position) -> None:
    domain = Float(low, low * factor, log=True)
    assert domain.contains(value_at(domain, position))


@settings(max_examples=50)
@given(st.integers(0, 100), st.integers(0, 100), st.sampled_from([0.1, 0.25, 0.3, 1.5]), positions)
def test_a_stepped_float_is_one_of_its_values(low, width, step, position) -> None:
    domain = Float(low / 10, (low + width) / 10, step=step)
    assert value_at(domain, position) in finite_values(domain)
    assert all(domain.contains(value) for value in finite_values(domain))


def test_stepped_floats_read_as_a_person_writes_them() -> None:
    assert finite_values(Float(0, 0.5, step=0.1)) == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]


def test_a_step_that_does_not_divide_the_range_ends_below_it() -> None:
    assert finite_values(Float(0, 1, step=0.3)) == [0.0, 0.3, 0.6, 0.9]
    assert list(finite_values(Int(1, 8, step=3))) == [1, 4, 7]


@pytest.mark.parametrize("domain", [Categorical(["a", "b", "c"]), Ordinal([1, 2, 4]), Int(0, 2), Float(0, 2, step=1)])
def test_each_of_three_values_has_a_third_of_the_positions(domain) -> None:
    counts = Counter(value_at(domain, i / 3000) for i in range(3000))
    assert list(counts.values()) == [1000, 1000, 1000]


def test_a_log_scale_gives_each_decade_the_same_share() -> None:
    values = [value_at(Float(1e-4, 1.0, log=True), i / 4000) for i in range(4000)]
    assert 995 <= sum(value < 1e-3 for value in values) <= 1005


def test_a_float_without_step_is_not_finite_unless_it_is_one_number() -> None:
    assert n_values(Float(0, 1)) is None
    assert finite_values(Float(2, 2)) == [2.0]
    with pytest.raises(ValueError, match=r"Float\(0, 1\) has no finite list"):
        finite_values(Float(0, 1))
