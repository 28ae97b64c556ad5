"""What every sampler and every pruner promises; each implementation's tests inherit one of these classes."""

from __future__ import annotations

import json
import logging
import math
import random
import statistics
import threading
import time
import warnings
from abc import ABC, abstractmethod
from typing import Any

import pytest

from lagom_magic.errors import ConfigError
from lagom_magic.events.facts import TrialState
from lagom_magic.search.base import EXHAUSTED, WAIT, Direction, Pruner, Sampler, Suggestion
from lagom_magic.spec.space import Categorical, Float, Int, Ordinal, Searchspace

MIXED = Searchspace(
    lr=Float(1e-5, 1e-1, log=True),
    dropout=Float(0.0, 0.5, step=0.1),
    width=Int(16, 512, log=True),
    layers=Int(1, 8, step=3),
    batch=Ordinal([16, 32, 64]),
    optimizer=Categorical(["adam", "sgd", None]),
    momentum=Float(0.0, 0.99, when={"optimizer": "sgd"}),
    nesterov=Categorical([True, False], when={"optimizer": "sgd", "batch": [16, 32]}),
)
#: How an attempt can end that follows a failed one.
FURTHER_ENDS = [TrialState.COMPLETE, TrialState.COMPLETE, TrialState.PRUNED, TrialState.STOPPED]
FINITE = Searchspace(
    batch=Ordinal([16, 32]),
    optimizer=Categorical(["adam", "sgd"]),
    momentum=Ordinal([0.5, 0.9], when={"optimizer": "sgd"}),
)


def active_names(space: Searchspace, hparams: dict[str, Any]) -> list[str]:
    return [name for name, domain in space.items() if domain.is_active(hparams)]


def run_in_sequence(sampler: Sampler, n_trials: int) -> list[dict[str, Any]]:
    """Ask and tell one after the other, as with one worker; the metric depends on the suggestion only."""
    asked = []
    for trial_id in range(n_trials):
        suggestion = sampler.ask(trial_id)
        if not isinstance(suggestion, Suggestion):
            break
        asked.append(suggestion.hparams)
        sampler.tell(trial_id, TrialState.COMPLETE, random.Random(repr(suggestion.hparams)).random())
    return asked


class SamplerContract(ABC):
    """Inherit and say how to make one."""

    #: More than the start-up trials of model-based samplers.
    n_trials = 16
    space = MIXED
    uses_seed = True

    @abstractmethod
    def make(self, space: Searchspace, direction: Direction = "max", seed: int | None = 1) -> Sampler: ...

    def test_suggests_exactly_the_active_hyperparameters_within_their_ranges(self) -> None:
        for hparams in run_in_sequence(self.make(self.space), self.n_trials):
            assert list(hparams) == active_names(self.space, hparams)
            assert all(self.space[name].contains(value) for name, value in hparams.items())

    def test_suggests_plain_python_values_that_survive_json(self) -> None:
        for hparams in run_in_sequence(self.make(self.space), self.n_trials):
            assert json.loads(json.dumps(hparams)) == hparams
            assert {type(value) for value in hparams.values()} <= {int, float, str, bool, type(None)}

    def test_the_same_seed_gives_the_same_suggestions(self) -> None:
        first, second = (run_in_sequence(self.make(self.space, seed=3), self.n_trials) for _ in range(2))
        assert first == second

    def test_another_seed_gives_other_suggestions(self) -> None:
        if self.uses_seed:
            first, second = (run_in_sequence(self.make(self.space, seed=seed), self.n_trials) for seed in (3, 4))
            assert first != second

    def test_trials_may_end_in_any_order_and_state(self) -> None:
        sampler = self.make(self.space)
        rng = random.Random(0)
        in_flight: list[int] = []
        for trial_id in range(self.n_trials):
            if isinstance(sampler.ask(trial_id), Suggestion):
                in_flight.append(trial_id)
            if len(in_flight) == 4:
                ended = in_flight.pop(rng.randrange(4))
                state = rng.choice([TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED, TrialState.STOPPED])
                sampler.tell(ended, state, rng.choice([None, 0.5, math.inf, -math.inf, 1e300]))
        for trial_id in in_flight:
            sampler.tell(trial_id, TrialState.COMPLETE, 0.1)

    def test_a_second_or_unknown_end_changes_nothing(self) -> None:
        sampler = self.make(self.space)
        sampler.ask(0)
        sampler.tell(0, TrialState.COMPLETE, 1.0)
        sampler.tell(0, TrialState.FAILED, None)
        sampler.tell(77, TrialState.COMPLETE, 1.0)
        assert isinstance(sampler.ask(1), Suggestion)

    def test_a_trial_that_failed_may_be_told_again_until_it_has_not(self) -> None:
        sampler = self.make(self.space)
        for trial_id in range(self.n_trials - 1):
            sampler.ask(trial_id)
            if trial_id % 2:
                sampler.tell(trial_id, TrialState.COMPLETE, trial_id / 10)
                continue
            sampler.tell(trial_id, TrialState.FAILED, None)
            sampler.tell_again(trial_id, TrialState.FAILED, None)
            sampler.tell_again(trial_id, random.Random(trial_id).choice(FURTHER_ENDS), trial_id / 10)
        sampler.tell_again(77, TrialState.COMPLETE, 1.0)
        assert isinstance(sampler.ask(self.n_trials - 1), Suggestion)

    def test_goes_on_with_a_run_as_if_it_had_never_been_interrupted(self) -> None:
        whole, resumed = self.make(self.space), self.make(self.space)
        for trial_id in range(self.n_trials):
            asked = whole.ask(trial_id)
            if not isinstance(asked, Suggestion):
                break
            if trial_id < self.n_trials - 3:
                assert resumed.recall(trial_id, json.loads(json.dumps(asked.hparams)), asked.budget) == asked
            else:
                assert resumed.ask(trial_id) == asked
            for sampler in (whole, resumed):
                sampler.tell(trial_id, TrialState.COMPLETE, random.Random(repr(asked)).random())

    def test_goes_on_with_a_run_whose_trials_ended_out_of_order(self) -> None:
        sampler, resumed = self.make(self.space), self.make(self.space)
        rng = random.Random(0)
        in_flight: list[int] = []
        n_asked = 0
        for _ in range(self.n_trials - 1):
            asked = sampler.ask(n_asked)
            if isinstance(asked, Suggestion):
                assert resumed.recall(n_asked, json.loads(json.dumps(asked.hparams)), asked.budget) == asked
                in_flight.append(n_asked)
                n_asked += 1
            if len(in_flight) == 3:
                ended = in_flight.pop(rng.randrange(3))
                state = rng.choice([TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED])
                for one in (sampler, resumed):
                    one.tell(ended, state, ended / 10)
        for trial_id in in_flight:  # they run again
            resumed.tell(trial_id, TrialState.COMPLETE, 0.1)
        assert resumed.ask(n_asked) is not WAIT

    def test_other_values_than_it_can_suggest_are_refused(self) -> None:
        with pytest.raises(ConfigError, match=r"resumed|cannot go on"):
            self.make(self.space).recall(0, dict.fromkeys(self.space, "nonsense"), None)

    def test_may_be_asked_ahead_in_another_thread(self) -> None:
        sampler = self.make(self.space)
        asked: list[object] = []
        for trial_id in range(self.n_trials):
            thread = threading.Thread(target=lambda i=trial_id: asked.append(sampler.ask(i)))
            thread.start()
            thread.join(timeout=60)
            sampler.tell(trial_id, TrialState.COMPLETE, 0.5)
        assert len(asked) == self.n_trials

    @pytest.mark.parametrize("direction", ["max", "min"])
    def test_a_finite_space_smaller_than_the_number_of_trials_is_searched(self, direction: Direction) -> None:
        asked = run_in_sequence(self.make(FINITE, direction), self.n_trials)
        assert {json.dumps(hparams) for hparams in asked} <= {
            json.dumps(point)
            for batch in (16, 32)
            for point in (
                {"batch": batch, "optimizer": "adam"},
                {"batch": batch, "optimizer": "sgd", "momentum": 0.5},
                {"batch": batch, "optimizer": "sgd", "momentum": 0.9},
            )
        }
        assert len(asked) >= 6

    def test_the_user_sees_no_warning_and_no_log_line(
        self, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            run_in_sequence(self.make(self.space), self.n_trials)
        assert capfd.readouterr() == ("", "")
        assert [record for record in caplog.records if record.levelno >= logging.INFO] == []

    def test_what_calls_itself_cheap_is_asked_in_well_under_a_millisecond(self) -> None:
        sampler = self.make(self.space)
        if sampler.is_cheap:
            costs_s = []
            for trial_id in range(500):
                began = time.perf_counter()
                answer = sampler.ask(trial_id)
                costs_s.append(time.perf_counter() - began)
                if answer is EXHAUSTED or answer is WAIT:
                    break
                sampler.tell(trial_id, TrialState.COMPLETE, trial_id % 7)
            assert statistics.median(costs_s) < 1e-3


class PrunerContract(ABC):
    """Inherit and say how to make one."""

    @abstractmethod
    def make(self, direction: Direction) -> Pruner: ...

    def run(self, pruner: Pruner, curves: list[list[float]], first_step: int = 0) -> list[int]:
        """Trials one after the other; how many reports each made."""
        lengths = []
        for trial_id, curve in enumerate(curves):
            n_reports = len(curve)
            for step, value in enumerate(curve, first_step):
                if pruner.report(trial_id, step, value):
                    n_reports = step - first_step + 1
                    break
            pruner.end(trial_id, TrialState.PRUNED if n_reports < len(curve) else TrialState.COMPLETE)
            lengths.append(n_reports)
        return lengths

    def curves(self, n_trials: int = 40, n_steps: int = 27) -> list[list[float]]:
        rng = random.Random(0)
        ends = [rng.random() for _ in range(n_trials)]
        return [[end * (1 - 0.8 ** (step + 1)) + rng.gauss(0, 0.01) for step in range(n_steps)] for end in ends]

    def test_the_best_trial_is_never_pruned(self) -> None:
        curves = [[trial / 40 + step / 1000 for step in range(27)] for trial in range(40)]
        lengths = self.run(self.make("max"), curves)
        assert lengths[-1] == 27

    def test_min_of_a_loss_prunes_as_max_of_its_negative(self) -> None:
        curves = self.curves()
        as_max = self.run(self.make("max"), curves)
        assert as_max == self.run(self.make("min"), [[-value for value in curve] for curve in curves])

    def test_the_first_trial_runs_to_its_end(self) -> None:
        assert self.run(self.make("max"), [[0.5] * 27]) == [27]

    def test_equal_trials_are_not_pruned(self) -> None:
        assert self.run(self.make("max"), [[0.5] * 27] * 30) == [27] * 30

    def test_the_same_reports_give_the_same_decisions(self) -> None:
        assert self.run(self.make("max"), self.curves()) == self.run(self.make("max"), self.curves())

    def test_nan_and_infinite_reports_are_taken(self) -> None:
        directions: tuple[Direction, ...] = ("max", "min")
        for direction in directions:
            self.run(self.make(direction), [[value] * 27 for value in (math.nan, math.inf, -math.inf, 0.5) * 3])

    def test_steps_need_be_neither_dense_nor_from_zero(self) -> None:
        pruner = self.make("max")
        for trial_id in range(20):
            for step in range(5 + trial_id % 3, 300, 7 + trial_id % 2):
                pruner.report(trial_id, step, trial_id % 5)
            pruner.end(trial_id, TrialState.COMPLETE)

    def test_a_trial_may_end_without_a_report(self) -> None:
        pruner = self.make("max")
        for trial_id, state in enumerate(state for state in TrialState if state.is_final):
            pruner.end(trial_id, state)
        assert not pruner.report(9, 0, 1.0)

    def test_a_restarted_trial_begins_from_nothing(self) -> None:
        curves = self.curves()
        plain, restarted = self.make("max"), self.make("max")
        for step in range(27):
            restarted.report(0, step, 5.0)  # would be the best of all, if it stayed
        restarted.restart(0)
        assert self.run(plain, curves) == self.run(restarted, curves)

    def test_a_trial_that_failed_and_is_retried_begins_from_nothing(self) -> None:
        curves = self.curves()
        plain, retried = self.make("max"), self.make("max")
        for step in range(27):
            retried.report(0, step, 5.0)  # would be the best of all, if it stayed
        retried.end(0, TrialState.FAILED)
        retried.restart(0)
        assert self.run(plain, curves) == self.run(retried, curves)

    def test_restarting_a_trial_that_never_reported_is_allowed(self) -> None:
        pruner = self.make("max")
        pruner.restart(3)
        pruner.end(3, TrialState.FAILED)
        pruner.restart(3)
        assert not pruner.report(3, 1, 0.5)

    def test_parallel_trials_do_not_mix(self) -> None:
        pruner = self.make("max")
        for step in range(27):
            assert not pruner.report(0, step, 1.0)
            pruner.report(1, step, 0.0)
        pruner.end(1, TrialState.COMPLETE)
        pruner.end(0, TrialState.COMPLETE)
