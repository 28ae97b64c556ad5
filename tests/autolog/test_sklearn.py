"""scikit-learn: the outermost fit's parameters, and scores as they are asked for."""

from __future__ import annotations

import numpy as np
from logged_runs import Track
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

X = np.linspace(-1, 1, 80).reshape(40, 2)
Y = (X[:, 0] + 0.3 * np.sin(9 * X[:, 1]) > 0).astype(int)


def test_the_outermost_fit_and_its_score_are_logged(track: Track) -> None:
    def train(c):
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVC

        model = make_pipeline(StandardScaler(), SVC(C=c)).fit(X, Y)
        return {"accuracy": model.score(X, Y)}

    logged = track(train, hparams={"c": 0.5})
    assert logged.curve("score") == [(0, logged.trial.metric)]
    params = logged.trial.params
    assert params["Pipeline.svc__C"] == 0.5
    assert params["Pipeline.standardscaler__with_mean"] is True
    assert {name.partition(".")[0] for name in params} == {"Pipeline"}
    assert logged.trial.warnings == ()


def test_scores_of_different_estimators_are_no_curve(track: Track) -> None:
    def train():
        from sklearn.tree import DecisionTreeClassifier

        tree, line = DecisionTreeClassifier(max_depth=1).fit(X, Y), LogisticRegression().fit(X, Y)
        return [model.score(X[:n], Y[:n]) for n in (30, 40) for model in (tree, line)][-1]

    logged = track(train)
    assert [step for step, _ in logged.curve("score")] == [0, 2]
    assert [step for step, _ in logged.curve("LogisticRegression.score")] == [1, 3]
    assert logged.curve("LogisticRegression.score")[-1][1] == logged.trial.metric


def test_a_cross_validation_is_one_report_though_its_name_was_imported_before(track: Track) -> None:
    def train(c):
        return cross_val_score(LogisticRegression(C=c), X, Y, cv=4).mean()

    logged = track(train, hparams={"c": 2.0})
    assert logged.curve("cv_score") == [(0, logged.trial.metric)]
    assert len(logged.reports) == 1
    assert logged.trial.params["LogisticRegression.C"] == 2.0
    assert {name.partition(".")[0] for name in logged.trial.params} == {"LogisticRegression"}


def test_a_search_tells_what_it_has_found(track: Track) -> None:
    def train():
        from sklearn.model_selection import GridSearchCV, cross_validate

        search = GridSearchCV(LogisticRegression(), {"C": [0.01, 10.0]}, cv=2, n_jobs=2).fit(X, Y)
        cross_validate(search.best_estimator_, X, Y, cv=2, scoring=["accuracy", "roc_auc"], return_train_score=True)
        return search.best_score_

    logged = track(train)
    assert logged.run.state == "COMPLETE"
    assert logged.curve("best_score") == [(0, logged.trial.metric)]
    assert logged.trial.params["GridSearchCV.best.C"] in (0.01, 10.0)
    assert [step for step, _ in logged.curve("cv_roc_auc")] == [1]
    assert set(logged.reports[1].metrics) == {
        f"cv_{prefix}{name}{suffix}"
        for prefix in ("", "train_")
        for name in ("accuracy", "roc_auc")
        for suffix in ("", "_std")
    }


def test_an_estimator_of_ones_own_is_logged_by_what_it_inherits_and_trains_in_other_processes(track: Track) -> None:
    def train():
        from joblib import Parallel, delayed
        from sklearn.base import BaseEstimator, ClassifierMixin

        class Constant(ClassifierMixin, BaseEstimator):
            def __init__(self, value=1):
                self.value = value

            def fit(self, x, y, sample_weight=None):
                self.classes_ = np.unique(y)
                return self

            def predict(self, x):
                return np.full(len(x), self.value)

        Constant(0).fit(X, Y)
        fitted = Parallel(n_jobs=2)(delayed(lambda v: Constant(v).fit(X, Y))(v) for v in (0, 1))
        return {"score_of_copies": sum(one.score(X, Y) for one in fitted)}

    logged = track(train)
    assert logged.run.state == "COMPLETE", logged.trial.error
    assert logged.trial.metric == 1.0
    assert [set(report.metrics) for report in logged.reports] == [{"score"}] * 2
    assert logged.trial.params == {}  # `fit` is its own


def test_nothing_is_logged_when_it_is_switched_off(track: Track) -> None:
    def train(c):
        return LogisticRegression(C=c).fit(X, Y).score(X, Y)

    logged = track(train, hparams={"c": 1.0}, autolog=False)
    assert (logged.reports, logged.trial.params) == ([], {})
