import math

import optuna
import pytest
from search_contracts import PrunerContract

from lagom_magic.events.facts import TrialState
from lagom_magic.search.optuna_pruner import OptunaPruner


class TestOptunasMedian(PrunerContract):
    def make(self, direction):
        return OptunaPruner(optuna.pruners.MedianPruner(), direction)


class TestOptunasHyperband(PrunerContract):
    def make(self, direction):
        return OptunaPruner(optuna.pruners.HyperbandPruner(max_resource=27), direction)

    def test_a_restarted_trial_begins_from_nothing(self) -> None:
        """Optuna deals brackets out by its own trial number, which a restart moves; so only the trial is compared."""
        pruner = self.make("max")
        pruner.report(0, 0, 5.0)
        pruner.restart(0)
        pruner.report(0, 0, 0.5)
        assert pruner._study.get_trials(deepcopy=False)[pruner._trials[0].number].intermediate_values == {0: 0.5}

    def test_a_trial_that_failed_and_is_retried_begins_from_nothing(self) -> None:
        """As above."""
        pruner = self.make("max")
        pruner.report(0, 0, 5.0)
        pruner.end(0, TrialState.FAILED)
        pruner.restart(0)
        pruner.report(0, 0, 0.5)
        trials = pruner._study.get_trials(deepcopy=False)
        assert [trial.state.name for trial in trials] == ["FAIL", "RUNNING"]
        assert trials[pruner._trials[0].number].intermediate_values == {0: 0.5}


def test_trial_numbers_are_our_ids() -> None:
    pruner = OptunaPruner(optuna.pruners.NopPruner(), "max")
    pruner.report(3, 0, 0.5)
    assert pruner._trials[3].number == 3


def test_states_arrive() -> None:
    pruner = OptunaPruner(optuna.pruners.NopPruner(), "min")
    for trial_id, state in enumerate((TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAILED, TrialState.STOPPED)):
        pruner.report(trial_id, 0, 0.25)
        pruner.end(trial_id, state)
    pruner.report(4, 0, math.nan)
    pruner.end(4, TrialState.COMPLETE)
    trials = pruner._study.get_trials()
    assert [trial.state.name for trial in trials] == ["COMPLETE", "PRUNED", "FAIL", "FAIL", "FAIL"]
    assert trials[0].value == 0.25


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")  # who makes it is warned
def test_a_patient_pruner_works_too() -> None:
    pruner = OptunaPruner(optuna.pruners.PatientPruner(None, patience=2), "max")
    assert [pruner.report(0, step, 1.0 - step / 10) for step in range(5)][-1]
