from search_contracts import MIXED, SamplerContract

from lagom_magic.search.qmc_sampler import QmcSampler
from lagom_magic.spec.space import Categorical, Float, Searchspace


class TestQmcSampler(SamplerContract):
    def make(self, space, direction="max", seed=1):
        return QmcSampler(space, seed)


def test_a_point_belongs_to_its_trial_id_in_any_order() -> None:
    dense = [QmcSampler(MIXED, 5).ask(trial_id) for trial_id in range(130)]
    late = QmcSampler(MIXED, 5)
    assert [late.ask(trial_id) for trial_id in reversed(range(130))] == dense[::-1]


def test_points_cover_the_space_evenly() -> None:
    sampler = QmcSampler(Searchspace(x=Float(0, 1), kind=Categorical(["a", "b"])), 2)
    points = [sampler.ask(trial_id).hparams for trial_id in range(32)]
    for kind in ("a", "b"):
        quarters = [int(point["x"] * 4) for point in points if point["kind"] == kind]
        assert [quarters.count(quarter) for quarter in range(4)] == [4, 4, 4, 4]


def test_without_a_seed_two_searches_differ() -> None:
    assert QmcSampler(MIXED).ask(0) != QmcSampler(MIXED).ask(0)
