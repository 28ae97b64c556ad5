import math
import random

import optuna
import pytest
from search_contracts import MIXED, SamplerContract, run_in_sequence

from lagom_magic.events.facts import TrialState
from lagom_magic.search.base import EXHAUSTED, Suggestion
from lagom_magic.search.optuna_sampler import OptunaSampler, cmaes, gp, tpe
from lagom_magic.spec.space import Categorical, Float, Ordinal, Searchspace


class TestTpe(SamplerContract):
    def make(self, space, direction="max", seed=1):
        return OptunaSampler(tpe(space, seed), space, direction)


class TestGp(SamplerContract):
    n_trials = 12
    space = Searchspace(lr=Float(1e-5, 1e-1, log=True), optimizer=Categorical(["adam", "sgd"]), batch=Ordinal([16, 32]))

    def make(self, space, direction="max", seed=1):
        return OptunaSampler(gp(seed), space, direction)


class TestCmaes(SamplerContract):
    n_trials = 30

    def make(self, space, direction="max", seed=1):
        return OptunaSampler(cmaes(space, seed), space, direction)


class TestAnySamplerOfOptunas(SamplerContract):
    def make(self, space, direction="max", seed=1):
        return OptunaSampler(optuna.samplers.RandomSampler(seed=seed), space, direction)


X = Searchspace(x=Float(-5, 5), y=Float(-5, 5))


@pytest.mark.parametrize(
    ("make", "direction"),
    [(tpe, "max"), (tpe, "min"), (cmaes, "max"), (cmaes, "min"), (lambda space, seed: gp(seed), "min")],
    ids=["tpe-max", "tpe-min", "cmaes-max", "cmaes-min", "gp-min"],
)
def test_it_moves_towards_the_optimum(make, direction) -> None:
    sampler = OptunaSampler(make(X, 0), X, direction)
    sign = 1 if direction == "min" else -1
    distances = []
    for trial_id in range(20):
        point = sampler.ask(trial_id).hparams
        distances.append((point["x"] - 2) ** 2 + (point["y"] + 3) ** 2)
        sampler.tell(trial_id, TrialState.COMPLETE, sign * distances[-1])
    assert sum(distances[-6:]) < sum(distances[:6]) / 2


def test_states_values_and_numbers_arrive_in_the_study() -> None:
    sampler = OptunaSampler(optuna.samplers.RandomSampler(seed=0), X, "max")
    ends = [
        (TrialState.COMPLETE, 0.5),
        (TrialState.PRUNED, 0.2),
        (TrialState.PRUNED, None),
        (TrialState.FAILED, 0.9),
        (TrialState.STOPPED, 0.9),
        (TrialState.COMPLETE, None),
    ]
    for trial_id in range(len(ends)):
        sampler.ask(trial_id)
    for trial_id, (state, value) in reversed(list(enumerate(ends))):
        sampler.tell(trial_id, state, value)
    trials = sampler._study.get_trials()
    assert [(trial.number, trial.state.name, trial.value) for trial in trials] == [
        (0, "COMPLETE", 0.5),
        (1, "PRUNED", 0.2),
        (2, "PRUNED", None),
        (3, "FAIL", None),
        (4, "FAIL", None),
        (5, "FAIL", None),
    ]
    assert trials[1].intermediate_values == {1: 0.2}


def test_pruned_trials_can_be_told_as_complete_for_samplers_that_ignore_them() -> None:
    sampler = OptunaSampler(optuna.samplers.RandomSampler(seed=0), X, "max", pruned_are_complete=True)
    for trial_id, value in enumerate((0.25, None)):
        sampler.ask(trial_id)
        sampler.tell(trial_id, TrialState.PRUNED, value)
    trials = sampler._study.get_trials()
    assert [(trial.state.name, trial.value) for trial in trials] == [("COMPLETE", 0.25), ("PRUNED", None)]


def test_the_result_of_a_retried_trial_is_a_further_trial_with_the_same_suggestion() -> None:
    sampler = OptunaSampler(cmaes(X, 0), X, "max")
    ends = [(TrialState.FAILED, None), (TrialState.COMPLETE, 0.5), (TrialState.PRUNED, 0.2), (TrialState.STOPPED, 0.9)]
    for trial_id in range(8):
        sampler.ask(trial_id)
        sampler.tell(trial_id, TrialState.FAILED, None)
    for trial_id, (state, value) in enumerate(ends):
        sampler.tell_again(trial_id, state, value)
    sampler.tell_again(0, TrialState.COMPLETE, 0.7)  # its third attempt
    sampler.tell_again(1, TrialState.COMPLETE, 0.9)  # known as complete already
    trials = sampler._study.get_trials()
    assert [trial.state.name for trial in trials[:8]] == ["FAIL"] * 8
    assert [(trial.state.name, trial.value) for trial in trials[8:]] == [
        ("COMPLETE", 0.5),
        ("PRUNED", 0.2),
        ("COMPLETE", 0.7),
    ]
    assert [trial.params for trial in trials[8:]] == [trials[i].params for i in (1, 2, 0)]
    assert [trial.system_attrs for trial in trials[8:]] == [trials[i].system_attrs for i in (1, 2, 0)]


@pytest.mark.parametrize(
    ("make", "n_trials"), [(tpe, 40), (cmaes, 40), (lambda space, seed: gp(seed), 20)], ids=["tpe", "cmaes", "gp"]
)
def test_it_learns_from_retried_trials_as_from_others(make, n_trials: int) -> None:
    """Every trial fails first: without their further ends the search would stay random."""
    sampler = OptunaSampler(make(X, 0), X, "min")
    distances = []
    for trial_id in range(n_trials):
        point = sampler.ask(trial_id).hparams
        distances.append((point["x"] - 2) ** 2 + (point["y"] + 3) ** 2)
        sampler.tell(trial_id, TrialState.FAILED, None)
        sampler.tell_again(trial_id, TrialState.COMPLETE, distances[-1])
    assert sum(distances[-6:]) < sum(distances[:6]) / 2


def test_a_retried_trial_stays_in_sight_for_as_long_as_it_is_one_of_the_best() -> None:
    sampler = OptunaSampler(optuna.samplers.RandomSampler(seed=0), X, "max", history=10)
    sampler.ask(0)
    sampler.tell(0, TrialState.FAILED, None)
    for trial_id in range(1, 30):
        sampler.ask(trial_id)
        sampler.tell(trial_id, TrialState.COMPLETE, 0.0)
    sampler.tell_again(0, TrialState.COMPLETE, 1.0)
    for trial_id in range(30, 60):
        sampler.ask(trial_id)
        sampler.tell(trial_id, TrialState.COMPLETE, 0.0)
    assert 1.0 in [trial.value for trial in sampler._study.get_trials()]


def test_an_infinitely_bad_value_counts_as_the_worst_seen_and_an_infinitely_good_one_as_failed() -> None:
    sampler = OptunaSampler(optuna.samplers.RandomSampler(seed=0), X, "min")
    for trial_id, value in enumerate((math.inf, 3.0, 7.0, math.inf, -math.inf)):
        sampler.ask(trial_id)
        sampler.tell(trial_id, TrialState.COMPLETE, value)
    assert [trial.value for trial in sampler._study.get_trials()] == [None, 3.0, 7.0, 7.0, None]


def test_choices_with_an_order_are_a_scale_for_the_sampler() -> None:
    space = Searchspace(batch=Ordinal([16, 32, 64]))
    sampler = OptunaSampler(optuna.samplers.RandomSampler(seed=0), space, "max")
    assert sampler.ask(0).hparams["batch"] in (16, 32, 64)
    assert sampler._study.get_trials()[0].distributions["batch"] == optuna.distributions.IntDistribution(0, 2)


def test_choices_that_python_calls_equal_stay_apart() -> None:
    space = Searchspace(bias=Categorical([True, 1, 1.0, False]))
    sampler = OptunaSampler(optuna.samplers.RandomSampler(seed=0), space, "max")
    assert {type(hparams["bias"]) for hparams in run_in_sequence(sampler, 40)} == {bool, int, float}


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")  # who makes it is warned
def test_a_sampler_that_says_it_is_through_ends_the_search() -> None:
    space = Searchspace(a=Categorical([1, 2]), b=Categorical(["x", "y"]))
    sampler = OptunaSampler(optuna.samplers.BruteForceSampler(seed=0), space, "max")
    assert len({tuple(hparams.items()) for hparams in run_in_sequence(sampler, 50)}) == 4
    assert sampler.ask(50) is EXHAUSTED


def test_a_grid_of_optunas_sees_the_users_own_values() -> None:
    space = Searchspace(a=Categorical([1, 2]), b=Float(0, 1))
    grid = optuna.samplers.GridSampler({"a": [1, 2], "b": [0.25]})
    assert {tuple(h.values()) for h in run_in_sequence(OptunaSampler(grid, space, "max"), 9)} == {(1, 0.25), (2, 0.25)}


def test_cmaes_keeps_going_when_hyperparameters_come_and_go() -> None:
    """Optuna alone gives up CMA-ES for good at the first trial that lacks a conditional hyperparameter."""
    sampler = OptunaSampler(cmaes(MIXED, 0), MIXED, "max")
    rng = random.Random(0)
    for trial_id in range(30):
        sampler.ask(trial_id)
        sampler.tell(trial_id, TrialState.COMPLETE, rng.random())
    generations = [trial.system_attrs.get("cma:generation") for trial in sampler._study.get_trials()]
    assert all(generation is not None for generation in generations[1:])
    assert generations[-1] >= 2


@pytest.mark.parametrize("choices", [["a", "b", "c"]])
def test_cmaes_searches_a_space_without_numbers(choices) -> None:
    space = Searchspace(kind=Categorical(choices))
    asked = run_in_sequence(OptunaSampler(cmaes(space, 0), space, "max"), 12)
    assert {hparams["kind"] for hparams in asked} == set(choices)


@pytest.mark.parametrize("direction", ["max", "min"])
def test_a_bounded_history_shows_the_best_the_running_and_the_latest(direction) -> None:
    sampler = OptunaSampler(optuna.samplers.RandomSampler(seed=0), X, direction, history=10)
    for trial_id in range(100):
        sampler.ask(trial_id)
        if trial_id != 5:
            value = trial_id if direction == "min" else -trial_id
            sampler.tell(trial_id, TrialState.COMPLETE, value)
    assert [trial.number for trial in sampler._study.get_trials()] == [*range(26), *range(90, 100)]
    sampler.tell(5, TrialState.FAILED, None)
    assert 5 not in [trial.number for trial in sampler._study.get_trials()]


def test_running_trials_are_kept_away_from() -> None:
    """A batch asked in a row after a clear winner must not be the same point again and again."""
    sampler = OptunaSampler(tpe(X, 0), X, "max")
    for trial_id in range(15):
        point = sampler.ask(trial_id).hparams
        sampler.tell(trial_id, TrialState.COMPLETE, -abs(point["x"]) - abs(point["y"]))
    batch = [sampler.ask(trial_id) for trial_id in range(15, 20)]
    assert all(isinstance(suggestion, Suggestion) for suggestion in batch)
    assert len({suggestion.hparams["x"] for suggestion in batch}) == 5


def test_a_cmaes_that_is_resumed_knows_the_points_that_ended_out_of_order() -> None:
    space = Searchspace(x=Float(0.0, 1.0), y=Float(0.0, 1.0))

    def value(hparams: dict[str, float]) -> float:
        return -((hparams["x"] - 0.9) ** 2) - (hparams["y"] - 0.1) ** 2

    def make() -> OptunaSampler:
        return OptunaSampler(cmaes(space, 1), space, "max")

    live, resumed = make(), make()
    ahead = [live.ask(0)]  # two are in flight all the time
    resumed.ask(0)
    resumed.tell(0, TrialState.COMPLETE, 0.0)  # so that nothing later is as it was
    resumed = make()
    suggestions = {0: ahead[0]}
    for trial_id in range(1, 60):
        suggestions[trial_id] = live.ask(trial_id)
        before = suggestions[trial_id - 1]
        assert isinstance(before, Suggestion)
        live.tell(trial_id - 1, TrialState.COMPLETE, value(before.hparams))
        resumed.recall(trial_id - 1, before.hparams, None)
        resumed.tell(trial_id - 1, TrialState.COMPLETE, value(before.hparams))
    for trial_id in range(59, 64):
        suggestion = resumed.ask(trial_id)
        assert isinstance(suggestion, Suggestion)
        assert value(suggestion.hparams) > -0.1, suggestion
        resumed.tell(trial_id, TrialState.COMPLETE, value(suggestion.hparams))
