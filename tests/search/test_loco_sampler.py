from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from search_contracts import SamplerContract, run_in_sequence

from lagom_magic.errors import ConfigError
from lagom_magic.events.facts import TrialState
from lagom_magic.search.base import EXHAUSTED, WAIT, Direction, Suggestion
from lagom_magic.search.loco_sampler import LocoSampler
from lagom_magic.spec.space import Categorical, Int, Searchspace
from lagom_magic.statistics.paired import difference

COMPLETE, FAILED = TrialState.COMPLETE, TrialState.FAILED
#: Component and repeat → the metric; None = it fails.
Outcome = Callable[[str, int], float | None]


class TestLocoSampler(SamplerContract):
    """With so many repeats that the contract never comes to their end; seeds are the trials', not its own."""

    uses_seed = False
    space = Searchspace(component=Categorical(["baseline", "a", "b", "a + b"]), repeat=Int(0, 999))

    def make(self, space: Searchspace, direction: Direction = "max", seed: int | None = 1) -> LocoSampler:
        return LocoSampler(["a", "b", "a + b"], repeats=1000, direction=direction)

    @pytest.mark.parametrize("direction", ["max", "min"])
    def test_a_finite_space_smaller_than_the_number_of_trials_is_searched(self, direction: Direction) -> None:
        """Its space is its own: each component's each repeat, once."""
        asked = run_in_sequence(LocoSampler(["a", "b"], repeats=3, direction=direction), self.n_trials)
        assert sorted(map(str, asked)) == sorted(
            str({"component": component, "repeat": repeat})
            for component in ("baseline", "a", "b")
            for repeat in range(3)
        )


class TestLocoSamplerUntilWidth(TestLocoSampler):
    def make(self, space: Searchspace, direction: Direction = "max", seed: int | None = 1) -> LocoSampler:
        return LocoSampler(["a", "b", "a + b"], repeats=2, direction=direction, until_width=1e-9, max_trials=1000)


def loco(components: Sequence[str] = "ab", repeats: int = 2, **options: Any) -> LocoSampler:
    return LocoSampler(list(components), repeats=repeats, **{"direction": "max", **options})


def ask(sampler: LocoSampler, trial_id: int) -> tuple[str, int]:
    suggestion = sampler.ask(trial_id)
    assert isinstance(suggestion, Suggestion)
    return suggestion.hparams["component"], suggestion.hparams["repeat"]


def run(sampler: LocoSampler, outcome: Outcome, n_workers: int = 1) -> list[tuple[str, int]]:
    """Ask until it has no more, with so many trials at a time, each as long as the others; what was asked."""
    asked: list[tuple[str, int]] = []
    in_flight: list[int] = []
    while True:
        answer = sampler.ask(len(asked)) if len(in_flight) < n_workers else WAIT
        if isinstance(answer, Suggestion):
            assert list(answer.hparams) == ["component", "repeat"]
            assert answer.seed_id == answer.hparams["repeat"]
            in_flight.append(len(asked))
            asked.append((answer.hparams["component"], answer.hparams["repeat"]))
            assert len(asked) <= 5000
        elif in_flight:
            trial_id = in_flight.pop(0)
            value = outcome(*asked[trial_id])
            sampler.tell(trial_id, FAILED if value is None else COMPLETE, value)
        else:
            assert answer is EXHAUSTED
            return asked


def noisy(effects: dict[str, float], noise: dict[str, float], seed: int = 0) -> Outcome:
    """The effect, a part that all components share in a repeat, and noise of the component's own."""

    def outcome(component: str, repeat: int) -> float:
        shared = random.Random(repeat).gauss(0, 0.05)
        own = random.Random(f"{component} {repeat} {seed}").gauss(0, noise.get(component, 0.0))
        return 0.9 + effects.get(component, 0.0) + shared + own

    return outcome


def widths(asked: list[tuple[str, int]], outcome: Outcome) -> dict[str, float | None]:
    of = {component: [r for c, r in asked if c == component] for component, _ in asked}
    return {
        component: difference(
            [(outcome(component, r) or 0.0, outcome("baseline", r) or 0.0) for r in repeats if r in of["baseline"]]
        ).width
        for component, repeats in of.items()
        if component != "baseline"
    }


def test_repeat_by_repeat_the_baseline_first() -> None:
    assert run(loco(), lambda *_: 0.5) == [
        ("baseline", 0),
        ("a", 0),
        ("b", 0),
        ("baseline", 1),
        ("a", 1),
        ("b", 1),
    ]


def test_a_repeat_has_the_same_seed_for_every_component() -> None:
    sampler = loco()
    seeds = [sampler.ask(trial_id).seed_id for trial_id in range(6)]  # type: ignore[union-attr]
    assert seeds == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("n_workers", [1, 2, 5, 16])
def test_every_repeat_runs_once_however_many_workers_there_are(n_workers: int) -> None:
    asked = run(loco("abcde", repeats=4), lambda *_: 0.5, n_workers)
    assert len(asked) == len(set(asked)) == 24


def test_it_knows_how_many_trials_there_are() -> None:
    assert loco().n_trials == 6
    assert loco(max_trials=4).n_trials == 4
    assert loco(max_trials=40).n_trials == 6
    assert loco(until_width=0.1).n_trials == 24
    assert loco(until_width=0.1, max_trials=9).n_trials == 9


def test_max_trials_ends_it_within_the_planned_repeats() -> None:
    assert len(run(loco(max_trials=4), lambda *_: 0.5)) == 4


def test_a_component_that_fails_twice_gets_no_further_repeats_and_the_others_do() -> None:
    asked = run(loco(repeats=5), lambda component, _: None if component == "a" else 0.5)
    assert Counter(component for component, _ in asked) == {"baseline": 5, "a": 2, "b": 5}


def test_one_unlucky_seed_does_not_end_a_component() -> None:
    asked = run(loco(repeats=3), lambda component, repeat: None if (component, repeat) == ("a", 0) else 0.5)
    assert Counter(component for component, _ in asked) == {"baseline": 3, "a": 3, "b": 3}


def test_a_component_that_failed_once_but_works_gets_all_its_repeats() -> None:
    asked = run(loco(repeats=3), lambda component, repeat: None if (component, repeat) == ("a", 1) else 0.5)
    assert Counter(component for component, _ in asked) == {"baseline": 3, "a": 3, "b": 3}


def test_a_failed_baseline_does_not_end_the_study() -> None:
    asked = run(loco(repeats=3), lambda component, _: None if component == "baseline" else 0.5)
    assert len(asked) == 9


def test_while_a_barred_components_other_repeat_runs_it_may_still_get_more() -> None:
    sampler = loco("a", repeats=4)
    assert [ask(sampler, trial_id) for trial_id in range(6)][5] == ("a", 2)
    sampler.tell(1, FAILED, None)
    sampler.tell(3, FAILED, None)
    assert ask(sampler, 6) == ("baseline", 3)
    assert sampler.ask(7) is WAIT
    sampler.tell(5, COMPLETE, 0.5)
    assert ask(sampler, 7) == ("a", 3)
    assert sampler.ask(8) is EXHAUSTED


def test_a_component_whose_retry_works_gets_the_repeats_that_it_was_denied() -> None:
    sampler = loco("ab", repeats=3)
    for trial_id in range(6):
        ask(sampler, trial_id)
    sampler.tell(1, FAILED, None)
    sampler.tell(4, FAILED, None)
    assert [ask(sampler, 6), ask(sampler, 7)] == [("baseline", 2), ("b", 2)]
    assert sampler.ask(8) is WAIT
    sampler.tell_again(1, COMPLETE, 0.5)
    assert ask(sampler, 8) == ("a", 2)


def test_further_repeats_go_to_the_widest_interval_until_all_are_narrow() -> None:
    outcome = noisy({"a": -0.1}, {"a": 0.001, "b": 0.02, "c": 0.001})
    sampler = loco("abc", repeats=3, until_width=0.03, max_trials=400)
    asked = run(sampler, outcome)
    assert asked[:12] == [(component, repeat) for repeat in range(3) for component in ("baseline", "a", "b", "c")]
    counts = Counter(component for component, _ in asked)
    assert counts["a"] == counts["c"] == 3
    assert counts["baseline"] == counts["b"] > 5
    assert all(width is not None and width <= 0.03 for width in widths(asked, outcome).values())
    assert len(asked) < 400


def test_the_baselines_repeat_comes_before_the_one_that_needs_it_and_serves_all() -> None:
    outcome = noisy({}, {"a": 0.02, "b": 0.02})
    asked = run(loco("ab", repeats=3, until_width=0.03, max_trials=400), outcome)
    for position, (component, repeat) in enumerate(asked):
        assert component == "baseline" or ("baseline", repeat) in asked[:position]
    assert len(asked) == len(set(asked))


def test_it_stops_at_the_budget_when_the_width_is_out_of_reach() -> None:
    outcome = noisy({}, {"a": 0.2, "b": 0.2})
    assert len(run(loco(repeats=3, until_width=1e-6, max_trials=50), outcome)) == 50
    assert len(run(loco(repeats=3, until_width=1e-6), outcome)) == 4 * 9


@pytest.mark.parametrize("n_workers", [2, 4])
def test_several_workers_reach_the_width_with_little_more_than_one_needs(n_workers: int) -> None:
    outcome = noisy({}, {"a": 0.02, "b": 0.001})
    alone = run(loco(repeats=3, until_width=0.03, max_trials=400), outcome)
    together = run(loco(repeats=3, until_width=0.03, max_trials=400), outcome, n_workers)
    assert all(width is not None and width <= 0.03 for width in widths(together, outcome).values())
    assert len(together) <= len(alone) + 2 * n_workers


def test_no_worker_idles_while_the_width_is_far() -> None:
    sampler = loco("ab", repeats=2, until_width=1e-6, max_trials=100)
    outcome = noisy({}, {"a": 0.2, "b": 0.1})
    for trial_id in range(6):
        sampler.tell(trial_id, COMPLETE, outcome(*ask(sampler, trial_id)))
    asked = [ask(sampler, trial_id) for trial_id in range(6, 14)]
    assert asked[0] == ("baseline", 2)
    assert {component for component, _ in asked} == {"baseline", "a", "b"}


def test_one_planned_repeat_becomes_two_before_a_width_is_known() -> None:
    outcome = noisy({"a": -0.3}, {"a": 0.0001, "b": 0.0001})
    asked = run(loco(repeats=1, until_width=0.5), outcome)
    assert Counter(component for component, _ in asked) == {"baseline": 2, "a": 2, "b": 2}


def test_a_component_that_gives_no_numbers_does_not_eat_the_budget() -> None:
    def outcome(component: str, repeat: int) -> float | None:
        return None if component == "a" and repeat != 2 else noisy({}, {})(component, repeat)

    asked = run(loco(repeats=3, until_width=0.01, max_trials=300), outcome)
    assert Counter(component for component, _ in asked)["a"] == 2
    asked = run(
        loco(repeats=3, until_width=0.01, max_trials=300),
        lambda component, repeat: None if component == "baseline" else noisy({}, {"a": 0.5})(component, repeat),
    )
    assert len(asked) == 9


def test_a_repeat_whose_baseline_failed_is_passed_over() -> None:
    normal = noisy({}, {"a": 0.02})

    def outcome(component: str, repeat: int) -> float | None:
        return None if (component, repeat) in [("baseline", 3), ("baseline", 5)] else normal(component, repeat)

    asked = run(loco("a", repeats=3, until_width=0.03, max_trials=200), outcome)
    repeats = [repeat for component, repeat in asked if component == "a"]
    assert {3, 5}.isdisjoint(repeats)
    assert len(repeats) > 5


def test_equal_differences_by_chance_are_no_narrow_interval() -> None:
    table = {("baseline", 0): 0.97, ("baseline", 1): 0.975, ("a", 0): 0.965, ("a", 1): 0.97}
    sampler = loco("a", repeats=2, until_width=0.001, max_trials=8)
    for trial_id in range(4):
        sampler.tell(trial_id, COMPLETE, table[ask(sampler, trial_id)])
    assert ask(sampler, 4) == ("baseline", 2)


def test_an_ask_stays_cheap_with_many_components_and_repeats() -> None:
    sampler = loco([f"c{k}" for k in range(100)], repeats=20, until_width=1e-9, max_trials=3000)
    outcome = noisy({}, {f"c{k}": 0.1 for k in range(100)})
    costs_s = []
    for trial_id in range(3000):
        began = time.process_time()
        suggestion = sampler.ask(trial_id)
        costs_s.append(time.process_time() - began)
        assert isinstance(suggestion, Suggestion)
        sampler.tell(trial_id, COMPLETE, outcome(**suggestion.hparams))
    assert sorted(costs_s)[1500] < 1e-3
    assert sum(costs_s[2020:]) / 980 < 2e-3


@pytest.mark.parametrize(
    ("components", "options", "message"),
    [
        (["a", "a"], {}, "component 'a' is there twice"),
        (["a", "baseline"], {}, "component 'baseline' is there twice"),
        ([], {}, "needs a component to leave out"),
        (["a"], {"repeats": 0}, "--repeats takes a whole number from 1, not 0"),
        (["a"], {"until_width": 0.0}, "--until-width takes a number > 0"),
        (["a"], {"until_width": float("nan")}, "--until-width takes a number > 0"),
        (["a"], {"max_trials": 0}, "takes a number of trials from 1, not 0"),
    ],
)
def test_what_cannot_work_is_refused(components: list[str], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LocoSampler(components, **{"repeats": 2, "direction": "max", **options})
