"""scikit-learn models without some of their steps: the model that is fitted is looked at."""

from __future__ import annotations

import random

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import RandomForestRegressor, VotingClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from lagom_magic.errors import ConfigError, NotRemovableError
from lagom_magic.worker.ablation.removal import n_parameters, without

FRAME = pd.DataFrame(
    {"a": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], "b": [9.0, 7.0, 8.0, 5.0, 6.0, 4.0], "c": ["x", "y", "x", "y", "z", "z"]}
)
LABEL = np.array([0, 1, 0, 1, 0, 1])


def pipeline() -> Pipeline:
    numbers = Pipeline([("scaler", StandardScaler()), ("pca", PCA(1))])
    prep = ColumnTransformer([("num", numbers, ["a", "b"]), ("cat", OneHotEncoder(), ["c"])])
    return Pipeline([("prep", prep), ("model", LogisticRegression())])


def refusal(model: object, *names: str) -> str:
    with pytest.raises(NotRemovableError) as caught:
        without(model, names)
    return str(caught.value)


def test_the_whole_pipeline_sees_one_component_and_three_categories() -> None:
    assert pipeline().fit(FRAME, LABEL)["model"].n_features_in_ == 4


def test_a_step_of_a_nested_pipeline_passes_its_input_through() -> None:
    model, changes = without(pipeline(), ["prep__num__pca"])
    assert changes == ["prep__num__pca: its input passes through"]
    assert model.get_params()["prep__num__pca"] == "passthrough"
    assert model.fit(FRAME, LABEL)["model"].n_features_in_ == 5


def test_a_part_of_a_column_transformer_goes_with_its_columns() -> None:
    model, changes = without(pipeline(), ["prep__cat"])
    assert changes == ["prep__cat: dropped with its columns c"]
    assert model.fit(FRAME, LABEL)["model"].n_features_in_ == 1


def test_a_group_is_left_out_together_and_a_step_within_another_one_goes_with_it() -> None:
    model, changes = without(pipeline(), ["prep__num__pca", "prep__num__scaler"])
    assert len(changes) == 2
    assert model.fit(FRAME, LABEL)["prep"].transform(FRAME)[:, :2].tolist() == FRAME[["a", "b"]].to_numpy().tolist()
    model, changes = without(pipeline(), ["prep__num__pca", "prep__num"])
    assert changes == ["prep__num: dropped with its columns a, b"]
    assert model.fit(FRAME, LABEL)["model"].n_features_in_ == 3


def test_parts_of_unions_and_ensembles_are_dropped() -> None:
    union = Pipeline([("both", FeatureUnion([("raw", StandardScaler()), ("pca", PCA(1))])), ("model", Ridge())])
    model, changes = without(union, ["both__raw"])
    assert changes == ["both__raw: dropped"]
    assert model.fit(FRAME[["a", "b"]], LABEL)["model"].n_features_in_ == 1
    votes = VotingClassifier([("bayes", GaussianNB()), ("linear", LogisticRegression())])
    model, _ = without(votes, ["bayes"])
    assert [type(one) for one in model.fit(FRAME[["a", "b"]], LABEL).estimators_] == [LogisticRegression]


def test_a_pipeline_within_a_search_is_ablated() -> None:
    steps = Pipeline([("scaler", StandardScaler()), ("model", Ridge())])
    model, _ = without(GridSearchCV(steps, {"model__alpha": [0.1, 1.0]}, cv=2), ["estimator__scaler"])
    assert model.fit(FRAME[["a", "b"]], LABEL).best_estimator_["scaler"] == "passthrough"
    assert n_parameters(model) == 3


def test_a_step_that_a_search_varies_is_refused_with_the_parameter() -> None:
    steps = Pipeline([("pca", PCA()), ("model", Ridge())])
    search = GridSearchCV(steps, [{"pca__n_components": [1, 2]}])
    assert "GridSearchCV varies pca__n_components (param_grid)" in refusal(search, "estimator__pca")


def test_the_predictor_is_refused() -> None:
    assert "model cannot be left out: LogisticRegression is what predicts" in refusal(pipeline(), "model")
    both = Pipeline([("scaler", StandardScaler()), ("model", LinearDiscriminantAnalysis())])  # it transforms as well
    assert "LinearDiscriminantAnalysis is what predicts" in refusal(both, "model")


def test_the_last_step_of_a_pipeline_that_only_transforms_passes_through() -> None:
    model, _ = without(Pipeline([("scaler", StandardScaler()), ("pca", PCA(1))]), ["pca"])
    assert model.fit_transform(FRAME[["a", "b"]]).shape == (6, 2)


def test_the_last_part_of_a_column_transformer_is_refused() -> None:
    assert "prep__num cannot be left out: it is all that is left" in refusal(pipeline(), "prep__cat", "prep__num")


def test_a_misspelt_step_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean prep__num__scaler"):
        without(pipeline(), ["prep__num__scalar"])


def test_leaving_out_nothing_changes_nothing() -> None:
    model = pipeline()
    ablated, changes = without(model, [])
    assert ablated is model
    assert changes == []


def test_random_states_are_untouched() -> None:
    random.seed(1)
    np.random.seed(1)
    expected = random.getstate(), np.random.get_state()[1].tolist()
    without(pipeline(), ["prep__cat"])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == expected


def test_coefficients_are_counted_once_a_model_is_fitted() -> None:
    model = pipeline()
    assert n_parameters(model) is None
    assert n_parameters(model.fit(FRAME, LABEL)) == 5
    x = FRAME[["a", "b"]]
    assert n_parameters(Ridge(fit_intercept=False).fit(x, LABEL)) == 3  # its intercept is there, and 0
    perceptron = MLPRegressor(hidden_layer_sizes=(4,), max_iter=5000, tol=1.0).fit(x, LABEL)
    assert n_parameters(perceptron) == 2 * 4 + 4 + 4 * 1 + 1
    assert n_parameters(RandomForestRegressor(2).fit(x, LABEL)) is None
