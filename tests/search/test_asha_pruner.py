import math
import random

import optuna
import pytest
from search_contracts import PrunerContract

from lagom_magic.errors import ConfigError
from lagom_magic.events.facts import TrialState
from lagom_magic.search.asha_pruner import AshaPruner
from lagom_magic.search.optuna_pruner import OptunaPruner


class TestAshaPruner(PrunerContract):
    def make(self, direction):
        return AshaPruner(direction)


class TestAshaPrunerWithAKnownLadder(PrunerContract):
    def make(self, direction):
        return AshaPruner(direction, reduction_factor=3, min_step=1)


def test_a_trial_below_the_top_share_stops_at_the_rung() -> None:
    pruner = AshaPruner("max", reduction_factor=2, min_step=2)
    assert not pruner.report(0, 2, 0.5)
    assert not pruner.report(1, 1, 0.0)
    assert pruner.report(1, 2, 0.4)


def test_between_rungs_nothing_is_pruned() -> None:
    pruner = AshaPruner("max", reduction_factor=4, min_step=1)
    pruner.report(0, 1, 0.5)
    assert not pruner.report(1, 1, 0.6)
    assert not any(pruner.report(1, step, 0.0) for step in (2, 3))


def test_one_report_beyond_several_rungs_enters_them_all() -> None:
    pruner = AshaPruner("max", reduction_factor=2, min_step=1)
    pruner.report(0, 1, 0.1)
    pruner.report(0, 9, 0.9)
    assert pruner.report(1, 9, 0.5)  # best of rung 1, but not of rung 2


def test_a_nan_at_a_rung_prunes_even_the_first_trial() -> None:
    assert AshaPruner("max", min_step=1).report(0, 1, math.nan)


def test_auto_waits_for_the_first_complete_trial() -> None:
    pruner = AshaPruner("max", reduction_factor=2)
    for step in range(160):
        assert not pruner.report(0, step, 0.9)
        assert not pruner.report(1, step, 0.1)
    pruner.end(2, TrialState.FAILED)
    assert pruner.min_step is None
    pruner.end(0, TrialState.COMPLETE)
    assert pruner.min_step == 9  # 159 // 2**4


def test_auto_places_the_trials_of_before_on_the_ladder() -> None:
    pruner = AshaPruner("max", reduction_factor=2)
    for step in range(32):
        pruner.report(0, step, 0.9)
        pruner.report(1, min(step, 20), 0.1)
        pruner.report(2, min(step, 20), 0.95)
    pruner.end(0, TrialState.COMPLETE)
    assert pruner.report(1, 21, 0.1)
    assert not pruner.report(2, 21, 0.95)
    assert pruner.report(3, 1, 0.5)


def test_a_known_length_prunes_from_the_first_trial_on() -> None:
    pruner = AshaPruner("max", max_step=32)
    assert pruner.min_step == 2
    pruner.report(0, 2, 0.9)
    assert pruner.report(1, 2, 0.1)


def test_a_long_curve_before_the_first_complete_trial_takes_little_memory() -> None:
    pruner = AshaPruner("max")
    for step in range(100_000):
        pruner.report(0, step, 0.5)
    assert len(pruner._progress[0].history) < 1000


def test_ended_trials_leave_nothing_but_their_scores() -> None:
    pruner = AshaPruner("max")
    for trial_id in range(50):
        for step in range(20):
            if pruner.report(trial_id, step, trial_id % 7):
                break
        pruner.end(trial_id, TrialState.COMPLETE)
    assert pruner._progress == {}


@pytest.mark.parametrize("options", [{"reduction_factor": 1}, {"min_step": 0}, {"min_step": "most"}])
def test_options_without_a_meaning_are_refused(options) -> None:
    with pytest.raises(ConfigError, match="asha"):
        AshaPruner("max", **options)


@pytest.mark.parametrize("direction", ["max", "min"])
@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("first_step", [0, 1])
def test_it_agrees_with_optunas_successive_halving(direction, factor, first_step) -> None:
    rng = random.Random(factor)
    curves = [[rng.random() for _ in range(30)] for _ in range(60)]
    theirs = OptunaPruner(optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=factor), direction)
    ours = AshaPruner(direction, reduction_factor=factor, min_step=1)
    lengths = PrunerContract.run(None, ours, curves, first_step)
    assert lengths == PrunerContract.run(None, theirs, curves, first_step)
    assert len(set(lengths)) >= 3


def test_it_agrees_with_optunas_when_trials_run_side_by_side() -> None:
    rng = random.Random(1)
    ours = AshaPruner("max", reduction_factor=2, min_step=1)
    theirs = OptunaPruner(optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2), "max")
    running, n_started = {}, 0
    for _ in range(600):
        if len(running) < 4:
            running[n_started] = 0
            n_started += 1
        trial_id = rng.choice(list(running))
        running[trial_id] += 1
        value = rng.random()
        verdict = ours.report(trial_id, running[trial_id], value)
        assert verdict == theirs.report(trial_id, running[trial_id], value)
        if verdict or running[trial_id] == 20:
            del running[trial_id]
            for pruner in (ours, theirs):
                pruner.end(trial_id, TrialState.PRUNED if verdict else TrialState.COMPLETE)
    assert n_started > 50
