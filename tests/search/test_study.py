import math
from datetime import datetime

import optuna
import pytest

from lagom_magic.events.facts import TrialState
from lagom_magic.events.views import TrialView
from lagom_magic.search.study import build_study
from lagom_magic.spec.space import Categorical, Float, Int, Ordinal, Searchspace

SPACE = Searchspace(
    lr=Float(1e-4, 1e-1, log=True),
    width=Int(1, 8, step=3),
    batch=Ordinal([16, 32]),
    kind=Categorical(["a", None]),
    momentum=Float(0, 1, step=0.3, when={"kind": "a"}),
)


def trial(trial_id: int, state: TrialState = TrialState.COMPLETE, metric: float | None = 0.5, **values) -> TrialView:
    view = TrialView(trial_id, state=state, metric=metric, started_at=1000.0 + trial_id, **values)
    if state.is_final:
        view.ended_at = 2000.0 + trial_id
    view.hparams = values.get("hparams") or {"lr": 0.01, "width": 4, "batch": 32, "kind": "a", "momentum": 0.3}
    for step, value in enumerate((0.1, 0.2, 0.4)):
        view.series.add(step, value)
    return view


def test_a_complete_trial_is_whole() -> None:
    study = build_study([trial(0, metrics={"loss": 0.25}, worker_id=2)], SPACE, "max")
    found = study.best_trial
    assert found.value == 0.5
    assert found.params == {"lr": 0.01, "width": 4, "batch": 32, "kind": "a", "momentum": 0.3}
    assert found.distributions["lr"] == optuna.distributions.FloatDistribution(1e-4, 1e-1, log=True)
    assert found.distributions["batch"] == optuna.distributions.CategoricalDistribution((16, 32))
    assert found.intermediate_values == {0: 0.1, 1: 0.2, 2: 0.4}
    assert found.datetime_start == datetime.fromtimestamp(1000)
    assert found.datetime_complete == datetime.fromtimestamp(2000)
    assert found.user_attrs == {"loss": 0.25, "state": "COMPLETE", "attempt": 1, "worker": 2}


def test_states_and_numbers_are_ours() -> None:
    views = [trial(i, state) for i, state in enumerate(TrialState)]
    study = build_study(reversed(views), SPACE, "max")
    assert [(t.number, t.state.name) for t in study.trials] == list(
        enumerate(["WAITING", "RUNNING", "COMPLETE", "PRUNED", "FAIL", "FAIL"])
    )
    assert study.trials[5].user_attrs["state"] == "STOPPED"


def test_a_pruned_trial_has_its_last_value() -> None:
    view = trial(0, TrialState.PRUNED, metric=None, last_value=0.4)
    assert build_study([view], SPACE, "max").trials[0].value == 0.4


@pytest.mark.parametrize(("direction", "never_best"), [("max", math.inf), ("min", -math.inf)])
def test_an_infinitely_good_metric_is_never_best(direction, never_best) -> None:
    study = build_study([trial(0), trial(1, metric=never_best), trial(2, metric=math.nan)], SPACE, direction)
    assert study.best_trial.number == 0


def test_a_missing_id_becomes_a_failed_trial_so_that_numbers_stay_ids() -> None:
    study = build_study([trial(2)], SPACE, "max")
    assert [t.state.name for t in study.trials] == ["FAIL", "FAIL", "COMPLETE"]


def test_fixed_and_foreign_values_are_attributes() -> None:
    hparams = {"lr": 5.0, "width": 4, "epochs": 20}
    found = build_study([trial(0, hparams=hparams)], SPACE, "max").trials[0]
    assert found.params == {"width": 4}
    assert (found.user_attrs["lr"], found.user_attrs["epochs"]) == (5.0, 20)


def test_without_a_space_ranges_are_those_of_the_trials() -> None:
    views = [trial(i, hparams={"n": i, "x": i / 2, "kind": "ab"[i % 2], "flag": i > 1}) for i in range(3)]
    distributions = build_study(views, None, "max").trials[0].distributions
    assert distributions == {
        "n": optuna.distributions.IntDistribution(0, 2),
        "x": optuna.distributions.FloatDistribution(0.0, 1.0),
        "kind": optuna.distributions.CategoricalDistribution(("a", "b")),
        "flag": optuna.distributions.CategoricalDistribution((False, True)),
    }


def test_an_empty_run_is_an_empty_study() -> None:
    assert build_study([], SPACE, "min").trials == []


def test_optunas_own_tools_work_on_it(capfd) -> None:
    views = [
        trial(
            i, metric=i % 4 / 4, hparams={"lr": 10 ** (-1 - i % 3), "width": 1 + 3 * (i % 3), "batch": 16, "kind": None}
        )
        for i in range(12)
    ]
    study = build_study(views, SPACE, "max")
    assert set(optuna.importance.get_param_importances(study)) == {"lr", "width", "batch", "kind"}
    assert len(study.trials_dataframe()) == 12
    assert capfd.readouterr().err == ""
