"""What each trial of an ablation really trained, and on what: looked at from inside the training function."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fingerprints import fingerprint

from lagom_magic import AblationConfig, AblationStudy, Run, Switch
from lagom_magic.cluster.process import ProcessLauncher
from lagom_magic.errors import RunFailed
from lagom_magic.experiment import launch

Ablate = Callable[..., Run]

FRAME = pd.DataFrame({"age": [1.0, 2.0, 3.0], "fare": [4.0, 5.0, 6.0], "y": [0.0, 1.0, 0.0]})


@pytest.fixture
def ablate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ablate:
    monkeypatch.setenv("LAGOM_HOME", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)

    def start(
        train_fn: Callable[..., Any], study: AblationStudy | None = None, *, detach: bool = False, **options: Any
    ) -> Run:
        config = AblationConfig(ablation_study=study, **{"workers": 2, "optimization_key": "score"} | options)
        return launch(
            train_fn,
            config,
            detach=detach,
            ui="none",
            make_launcher=lambda kit, _, n_workers: ProcessLauncher(kit, n_workers),
        )

    return start


def seen(run: Run, key: str = "seen") -> dict[str, str]:
    """Component → what its first repeat returned under `key`."""
    trials = [trial for trial in run.view.trials.values() if trial.hparams["repeat"] == 0]
    return {trial.hparams["component"]: ast.literal_eval(trial.values[key]) for trial in trials if key in trial.values}


def states(run: Run) -> dict[str, str]:
    return {str(trial.hparams["component"]): trial.state.value for trial in run.trials if trial.hparams["repeat"] == 0}


# data


def see(dataset):
    return {"score": 1.0, "seen": fingerprint(dataset)}


def make_torch_set() -> Any:
    import torch
    from torch.utils.data import TensorDataset

    x = torch.arange(12.0).reshape(4, 3)
    return TensorDataset(x, torch.tensor([0, 1, 0, 1]))


def make_tensorflow_set() -> Any:
    import tensorflow as tf

    x = {"a": [1.0, 2.0], "b": [3.0, 4.0]}
    return tf.data.Dataset.from_tensor_slices((x, [0, 1]))


def studies_of_data() -> dict[str, tuple[Any, dict[str, Any]]]:
    return {
        "frame": (FRAME, {"label_name": "y"}),
        "dict": ({"a": np.arange(3), "b": np.ones(3), "y": np.zeros(3)}, {"label_name": "y"}),
        "arrays": ((np.arange(6.0).reshape(3, 2), np.zeros(3)), {"feature_names": ["a", "b"]}),
        "torch": (make_torch_set, {"feature_names": ["a", "b", "c"]}),
        "tensorflow": (make_tensorflow_set, {}),
    }


@pytest.mark.parametrize("kind", studies_of_data())
def test_no_two_variants_see_the_same_data(ablate: Ablate, kind: str) -> None:
    dataset, names = studies_of_data()[kind]
    study = AblationStudy(dataset=dataset, **names)
    study.features.include()
    run = ablate(see, study, workers=1)
    prints = seen(run)
    assert run.state == "COMPLETE"
    assert len(prints) == 1 + len(study.features.list_all())
    assert len(set(prints.values())) == len(prints)


def test_a_file_is_read_by_the_function_as_ever(ablate: Ablate, tmp_path: Path) -> None:
    FRAME.to_parquet(tmp_path / "titanic.parquet")

    def read(dataset):
        return {"score": 1.0, "seen": " ".join(pd.read_parquet(dataset).columns)}

    study = AblationStudy(dataset="titanic.parquet", label_name="y")
    study.features.include()
    run = ablate(read, study)
    assert seen(run) == {"baseline": "age fare y", "age": "fare y", "fare": "age y"}
    assert not list(run.dir.rglob("*.parquet"))


def test_a_generator_gets_the_names_and_one_that_passes_over_them_fails(ablate: Ablate) -> None:
    def read(dataset_function):
        return {"score": 1.0, "seen": " ".join(dataset_function(rows=2).columns)}

    study = AblationStudy(label_name="y")
    study.set_dataset_generator(lambda leave_out, rows=None: FRAME.drop(columns=leave_out)[:rows])
    study.features.include()
    assert seen(ablate(read, study)) == {"baseline": "age fare y", "age": "fare y", "fare": "age y"}
    study.set_dataset_generator(lambda leave_out, rows=None: FRAME)
    run = ablate(read, study)
    assert states(run) == {"baseline": "COMPLETE", "age": "FAILED", "fare": "FAILED"}
    assert "was told to leave out age, and has it still" in str(run.trials[1].error)


def test_a_generator_of_data_without_names_that_passes_over_them_fails(ablate: Ablate) -> None:
    def read(dataset):
        return {"score": float(dataset[0].shape[1])}

    def make(leave_out):
        x = np.ones((3, 3))
        if leave_out == ["dropped"]:
            return x[:, 1:], np.ones(3)
        if leave_out == ["zeroed"]:
            x[:, 1] = 0
        return x, np.ones(3)

    study = AblationStudy(feature_names=["dropped", "zeroed", "kept"])
    study.set_dataset_generator(make)
    study.features.include()
    run = ablate(read, study)
    assert states(run) == {"baseline": "COMPLETE", "dropped": "COMPLETE", "zeroed": "COMPLETE", "kept": "FAILED"}


def test_train_and_test_set_lose_the_same_columns(ablate: Ablate) -> None:
    def read(train_set, test_set):
        return {"score": 1.0, "seen": " ".join([*train_set.columns, *test_set.columns])}

    study = AblationStudy(label_name="y")
    study.features.include("age")
    run = ablate(read, study, train_set=FRAME, test_set=FRAME[:1])
    assert seen(run)["age"] == "fare y fare y"


# models


def make_nested() -> Any:
    from torch import nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide = nn.Linear(2, 5)
            self.same = nn.Linear(5, 5)

        def forward(self, x):
            return self.same(self.wide(x))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = Block()
            self.side = nn.Linear(2, 5)
            self.head = nn.Sequential(nn.ReLU(), nn.Linear(5, 1))

        def forward(self, x):
            return self.head(self.block(x) + self.side(x))

    return Net()


def train_torch(model):
    import torch

    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    net(torch.ones(3, 2)).sum().backward()
    optimizer.step()
    return {"score": 1.0, "seen": " ".join(name for name, _ in net.named_parameters())}


def test_torch_modules_are_gone_from_the_model_that_was_trained(ablate: Ablate) -> None:
    study = AblationStudy(model=make_nested)
    study.model.layers.include("block", "block.same", "side", "head.0")
    run = ablate(train_torch, study)
    layers = seen(run)
    assert set(states(run).values()) == {"COMPLETE"}
    assert "block.wide.weight" not in layers["block"]
    assert "block.same.weight" not in layers["block.same"]
    assert "block.wide.weight" in layers["block.same"]
    assert "side.weight" not in layers["side"]
    table = run.ablation.set_index("component")
    assert table.loc["block.same", "parameters"] == table.loc["baseline", "parameters"] - 30
    assert table.loc["head.0", "parameters"] == table.loc["baseline", "parameters"]
    changes = {trial.hparams["component"]: trial.changes for trial in run.view.trials.values()}
    assert changes["baseline"] == ()
    assert all(changes[name] for name in ("block", "block.same", "side", "head.0"))


def make_functional() -> Any:
    import keras

    inputs = keras.Input((4,))
    h = keras.layers.Dense(4, name="first")(inputs)
    h = keras.layers.Dense(4, name="second")(h)
    h = keras.layers.Add(name="skip")([inputs, h])
    model = keras.Model(inputs, keras.layers.Dense(1)(h))
    model.compile("sgd", "mse")
    return model


def make_sequential() -> Any:
    import keras

    layers = [keras.layers.Dense(8), keras.layers.Dropout(0.1), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile("sgd", "mse")
    return model


def train_keras(model_function):
    import numpy as np

    model = model_function()
    model.fit(np.ones((4, 4)), np.ones((4, 1)), verbose=0)
    return {"score": 1.0, "seen": " ".join(layer.name for layer in model.layers)}


@pytest.mark.parametrize(
    ("factory", "layers", "expected"),
    [
        (make_functional, ("first", "second"), {"first": "second skip dense", "second": "first skip dense"}),
        (make_sequential, ("dense", "dropout"), {"dense": "dropout dense_1", "dropout": "dense dense_1"}),
    ],
)
def test_keras_layers_are_gone_from_the_model_that_was_trained(
    ablate: Ablate, factory: Callable[[], Any], layers: tuple[str, ...], expected: dict[str, str]
) -> None:
    study = AblationStudy(model=factory)
    study.model.layers.include(*layers)
    run = ablate(train_keras, study, repeats=2, workers=1)  # TensorFlow is imported once
    assert set(states(run).values()) == {"COMPLETE"}
    for name, text in expected.items():
        assert seen(run)[name].endswith(text)
    assert run.ablation["parameters"].notna().all()


def make_pipeline() -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    columns = ColumnTransformer([("scaled", StandardScaler(), ["age"]), ("raw", "passthrough", ["fare"])])
    return Pipeline([("columns", columns), ("scaler", StandardScaler()), ("classifier", LogisticRegression())])


def train_sklearn(model, dataset):
    pipeline = model().fit(dataset[["age", "fare"]], dataset["y"])
    steps = [f"{name}={type(step).__name__}" for name, step in pipeline.steps]
    return {"score": 1.0, "seen": f"{steps} {pipeline.named_steps['classifier'].n_features_in_}"}


def test_sklearn_steps_are_gone_from_the_pipeline_that_was_fitted(ablate: Ablate) -> None:
    study = AblationStudy(dataset=FRAME, label_name="y", model=make_pipeline)
    study.model.steps.include("scaler", "columns__raw")
    layers = {name: str(text) for name, text in seen(ablate(train_sklearn, study)).items()}
    assert "scaler=StandardScaler" in layers["baseline"]
    assert "scaler=StandardScaler" not in layers["scaler"]
    assert layers["baseline"].endswith(" 2")
    assert layers["columns__raw"].endswith(" 1")


# what fails, fails alone


def test_a_part_that_cannot_be_left_out_fails_alone_and_says_why(ablate: Ablate) -> None:
    study = AblationStudy(model=make_functional)
    study.model.layers.include("first", "dense")
    run = ablate(train_keras, study, repeats=2, workers=1)  # TensorFlow is imported once
    assert run.state == "COMPLETE"
    assert states(run) == {"baseline": "COMPLETE", "first": "COMPLETE", "dense": "FAILED"}
    table = run.ablation.set_index("component")
    assert table.loc["dense", "state"] == "FAILED"
    assert table.loc["dense", "reason"]
    assert run.ablation.set_index("component").loc["first", "n"] == 2


def test_a_function_that_never_builds_its_model_is_no_second_baseline(ablate: Ablate) -> None:
    def forgetful(model):
        return {"score": 1.0}

    study = AblationStudy(model=make_nested)
    study.model.layers.include("side")
    run = ablate(forgetful, study)
    assert states(run) == {"baseline": "COMPLETE", "side": "FAILED"}
    assert "without calling `model()`" in str(run.trials[1].error)


def test_every_variant_has_the_same_seeds_and_each_repeat_another(ablate: Ablate) -> None:
    def draw(seed, augment: Switch() = True, decay: Switch(0) = 0.5, hparams=None):
        import random

        return {"score": random.random(), "seen": f"{augment} {decay} {sorted(hparams)}", "seed": seed}

    run = ablate(draw, repeats=3)
    by_repeat: dict[int, set[tuple[float, float]]] = {}
    for trial in run.trials:
        by_repeat.setdefault(trial.hparams["repeat"], set()).add((trial.metrics["score"], trial.metrics["seed"]))
    assert [len(values) for values in by_repeat.values()] == [1, 1, 1]
    assert len(set.union(*by_repeat.values())) == 3
    assert seen(run) == {
        "baseline": "True 0.5 []",
        "augment": "False 0.5 ['augment']",
        "decay": "True 0 ['decay']",
    }
    table = run.ablation
    assert list(table[table["metric"] == "score"]["evidence"]) == [None, "none", "none"]


def test_what_a_function_does_to_its_data_does_not_reach_the_next_trial(ablate: Ablate) -> None:
    def spoil(dataset, augment: Switch() = True):
        total = float(dataset["age"].sum())
        dataset["age"] = 0
        return {"score": total}

    run = ablate(spoil, AblationStudy(dataset=FRAME, label_name="y"), repeats=3, workers=1)
    assert {trial.metrics["score"] for trial in run.trials} == {6.0}


def test_what_a_trial_does_to_its_process_does_not_reach_the_next_one(ablate: Ablate) -> None:
    def spoil(precise: Switch() = True):
        import os
        import random

        was_clean = "MARK" not in os.environ
        os.environ["MARK"] = "1"
        random.seed(0)
        return {"score": float(was_clean) + precise}

    run = ablate(spoil, repeats=2, workers=1)
    assert sorted(trial.metrics["score"] for trial in run.trials) == [1.0, 1.0, 2.0, 2.0]


def test_a_function_that_goes_round_its_argument_is_told_so(ablate: Ablate) -> None:
    def around(dataset):
        return {"score": float(len(FRAME.columns))}

    study = AblationStudy(dataset=FRAME, label_name="y")
    study.features.include()
    run = ablate(around, study)
    notices = " ".join(run.view.notices)
    assert "around() uses the global 'FRAME', of which nothing is left out: use its argument 'dataset'." in notices
    assert "The same as the baseline in every metric" in " ".join(run.ablation.attrs["notices"])


def test_a_label_that_was_taken_for_a_feature_is_recognised(ablate: Ablate) -> None:
    def fit(dataset):
        return {"score": float(dataset["y"].sum())}

    study = AblationStudy(dataset=FRAME)
    study.features.include()
    run = ablate(fit, study)
    errors = {trial.hparams["component"]: str(trial.error.message) for trial in run.trials if trial.error}
    assert list(errors) == ["y"]
    assert "if it is the label, say so: AblationStudy(label_name='y')" in errors["y"]


def test_a_baseline_that_fails_ends_in_an_error_only_when_all_fail(ablate: Ablate) -> None:
    def broken(augment: Switch() = True):
        raise ValueError("shapes")

    with pytest.raises(RunFailed, match="shapes"):
        ablate(broken)


def test_a_retried_variant_takes_its_place_in_the_table(ablate: Ablate, tmp_path: Path) -> None:
    mark = tmp_path / "mark"

    def flaky(augment: Switch() = True):
        if not augment and not mark.exists():
            mark.touch()
            raise OSError("a disk that was full")
        return {"score": 1.0 if augment else 0.5}

    run = ablate(flaky, retries=1)
    table = run.ablation.set_index("component")
    assert table.loc["augment", "delta"] == -0.5
    assert table.loc["augment", "state"] == "COMPLETE"


def test_custom_variants_are_compared_like_all_others(ablate: Ablate) -> None:
    def small() -> Any:
        from torch import nn

        return nn.Linear(2, 1)

    study = AblationStudy(model=make_nested)
    study.add("small", model=small)
    run = ablate(train_torch, study)
    assert seen(run)["small"] == "weight bias"


def test_the_best_trial_of_an_ablation_is_no_result_and_not_told_as_one(ablate: Ablate) -> None:
    def score(augment: Switch() = True):
        return {"score": 1.0 if augment else 2.0}

    run = ablate(score)
    assert "best" not in repr(run)
    assert "Best" not in run.describe_end()
    assert run.describe_end().endswith("Baseline: score 1 (n 1). The table: lagom_run.ablation")


def test_a_stopped_ablation_keeps_what_it_has_also_for_other_processes(ablate: Ablate, tmp_path: Path) -> None:
    mark = str(tmp_path / "mark")
    os.mkfifo(mark)

    def slow(augment: Switch() = True, decay: Switch(0.0) = 0.1, reporter=None):
        if not decay:
            Path(mark).write_text("it runs")
            for step in range(10**9):
                reporter.broadcast(0.5, step=step)
        return {"score": 1.0 if augment else 0.5}

    live = ablate(slow, workers=1, detach=True)
    assert Path(mark).read_text() == "it runs"  # waits for the trial
    live.stop()
    assert live.wait(20)
    run = Run(live.dir)
    table = run.ablation.set_index("component")
    assert run.state == "STOPPED"
    assert table.loc["augment", "delta"] == -0.5
    assert table.loc["decay", "state"] == "STOPPED"
