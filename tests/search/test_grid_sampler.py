import pytest
from search_contracts import FINITE, SamplerContract

from lagom_magic.errors import ConfigError
from lagom_magic.search.base import EXHAUSTED
from lagom_magic.search.grid_sampler import GridSampler
from lagom_magic.spec.space import Categorical, Float, Int, Ordinal, Searchspace


class TestGridSampler(SamplerContract):
    uses_seed = False
    space = Searchspace(
        width=Int(8, 32, step=8),
        dropout=Float(0, 0.5, step=0.1),
        optimizer=Categorical(["adam", "sgd", None]),
        momentum=Float(0, 0.9, step=0.3, when={"optimizer": "sgd"}),
    )

    def make(self, space, direction="max", seed=1):
        return GridSampler(space)


def points(space: Searchspace) -> list[dict]:
    sampler = GridSampler(space)
    return [sampler.ask(trial_id).hparams for trial_id in range(sampler.n_trials)]


def test_the_last_hyperparameter_varies_fastest() -> None:
    assert points(Searchspace(a=Ordinal([1, 2]), b=Categorical(["x", "y"]))) == [
        {"a": 1, "b": "x"},
        {"a": 1, "b": "y"},
        {"a": 2, "b": "x"},
        {"a": 2, "b": "y"},
    ]


def test_a_condition_adds_no_duplicates() -> None:
    found = points(FINITE)
    assert len(found) == 6
    assert len({tuple(point.items()) for point in found}) == 6


def test_it_knows_how_many_trials_there_are_and_then_has_no_more() -> None:
    sampler = GridSampler(Searchspace(n=Int(1, 3)))
    assert sampler.n_trials == 3
    assert sampler.ask(3) is EXHAUSTED


def test_an_empty_space_is_one_point() -> None:
    assert points(Searchspace()) == [{}]


def test_a_suggestion_can_be_changed_without_changing_the_grid() -> None:
    sampler = GridSampler(Searchspace(n=Int(1, 3)))
    sampler.ask(0).hparams["n"] = 99
    assert sampler.ask(0).hparams == {"n": 1}


def test_a_float_without_step_is_refused_with_the_remedy() -> None:
    with pytest.raises(ConfigError, match=r"lr = Float\(0\.001, 0\.1\) .* step=…"):
        GridSampler(Searchspace(lr=Float(1e-3, 0.1)))


def test_a_huge_product_is_refused_at_once_with_its_sizes() -> None:
    with pytest.raises(ConfigError, match=r"a 10000 × b 10000 are more than 100,000 points"):
        GridSampler(Searchspace(a=Int(1, 10_000), b=Int(1, 10_000)))
