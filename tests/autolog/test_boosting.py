"""XGBoost and LightGBM: each boosting round's evaluation is a report, from `train` and from the estimators."""

from __future__ import annotations

import numpy as np
import pytest
from logged_runs import Track

from lagom_magic import Ordinal

X = np.linspace(-1, 1, 400).reshape(100, 4)
Y = (X[:, 0] + 0.3 * np.sin(9 * X[:, 1]) > 0).astype(int)


def test_xgboost_train(track: Track) -> None:
    def train(eta):
        import xgboost

        data, results = xgboost.DMatrix(X, Y), {}
        params = {"eta": eta, "objective": "binary:logistic", "nthread": 1}
        xgboost.train(params, data, 4, evals=[(data, "fitted")], evals_result=results, verbose_eval=False)
        return {"loss": results["fitted"]["logloss"][-1]}

    logged = track(train, hparams={"eta": 0.5})
    curve = logged.curve("fitted-logloss")
    assert [step for step, _ in curve] == [0, 1, 2, 3]
    assert curve[-1][1] == logged.trial.metric
    assert logged.trial.params["xgboost.eta"] == 0.5
    assert logged.trial.params["xgboost.num_boost_round"] == 4
    assert logged.trial.warnings == ()


def test_an_estimator_of_xgboost(track: Track) -> None:
    def train(max_depth):
        from xgboost import XGBClassifier

        model = XGBClassifier(n_estimators=3, max_depth=max_depth, n_jobs=1, eval_metric=["logloss", "error"])
        model.fit(X, Y, eval_set=[(X, Y)], verbose=False)
        return {"accuracy": model.score(X, Y)}

    logged = track(train, hparams={"max_depth": 2})
    assert [step for step, _ in logged.curve("validation_0-error")] == [0, 1, 2]
    assert logged.curve("score") == [(3, logged.trial.metric)]
    assert logged.trial.params["XGBClassifier.max_depth"] == 2
    assert {name.partition(".")[0] for name in logged.trial.params} == {"XGBClassifier"}


def test_rounds_within_a_cross_validation_are_not_logged(track: Track) -> None:
    def train():
        from sklearn.model_selection import cross_val_score
        from xgboost import XGBClassifier

        model = XGBClassifier(n_estimators=2, n_jobs=1)
        return cross_val_score(model, X, Y, cv=2, params={"eval_set": [(X, Y)], "verbose": False}).mean()

    logged = track(train)
    assert [set(report.metrics) for report in logged.reports] == [{"cv_score", "cv_score_std"}]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_lightgbm_train(track: Track) -> None:
    def train(learning_rate):
        import lightgbm

        params = {"learning_rate": learning_rate, "objective": "binary", "num_threads": 1, "verbose": -1}
        data = lightgbm.Dataset(X, Y)
        results = {}
        lightgbm.train(params, data, 4, [data], callbacks=[lightgbm.record_evaluation(results)])
        return {"loss": results["training"]["binary_logloss"][-1]}

    logged = track(train, hparams={"learning_rate": 0.5})
    curve = logged.curve("training-binary_logloss")
    assert [step for step, _ in curve] == [0, 1, 2, 3]
    assert curve[-1][1] == logged.trial.metric
    assert logged.trial.params["lightgbm.learning_rate"] == 0.5
    assert logged.trial.params["lightgbm.num_boost_round"] == 4
    assert logged.trial.warnings == ()


def test_an_estimator_of_lightgbm(track: Track) -> None:
    def train(num_leaves):
        from lightgbm import LGBMClassifier

        model = LGBMClassifier(n_estimators=3, num_leaves=num_leaves, n_jobs=1, verbose=-1)
        model.fit(X, Y, eval_set=[(X, Y)])
        return {"accuracy": model.score(X, Y)}

    logged = track(train, hparams={"num_leaves": 4})
    assert logged.run.state == "COMPLETE", logged.trial.error
    assert [step for name in logged.reports[0].metrics for step, _ in logged.curve(name)] == [0, 1, 2]
    assert logged.trial.params["LGBMClassifier.num_leaves"] == 4


def test_a_trial_is_pruned_between_rounds(track: Track) -> None:
    def train(eta):
        import xgboost

        data = xgboost.DMatrix(X, Y)
        params = {"eta": eta, "objective": "binary:logistic", "nthread": 1}
        xgboost.train(params, data, 1000, evals=[(data, "fitted")], verbose_eval=False)

    logged = track(
        train,
        searchspace={"eta": Ordinal([0.6, 0.5, 0.001])},
        optimizer="grid",
        num_trials=3,
        es_min=2,
        optimization_key="fitted-logloss",
        direction="min",
    )
    states = {trial.hparams["eta"]: trial.state.value for trial in logged.run.view.trials.values()}
    assert states == {0.6: "COMPLETE", 0.5: "COMPLETE", 0.001: "PRUNED"}
