"""The seam: libraries are as before when it is closed, errors of ours are warnings, nothing is imported needlessly."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
import socket
import subprocess
import sys
import types
from collections.abc import Iterator
from typing import Any

import cloudpickle
import numpy as np
import pytest
import sklearn.base
import sklearn.model_selection
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.svm import SVC

from lagom_magic.worker.autolog import autolog
from lagom_magic.worker.autolog.record import Record
from lagom_magic.worker.control import Control
from lagom_magic.worker.reporter import Reporter

X = np.arange(20.0).reshape(10, 2)
Y = (np.arange(10) > 4).astype(int)


class Trial:
    """One trial's record, and the reports that it has sent."""

    def __init__(self, ours: socket.socket, theirs: socket.socket, *, reports: bool = True) -> None:
        self._ours = ours
        self.record = Record(Reporter(Control(theirs), 0, 1, 0, "metric", lambda: None), reports=reports)

    def reports(self) -> list[tuple[int, dict[str, float]]]:
        self._ours.setblocking(False)
        try:
            lines = self._ours.recv(1 << 20).splitlines()
        except BlockingIOError:
            return []
        return [(message["step"], message["metrics"]) for message in map(json.loads, lines)]


@pytest.fixture
def trial() -> Iterator[Trial]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Trial(ours, theirs)


@pytest.fixture
def later_trial() -> Iterator[Trial]:
    """The next trial of the same process."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Trial(ours, theirs)


def nothing() -> None:
    """A training function that holds no function of a library."""


def test_libraries_are_as_before_when_it_is_closed(trial: Trial) -> None:
    import keras
    import lightgbm
    import xgboost

    owners: list[Any] = [
        sklearn.base.BaseEstimator,
        sklearn.base.ClassifierMixin,
        LogisticRegression,
        keras.Model,
        xgboost.XGBClassifier,
        xgboost.callback.CallbackContainer,
        lightgbm.LGBMClassifier,
        sklearn.model_selection,
        xgboost,
        xgboost.training,
        lightgbm,
        lightgbm.sklearn,
    ]
    before = [dict(vars(owner)) for owner in owners]
    with autolog.applied(trial.record, nothing):
        during = [dict(vars(owner)) for owner in owners]
    assert all(a != b for a, b in zip(before, during, strict=True))
    assert [dict(vars(owner)) for owner in owners] == before
    assert trial.record.warnings == []


def test_what_a_trial_has_made_is_silent_in_the_next_one(trial: Trial) -> None:
    with autolog.applied(trial.record, nothing):
        fit = LogisticRegression.fit
        model = LogisticRegression().fit(X, Y)
        model.score(X, Y)
    assert len(trial.reports()) == 1
    n_params = len(trial.record.params)
    fit(model, X, Y + 1)
    model.score(X, Y)
    assert trial.reports() == []
    assert len(trial.record.params) == n_params


def test_a_function_imported_by_name_is_logged_and_given_back(trial: Trial) -> None:
    def train(namespace: dict[str, Any]) -> None:
        namespace["cross_val_score"](LogisticRegression(), X, Y, cv=2)

    namespace = {"cross_val_score": sklearn.model_selection.cross_val_score, "__builtins__": __builtins__}
    function = type(nothing)(train.__code__, {**globals(), **namespace})
    original = namespace["cross_val_score"]
    with autolog.applied(trial.record, function):
        train(function.__globals__)
    assert function.__globals__["cross_val_score"] is original
    assert [set(metrics) for _, metrics in trial.reports()] == [{"cv_score", "cv_score_std"}]


def test_a_function_imported_under_another_name_during_a_trial_is_logged_in_later_ones(
    trial: Trial, later_trial: Trial
) -> None:
    helper = types.ModuleType("helper")
    for each in (trial, later_trial):
        with autolog.applied(each.record, nothing):
            if each is trial:
                exec("from sklearn.model_selection import cross_validate as validate", vars(helper))
            helper.validate(LogisticRegression(), X, Y, cv=2)
        assert [set(metrics) for _, metrics in each.reports()] == [{"cv_score", "cv_score_std"}]
    assert "test_score" in helper.validate(LogisticRegression(), X, Y, cv=2)
    assert (trial.reports(), later_trial.reports()) == ([], [])


def test_what_the_function_replaces_itself_stays_replaced_and_is_silent_afterwards(
    trial: Trial, later_trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    for owner, name in ((LogisticRegression, "fit"), (sklearn.model_selection, "cross_val_score")):
        monkeypatch.setattr(owner, name, getattr(owner, name))  # which is what they are again after this test
    calls = []

    def instead_of(original: Any) -> Any:
        def instead(*args: Any, **kwargs: Any) -> Any:
            calls.append(original)
            return original(*args, **kwargs)

        return instead

    with autolog.applied(trial.record, nothing):
        LogisticRegression.fit = fit = instead_of(LogisticRegression.fit)
        sklearn.model_selection.cross_val_score = validate = instead_of(sklearn.model_selection.cross_val_score)
    assert LogisticRegression.fit is fit
    assert sklearn.model_selection.cross_val_score is validate
    LogisticRegression().fit(X, Y)
    assert len(validate(LogisticRegression(), X, Y, cv=2)) == 2
    assert (trial.reports(), trial.record.params) == ([], {})
    with autolog.applied(later_trial.record, nothing):
        LogisticRegression().fit(X, Y).score(X, Y)
    assert LogisticRegression.fit is fit
    assert len(later_trial.reports()) == 1
    assert later_trial.record.params
    assert len(calls) == 5  # twice itself, twice in the folds, and once in the later trial


def test_static_methods_and_classes_named_as_an_estimators_methods_stay_what_they_are(trial: Trial) -> None:
    code = """
class Odd(BaseEstimator):
    class fit:
        pass

    @staticmethod
    def score(truth, predicted):
        return float((truth == predicted).mean())
"""
    module: dict[str, Any] = {"BaseEstimator": sklearn.base.BaseEstimator, "__name__": "my_models"}
    with autolog.applied(trial.record, nothing):
        exec(code, module)
        odd = module["Odd"]()
        assert odd.score(Y, Y) == 1.0
        assert isinstance(odd.fit(), module["Odd"].fit)
    assert (trial.reports(), trial.record.warnings) == ([], [])


def test_a_class_that_a_function_defines_is_pickled_without_us(trial: Trial) -> None:
    with autolog.applied(trial.record, nothing):

        class Local(sklearn.base.BaseEstimator):  # type: ignore[misc]
            def fit(self, x: Any, y: Any) -> Any:
                return self

        assert b"lagom_magic.worker" not in cloudpickle.dumps(Local().fit(X, Y))
    assert trial.record.params == {}


def test_patched_methods_look_as_before(trial: Trial) -> None:
    signature = inspect.signature(SVC.fit)
    with autolog.applied(trial.record, nothing):
        assert inspect.isfunction(SVC.fit)
        assert inspect.signature(SVC.fit) == signature
        assert pickle.loads(pickle.dumps(SVC.fit)) is SVC.fit


def test_a_copied_record_is_silent(trial: Trial) -> None:
    twin = copy.deepcopy(trial.record)
    twin.report({"score": 1.0})
    twin.add_params("a", {"b": 1})
    assert trial.reports() == []
    assert twin.params == {}


def test_an_error_of_ours_is_one_warning_and_training_goes_on(trial: Trial) -> None:
    class Unspeakable(Ridge):  # type: ignore[misc]
        def get_params(self, deep: bool = True) -> dict[str, Any]:
            if deep:  # as we ask, and scikit-learn itself does not
                raise ValueError("no")
            return dict(super().get_params(deep))

    with autolog.applied(trial.record, nothing):
        for _ in range(2):
            assert Unspeakable().fit(X, Y).score(X, Y) > 0
    assert trial.record.warnings == [
        "auto-logging of sklearn went wrong (ValueError: no); --no-autolog switches it off."
    ]
    assert len(trial.reports()) == 2


def test_parameters_are_bounded_and_fit_into_json(trial: Trial) -> None:
    record = trial.record
    record.add_params("a", {"nan": float("nan"), "whole": np.int64(3), "text": "x" * 2000, "type": Ridge, "none": None})
    record.add_params("a", {"one": 1})
    record.add_params("a", {"one": 1})
    record.add_params("b", dict.fromkeys(map(str, range(300)), 0))
    record.close()
    assert json.loads(json.dumps(record.params, allow_nan=False)) == record.params
    assert record.params["a.nan"] == "nan"
    assert record.params["a.whole"] == 3
    assert record.params["a.type"] == "Ridge"
    assert len(record.params["a.text"]) == 500
    assert record.params["a 2.one"] == 1
    assert not any(name.startswith("a 3") for name in record.params)
    assert len(record.params) == 200
    assert record.warnings == ["106 parameters after the first 200 were not logged."]


def test_steps_never_decrease(trial: Trial) -> None:
    first, second = trial.record.curve(), trial.record.curve()
    for curve, step in ((first, 10), (first, 20), (first, 20), (second, 0), (second, 1), (first, 30)):
        curve.report({"loss": 0.5, "name": "no number"}, step)
    assert trial.reports() == [(step, {"loss": 0.5}) for step in (10, 20, 20, 21, 22, 30)]


def test_it_imports_no_library() -> None:
    script = """
import sys
from lagom_magic.worker.autolog import autolog
from lagom_magic.worker.autolog.record import Record
before = set(sys.modules), list(sys.meta_path)
with autolog.applied(Record(None, reports=True), print):
    pass
assert (set(sys.modules), list(sys.meta_path)) == before
print(*sorted(name for name in sys.modules if name.startswith("lagom_magic.worker.autolog")))
"""
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert shown.stdout.split() == [
        "lagom_magic.worker.autolog",
        "lagom_magic.worker.autolog.autolog",
        "lagom_magic.worker.autolog.patches",
        "lagom_magic.worker.autolog.record",
    ]
