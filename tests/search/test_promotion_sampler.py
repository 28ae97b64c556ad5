import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_contracts import FINITE, MIXED, SamplerContract

from lagom_magic.errors import ConfigError
from lagom_magic.events.facts import TrialState
from lagom_magic.search.base import EXHAUSTED, WAIT, Sampler, Suggestion
from lagom_magic.search.grid_sampler import GridSampler
from lagom_magic.search.promotion_sampler import PromotionSampler
from lagom_magic.search.random_sampler import RandomSampler
from lagom_magic.spec.space import Int, Searchspace


def promoting(inner, direction="max", **options) -> PromotionSampler:
    return PromotionSampler(inner, direction, **{"reduction_factor": 2, "min_budget": 1, "max_budget": 4, **options})


class TestPromotionSampler(SamplerContract):
    def make(self, space, direction="max", seed=1):
        return promoting(RandomSampler(space, seed), direction)


class Listening(Sampler):
    """Suggests its own trial id and remembers what it is told."""

    def __init__(self) -> None:
        self.told = []

    def ask(self, trial_id):
        return Suggestion({"i": trial_id})

    def tell(self, trial_id, state, value):
        self.told.append((trial_id, state, value))

    def tell_again(self, trial_id, state, value):
        self.told.append((trial_id, "again", value))


def evaluate(sampler: PromotionSampler, trial_id: int, value: float | None) -> tuple[dict, int]:
    suggestion = sampler.ask(trial_id)
    state = TrialState.FAILED if value is None else TrialState.COMPLETE
    sampler.tell(trial_id, state, value)
    return suggestion.hparams, suggestion.budget


def test_the_best_of_a_rung_runs_again_with_the_next_budget() -> None:
    sampler = promoting(Listening())
    assert evaluate(sampler, 0, 0.1) == ({"i": 0}, 1)
    assert evaluate(sampler, 1, 0.9) == ({"i": 1}, 1)
    assert evaluate(sampler, 2, 0.9) == ({"i": 1}, 2)
    assert evaluate(sampler, 3, 0.8) == ({"i": 2}, 1)


def test_the_smallest_loss_is_promoted_when_minimising() -> None:
    sampler = promoting(Listening(), "min")
    evaluate(sampler, 0, 0.1)
    evaluate(sampler, 1, 0.9)
    assert evaluate(sampler, 2, 0.1) == ({"i": 0}, 2)


def test_the_highest_rung_that_has_a_candidate_goes_first() -> None:
    sampler = promoting(Listening())
    budgets = [evaluate(sampler, trial_id, 0.5)[1] for trial_id in range(12)]
    assert budgets.count(1) > budgets.count(2) > budgets.count(4) >= 1


def test_the_largest_budget_is_the_one_named_although_the_ladder_ends_short_of_it() -> None:
    sampler = promoting(Listening(), max_budget=20)
    assert max(evaluate(sampler, trial_id, 0.5)[1] for trial_id in range(60)) == 20


def test_the_inner_sampler_learns_each_configuration_once_at_its_lowest_budget() -> None:
    inner = Listening()
    sampler = promoting(inner)
    for trial_id, value in enumerate((0.1, None, 0.3, 0.7, 0.2)):
        evaluate(sampler, trial_id, value)
    told = [(trial_id, value) for trial_id, _, value in inner.told]
    assert told == [(0, 0.1), (1, None), (2, 0.3), (3, 0.2)]


def test_a_failed_trial_is_not_promoted() -> None:
    sampler = promoting(Listening())
    for trial_id in range(6):
        assert evaluate(sampler, trial_id, None)[1] == 1


def test_it_waits_while_running_trials_may_still_be_promoted_and_then_is_through() -> None:
    sampler = promoting(GridSampler(Searchspace(n=Int(1, 2))), max_budget=2)
    sampler.ask(0)
    sampler.ask(1)
    assert sampler.ask(2) is WAIT
    sampler.tell(0, TrialState.COMPLETE, 0.5)
    assert sampler.ask(2) is WAIT
    sampler.tell(1, TrialState.COMPLETE, 0.7)
    assert sampler.ask(2) == Suggestion({"n": 2}, 2)
    assert sampler.ask(3) is WAIT
    sampler.tell(2, TrialState.COMPLETE, 0.7)
    assert sampler.ask(3) is EXHAUSTED


def test_brackets_start_configurations_at_different_budgets() -> None:
    sampler = promoting(Listening(), n_brackets=3)
    first_budgets = {}
    for trial_id in range(30):
        hparams, budget = evaluate(sampler, trial_id, random.Random(trial_id).random())
        first_budgets.setdefault(hparams["i"], budget)
    assert set(first_budgets.values()) == {1, 2, 4}


def test_an_impossible_ladder_is_refused() -> None:
    with pytest.raises(ConfigError, match="rungs from 4 to 2"):
        promoting(RandomSampler(MIXED, 1), min_budget=4, max_budget=2)


@settings(max_examples=50)
@given(st.integers(1, 6), st.integers(2, 4), st.integers(1, 3), st.randoms(use_true_random=False))
def test_any_order_of_ends_promotes_a_configuration_at_most_once_a_rung(n_workers, factor, n_brackets, rng) -> None:
    sampler = promoting(GridSampler(FINITE), reduction_factor=factor, max_budget=9, n_brackets=n_brackets)
    seen, running, next_id, answer = [], {}, 0, None
    while answer is not EXHAUSTED:
        answer = sampler.ask(next_id)
        if isinstance(answer, Suggestion):
            seen.append((tuple(answer.hparams.items()), answer.budget))
            running[next_id] = answer
            next_id += 1
        if running and (answer is WAIT or len(running) == n_workers):
            ended = rng.choice(list(running))
            del running[ended]
            state = rng.choice([TrialState.COMPLETE, TrialState.COMPLETE, TrialState.FAILED])
            sampler.tell(ended, state, rng.random())
    assert not running
    assert len(set(seen)) == len(seen)
    assert len({hparams for hparams, _ in seen}) == 6


def test_a_retried_evaluation_enters_its_rung_and_may_be_promoted() -> None:
    inner = Listening()
    sampler = promoting(inner)
    evaluate(sampler, 0, None)
    evaluate(sampler, 1, 0.5)
    sampler.tell_again(0, TrialState.FAILED, None)
    sampler.tell_again(0, TrialState.COMPLETE, 0.9)
    sampler.tell_again(0, TrialState.COMPLETE, 0.8)
    sampler.tell_again(1, TrialState.COMPLETE, 0.8)
    assert evaluate(sampler, 2, None) == ({"i": 0}, 2)
    sampler.tell_again(2, TrialState.COMPLETE, 0.9)  # at a higher rung: nothing new for the inner sampler
    assert inner.told == [
        (0, TrialState.FAILED, None),
        (1, TrialState.COMPLETE, 0.5),
        (0, "again", None),
        (0, "again", 0.9),
    ]
