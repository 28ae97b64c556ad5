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


@pytest.fixture(
    scope="module", params=[("ddp", 2), ("ddp", 3), ("fsdp", 2), ("fsdp", 3)], ids=lambda p: f"{p[0]}-{p[1]}"
)
def ranks(request: pytest.FixtureRequest) -> tuple[str, list[dict[str, Any]]]:
    strategy, world_size = request.param
    settings = {"framework": "torch", "strategy": strategy, "collective_timeout_s": 60}
    results = run_ranks(
        torch_functions.all_of,
        {"module": torch_functions.build},
        world_size=world_size,
        settings=settings,
        arguments={"cases": CASES[strategy]},
    )
    return strategy, results


@pytest.mark.parametrize("case", CASES["ddp"], ids=lambda case: case.__name__)
def test_ranks_end_with_the_weights_of_one_process(
    case: Callable[..., Any], ranks: tuple[str, list[dict[str, Any]]], plain: dict[str, Any]
) -> None:
    strategy, results = ranks
    name = case.__name__
    if case not in CASES[strategy]:
        return
    expected = plain[name]
    for result in results:
        assert result[name]["weights"].keys() == expected["weights"].keys()
        for key, value in expected["weights"].items():
            np.testing.assert_allclose(result[name]["weights"][key], value, rtol=0, atol=1e-6)
            assert (result[name]["weights"][key] == results[0][name]["weights"][key]).all()
        assert result[name].get("metrics") == pytest.approx(expected.get("metrics"), abs=1e-4)


def test_the_mean_of_the_ranks_losses_is_the_loss_of_one_process(
    ranks: tuple[str, list[dict[str, Any]]], plain: dict[str, Any]
) -> None:
    _, results = ranks
    losses = [result["momentum"]["losses"] for result in results]
    n_rows = [len(part) for part in np.array_split(range(8), len(results))]
    np.testing.assert_allclose(np.average(losses, axis=0, weights=n_rows), plain["momentum"]["losses"], atol=1e-6)
    assert losses[0] != losses[1]
