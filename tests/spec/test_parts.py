"""The names of a model's parts, and building a model so that they are the same everywhere."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch import nn

from lagom_magic.errors import ConfigError
from lagom_magic.spec.parts import Part, built, parts_of


def names_of(model: object) -> list[str]:
    return [part.name for part in parts_of(model)]


def columns_pipeline() -> Pipeline:
    numbers = Pipeline([("scaler", StandardScaler()), ("pca", PCA(2))])
    prep = ColumnTransformer([("num", numbers, ["a", "b"]), ("cat", OneHotEncoder(), ["c"]), ("rest", "drop", ["d"])])
    return Pipeline([("prep", prep), ("model", LogisticRegression())])


def test_torch_modules_have_their_dotted_names_on_all_levels_and_the_model_has_none() -> None:
    model = nn.Sequential(nn.Linear(64, 32), nn.ModuleDict({"a": nn.Dropout(0.5), "b": nn.Conv2d(1, 2, 3)}))
    assert parts_of(model) == [
        Part("0", "layer", "Linear(64, 32)"),
        Part("1", "layer", "ModuleDict, 2 modules"),
        Part("1.a", "layer", "Dropout(p=0.5, inplace=False)"),
        Part("1.b", "layer", "Conv2d(1, 2, kernel_size=(3, 3), stride=(1, 1))"),
    ]


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_scripted_model_has_no_parts_of_its_own() -> None:
    scripted = torch.jit.script(nn.Sequential(nn.Linear(2, 2)))
    assert names_of(nn.Sequential(scripted, nn.ReLU())) == ["0", "1"]
    with pytest.raises(ConfigError, match="Give the model before scripting"):
        parts_of(scripted)


def test_sklearn_steps_have_the_names_of_set_params_on_all_levels() -> None:
    pipeline = columns_pipeline()
    expected = ["prep", "prep__num", "prep__num__scaler", "prep__num__pca", "prep__cat", "model"]
    assert names_of(pipeline) == expected
    assert set(expected) <= set(pipeline.get_params(deep=True))
    assert parts_of(pipeline)[3] == Part("prep__num__pca", "step", "PCA(n_components=2)")


def test_sklearn_unions_and_meta_estimators_are_looked_into() -> None:
    union = FeatureUnion([("pca", PCA()), ("scaler", StandardScaler())])
    search = GridSearchCV(Pipeline([("both", union), ("model", Ridge())]), {"model__alpha": [1.0]})
    assert names_of(TransformedTargetRegressor(search)) == [
        "regressor__estimator__both",
        "regressor__estimator__both__pca",
        "regressor__estimator__both__scaler",
        "regressor__estimator__model",
    ]


def test_a_long_description_is_one_short_line() -> None:
    about = parts_of(Pipeline([("model", LogisticRegression(C=0.123456789, max_iter=12345, tol=0.000123456789))]))[
        0
    ].about
    assert about.startswith("LogisticRegression(")
    assert len(about) <= 60
    assert "\n" not in about


def test_a_model_of_one_piece_has_no_parts() -> None:
    assert parts_of(Ridge()) == []
    assert parts_of(nn.Linear(1, 1)) == []


@pytest.mark.parametrize(
    ("model", "words"),
    [(3, "an object of int"), (nn.Linear, "the class Linear"), (Ridge, "the class Ridge"), (torch.ones(1), "Tensor")],
)
def test_what_is_no_model_is_refused_by_its_kind(model: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        parts_of(model)
    assert "torch.nn.Module" in str(caught.value)


def test_building_calls_the_factory_with_its_arguments() -> None:
    assert built(nn.Linear, 3, out_features=2).weight.shape == (2, 3)


KERAS = """
import json, sys
sys.path.insert(0, sys.argv[1])
from lagom_magic.spec.parts import built, parts_of

def make(second=5):
    import keras
    inner = keras.Sequential([keras.Input((64,)), keras.layers.Dense(4)], name="inner")
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(64), inner, keras.layers.Dense(second)])

def fail():
    make()
    raise KeyError("mine")

def listed(model):
    return [[part.name, part.kind, part.about] for part in parts_of(model)]

seen = {"was loaded": "keras" in sys.modules, "first": listed(built(make)), "again": listed(built(make, second=7))}
import keras

class Block(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(2)

class Model(keras.Model):
    def __init__(self):
        super().__init__()
        self.stem = keras.layers.Dropout(0.5)
        self.blocks = [Block(), Block()]
        self._heads = {"a": keras.layers.Dense(1)}
        self.again = self.stem

seen["after"] = keras.layers.Dense(1).name
for _ in range(5):
    keras.layers.Dense(1)
try:
    built(fail)
except KeyError:
    seen["after failing"] = keras.layers.Dense(1).name
seen["subclassed"] = [part.name for part in parts_of(Model())]
x = keras.Input((4,), name="x")
seen["functional"] = [part.name for part in parts_of(keras.Model(x, keras.layers.ReLU(name="y")(x)))]
print(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def keras_seen() -> dict[str, object]:
    """What a process of its own sees; pytest's stays without TensorFlow."""
    root = __file__.rpartition("/tests/")[0]
    result = subprocess.run(
        [sys.executable, "-c", KERAS, root], capture_output=True, text=True, check=True, timeout=110
    )
    seen: dict[str, object] = json.loads(result.stdout.splitlines()[-1])
    return seen


def test_keras_names_begin_anew_with_each_model_that_is_built(keras_seen: dict[str, object]) -> None:
    assert keras_seen["was loaded"] is False
    assert keras_seen["first"] == [
        ["dense_1", "layer", "Dense, 64 units"],
        ["inner", "layer", "Sequential, 1 layer"],
        ["inner/dense", "layer", "Dense, 4 units"],
        ["dense_2", "layer", "Dense, 5 units"],
    ]
    assert [row[0] for row in keras_seen["again"]] == ["dense_1", "inner", "inner/dense", "dense_2"]  # type: ignore[attr-defined]


def test_after_building_keras_gives_no_name_of_the_model_again_and_goes_on_where_it_was(
    keras_seen: dict[str, object],
) -> None:
    assert keras_seen["after"] == "dense_3"
    assert keras_seen["after failing"] == "dense_9"


def test_layers_of_subclassed_keras_models_have_the_names_of_their_attributes(keras_seen: dict[str, object]) -> None:
    assert keras_seen["subclassed"] == ["stem", "blocks/0", "blocks/0/dense", "blocks/1", "blocks/1/dense", "_heads/a"]


def test_inputs_are_no_parts(keras_seen: dict[str, object]) -> None:
    assert keras_seen["functional"] == ["y"]
