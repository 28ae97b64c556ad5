import pytest
from search_contracts import PrunerContract

from lagom_magic.errors import ConfigError
from lagom_magic.search.hyperband_pruner import HyperbandPruner


class TestHyperbandPruner(PrunerContract):
    def make(self, direction):
        return HyperbandPruner(direction)


def test_brackets_begin_to_prune_at_different_rungs() -> None:
    pruner = HyperbandPruner("max", reduction_factor=2, min_step=1, n_brackets=3)
    curves = [[0.9] * 16] * 20 + [[0.1] * 16] * 20
    lengths = PrunerContract.run(None, pruner, curves, first_step=1)
    assert set(lengths[20:]) == {1, 2, 4}


def test_one_complete_trial_teaches_its_length_to_all_brackets() -> None:
    pruner = HyperbandPruner("max", reduction_factor=2)
    curves = [[0.9] * 33] * 6 + [[0.1] * 33] * 20
    lengths = PrunerContract.run(None, pruner, curves)
    assert max(lengths[10:]) < 33


def test_without_brackets_there_is_no_hyperband() -> None:
    with pytest.raises(ConfigError, match="n_brackets"):
        HyperbandPruner("max", n_brackets=0)
