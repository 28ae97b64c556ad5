from hypothesis import given, settings
from hypothesis import strategies as st
from search_contracts import MIXED, SamplerContract

from lagom_magic.search.random_sampler import RandomSampler
from lagom_magic.spec.space import Searchspace


class TestRandomSampler(SamplerContract):
    def make(self, space, direction="max", seed=1):
        return RandomSampler(space, seed)


@settings(max_examples=50)
@given(st.permutations(range(12)), st.integers(0, 2**63))
def test_a_trials_values_depend_on_seed_and_id_only(order, seed) -> None:
    dense = [RandomSampler(MIXED, seed).ask(trial_id) for trial_id in range(12)]
    shuffled = RandomSampler(MIXED, seed)
    assert {trial_id: shuffled.ask(trial_id) for trial_id in order} == dict(enumerate(dense))


def test_without_a_seed_two_searches_differ() -> None:
    assert RandomSampler(MIXED).ask(0) != RandomSampler(MIXED).ask(0)


def test_an_empty_space_suggests_nothing() -> None:
    assert RandomSampler(Searchspace(), 1).ask(0).hparams == {}
