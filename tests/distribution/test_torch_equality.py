"""Ranks learn what one process learns: the very same functions, called plainly and by two or three ranks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.distribution import torch_functions
from tests.support.ranks import run_ranks

CASES = {
    "ddp": [*torch_functions.EVERYWHERE, *torch_functions.REPLICATED_ONLY],
    "fsdp": torch_functions.EVERYWHERE,
}


@pytest.fixture(scope="module")
def plain() -> dict[str, Any]:
    return torch_functions.all_of(torch_functions.build, CASES["ddp"])


#: (strategy, number of ranks)
RANKS = [("ddp", 2), ("ddp", 3), ("fsdp", 2), ("fsdp", 3)]


def _name_of(value: Any) -> str:
    return value.__name__ if callable(value) else f"{value[0]}-{value[1]}"


@pytest.fixture(scope="module")
def ranks(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    strategy, world_size = request.param
    settings = {"framework": "torch", "strategy": strategy, "collective_timeout_s": 60}
    return run_ranks(
        torch_functions.all_of,
        {"module": torch_functions.build},
        world_size=world_size,
        settings=settings,
        arguments={"cases": CASES[strategy]},
    )


every_rank = pytest.mark.parametrize("ranks", RANKS, indirect=True, ids=_name_of)
replicated = pytest.mark.parametrize("ranks", RANKS[:2], indirect=True, ids=_name_of)


@every_rank
@pytest.mark.parametrize("case", torch_functions.EVERYWHERE, ids=_name_of)
def test_ranks_end_with_the_weights_of_one_process(
    case: Callable[..., Any], ranks: list[dict[str, Any]], plain: dict[str, Any]
) -> None:
    assert_equal(case.__name__, ranks, plain)


@replicated
@pytest.mark.parametrize("case", torch_functions.REPLICATED_ONLY, ids=_name_of)
def test_replicas_end_with_the_weights_of_one_process(
    case: Callable[..., Any], ranks: list[dict[str, Any]], plain: dict[str, Any]
) -> None:
    assert_equal(case.__name__, ranks, plain)


def assert_equal(name: str, ranks: list[dict[str, Any]], plain: dict[str, Any]) -> None:
    """All ranks bit for bit, and one process nearly."""
    expected = plain[name]
    for result in ranks:
        assert result[name]["weights"].keys() == expected["weights"].keys()
        for key, value in expected["weights"].items():
            np.testing.assert_allclose(result[name]["weights"][key], value, rtol=0, atol=1e-6)
            assert (result[name]["weights"][key] == ranks[0][name]["weights"][key]).all()
        assert result[name].get("metrics") == pytest.approx(expected.get("metrics"), abs=1e-4)


@every_rank
def test_the_mean_of_the_ranks_losses_is_the_loss_of_one_process(
    ranks: list[dict[str, Any]], plain: dict[str, Any]
) -> None:
    losses = [result["momentum"]["losses"] for result in ranks]
    n_rows = [len(part) for part in np.array_split(range(8), len(ranks))]
    np.testing.assert_allclose(np.average(losses, axis=0, weights=n_rows), plain["momentum"]["losses"], atol=1e-6)
    assert losses[0] != losses[1]
