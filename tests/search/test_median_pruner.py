import math
import random
import tracemalloc

import optuna
import pytest
from search_contracts import PrunerContract

from lagom_magic.errors import ConfigError
from lagom_magic.events.facts import TrialState
from lagom_magic.search.median_pruner import MedianPruner
from lagom_magic.search.optuna_pruner import OptunaPruner


class TestMedianPruner(PrunerContract):
    def make(self, direction):
        return MedianPruner(direction, es_min=3)


def complete(pruner: MedianPruner, curves: list[list[float]]) -> None:
    for trial_id, curve in enumerate(curves):
        for step, value in enumerate(curve):
            pruner.report(trial_id, step, value)
        pruner.end(trial_id, TrialState.COMPLETE)


def test_a_trial_is_compared_with_the_median_of_running_averages() -> None:
    pruner = MedianPruner("max", es_min=3)
    complete(pruner, [[0.0, 0.2], [0.2, 0.6], [0.6, 1.0]])  # averages at step 1: 0.1, 0.4, 0.8
    assert not pruner.report(10, 1, 0.4)
    assert pruner.report(11, 1, 0.39)


def test_the_best_value_so_far_counts_and_not_the_last_one() -> None:
    pruner = MedianPruner("max", es_min=3)
    complete(pruner, [[0.5, 0.5]] * 3)
    assert not pruner.report(10, 0, 0.9)
    assert not pruner.report(10, 1, 0.1)


def test_nothing_is_pruned_before_es_min_trials_are_complete() -> None:
    pruner = MedianPruner("max", es_min=3)
    complete(pruner, [[0.5]] * 2)
    assert not pruner.report(10, 0, 0.0)
    complete(pruner, [[0.5]])
    assert pruner.report(11, 0, 0.0)


def test_pruned_and_failed_trials_are_no_measure() -> None:
    pruner = MedianPruner("max", es_min=1)
    for trial_id, state in enumerate((TrialState.PRUNED, TrialState.FAILED, TrialState.STOPPED)):
        pruner.report(trial_id, 0, 0.9)
        pruner.end(trial_id, state)
    assert not pruner.report(10, 0, 0.0)


def test_a_trial_is_judged_once_an_interval_even_when_its_steps_skip_the_multiples() -> None:
    pruner = MedianPruner("max", es_min=1, es_interval=3, warmup_steps=0)
    complete(pruner, [[0.5] * 9])
    verdicts = [pruner.report(10, step, 0.0) for step in (1, 2, 4, 5, 7)]
    assert verdicts == [True, False, True, False, True]


def test_the_first_tenth_of_a_complete_trial_is_spared() -> None:
    pruner = MedianPruner("max", es_min=1)
    complete(pruner, [[0.5] * 41])
    assert [pruner.report(10, step, 0.0) for step in range(6)] == [False, False, False, False, True, True]


def test_a_nan_is_worse_than_any_number_and_a_later_number_counts_again() -> None:
    pruner = MedianPruner("min", es_min=1, warmup_steps=0)
    complete(pruner, [[0.5, 0.5]])
    assert pruner.report(10, 0, math.nan)
    assert not pruner.report(10, 1, 0.4)


def test_a_step_that_nobody_reported_decides_nothing() -> None:
    pruner = MedianPruner("max", es_min=1, warmup_steps=0)
    complete(pruner, [[0.5] * 3])
    assert not pruner.report(10, 7, 0.0)


@pytest.mark.parametrize("options", [{"es_min": 0}, {"es_interval": 0}, {"warmup_steps": -1}, {"warmup_steps": "half"}])
def test_options_without_a_meaning_are_refused(options) -> None:
    with pytest.raises(ConfigError, match="median"):
        MedianPruner("max", **options)


@pytest.mark.parametrize("direction", ["max", "min"])
@pytest.mark.parametrize("seed", range(5))
def test_it_agrees_with_optunas_where_both_mean_the_same(direction, seed) -> None:
    """On flat curves a running average is the value itself, which is what Optuna compares with."""
    rng = random.Random(seed)
    curves = [[rng.random()] * 6 for _ in range(40)]
    theirs = optuna.pruners.MedianPruner(n_startup_trials=4, n_min_trials=4, interval_steps=2)
    ours = MedianPruner(direction, es_min=4, es_interval=2, warmup_steps=0)
    lengths = PrunerContract.run(None, ours, curves)
    assert lengths == PrunerContract.run(None, OptunaPruner(theirs, direction), curves)
    assert 10 < sum(length < 6 for length in lengths) < 36


@pytest.mark.parametrize("es_interval", [1, 3])
def test_long_trials_are_judged_in_bounded_memory(es_interval: int) -> None:
    pruner = MedianPruner("max", es_min=3, es_interval=es_interval)
    tracemalloc.start()
    for trial_id in range(3):
        for step in range(30_000):
            pruner.report(trial_id, step, 0.5)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used < 1_000_000
    for trial_id in range(3):
        pruner.end(trial_id, TrialState.COMPLETE)
    pruned_at = [step for step in range(30_000) if pruner.report(10, step, 0.4)]
    assert 3_000 <= pruned_at[0] < 3_100
    assert 400 < len(pruned_at) <= 1000


def test_long_trials_with_other_numbers_of_reports_meet_at_the_same_steps() -> None:
    pruner = MedianPruner("max", es_min=3, warmup_steps=0)
    for trial_id, n_steps in enumerate((900, 2_500, 9_000)):
        for step in range(n_steps):
            pruner.report(trial_id, step, 0.5)
        pruner.end(trial_id, TrialState.COMPLETE)
    assert [step for step in range(900) if pruner.report(10, step, 0.4)] == list(range(0, 900, 16))
