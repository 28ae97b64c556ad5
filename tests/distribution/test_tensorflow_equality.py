"""Ranks learn what one process learns with Keras: the very same functions, run alone and by two or three ranks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.distribution import keras_functions
from tests.support.ranks import run_ranks

SETTINGS = {"framework": "tensorflow", "collective_timeout_s": 60}
#: With three ranks, those where the number of ranks may matter.
WITH_THREE = ["tiny last batch", "masked text", "synchronized batch normalization", "own train_step", "PyDataset"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    names = [*keras_functions.CASES, *keras_functions.OTHER]
    return keras_functions.run_alone(keras_functions.everything, {"names": names})


def of_ranks(world_size: int, names: list[str]) -> list[dict[str, Any]]:
    return run_ranks(
        keras_functions.everything, {}, world_size=world_size, settings=SETTINGS, arguments={"names": names}
    )


@pytest.fixture(scope="module")
def two() -> list[dict[str, Any]]:
    return of_ranks(2, [*keras_functions.CASES, *keras_functions.OTHER])


@pytest.fixture(scope="module")
def three() -> list[dict[str, Any]]:
    return of_ranks(3, WITH_THREE)


@pytest.mark.parametrize("case", keras_functions.CASES)
def test_two_ranks_end_with_the_weights_and_curves_of_one_process(
    case: str, alone: dict[str, Any], two: list[dict[str, Any]]
) -> None:
    check_same(alone[case], [result[case] for result in two])


@pytest.mark.parametrize("case", WITH_THREE)
def test_three_ranks_end_with_the_weights_and_curves_of_one_process(
    case: str, alone: dict[str, Any], three: list[dict[str, Any]]
) -> None:
    check_same(alone[case], [result[case] for result in three])


def check_same(expected: dict[str, Any], results: list[dict[str, Any]]) -> None:
    assert len({result["digest"] for result in results}) == 1, "weights, optimizer or moving statistics differ"
    for result in results:
        for ours, theirs in zip(result["weights"], expected["weights"], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
        assert result["history"].keys() == expected["history"].keys()
        for name, curve in expected["history"].items():
            np.testing.assert_allclose(result["history"][name], curve, rtol=1e-5, atol=1e-6, err_msg=name)
        for name in expected.keys() - {"digest", "weights", "history"}:
            check_numbers(result[name], expected[name], name)


def check_numbers(ours: Any, theirs: Any, name: str) -> None:
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        ours, theirs = list(ours.values()), list(theirs.values())
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6, err_msg=name)


def test_batch_normalization_sees_the_rows_of_its_rank_and_keeps_the_mean_of_all(
    alone: dict[str, Any], two: list[dict[str, Any]]
) -> None:
    first, second = (result["batch normalization"] for result in two)
    assert first["digest"] == second["digest"]
    mean, variance = first["moving"]
    expected_mean, expected_variance = alone["batch normalization"]["moving"]
    np.testing.assert_allclose(mean, expected_mean, atol=0.01)
    np.testing.assert_allclose(variance, expected_variance, rtol=0.01)
    assert not np.allclose(first["weights"][0], alone["batch normalization"]["weights"][0], atol=1e-6)


def test_dropout_draws_other_masks_on_each_rank_at_the_same_rate(
    alone: dict[str, Any], two: list[dict[str, Any]]
) -> None:
    first, second = (result["dropout"] for result in two)
    assert first["digest"] == second["digest"]
    assert not np.array_equal(first["seen"], second["seen"])
    n_draws, rate = 2 * 30 * 40, 0.6
    deviation = np.sqrt(rate * (1 - rate) / n_draws)
    assert (first["seen"].sum() + second["seen"].sum()) / n_draws == pytest.approx(rate, abs=4 * deviation)
    np.testing.assert_allclose(first["history"]["loss"], alone["dropout"]["history"]["loss"], rtol=0.1)
