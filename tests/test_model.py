"""The public `model` module: outside of a run, and from real trials into the registry."""

from __future__ import annotations

import pickle
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from lagom_magic import BaseConfig, Float, Metric, OptimizationConfig, Run, model
from lagom_magic.cluster.process import ProcessLauncher
from lagom_magic.errors import ConfigError, RunFailed, StoreError
from lagom_magic.experiment import launch
from lagom_magic.store import registry

torch.set_num_threads(1)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of runs and models; the current one is empty."""
    monkeypatch.setenv("LAGOM_HOME", str(tmp_path / "runs"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "runs"


def run_here(train_fn: Callable[..., Any], config: BaseConfig) -> Run:
    return launch(train_fn, config, ui="none", make_launcher=lambda kit, _, n_workers: ProcessLauncher(kit, n_workers))


def fitted() -> LogisticRegression:
    return LogisticRegression().fit(np.arange(8.0).reshape(4, 2), [0, 1, 0, 1])


# outside of a run


def test_a_file_is_registered_at_once(home: Path) -> None:
    Path("model.xgb").write_text("w")
    given = model.export("model.xgb", "titanic", metrics={"accuracy": np.float32(0.5)}, description="first")
    assert (given["name"], given["version"], given["metrics"]) == ("titanic", 1, {"accuracy": 0.5})
    assert given["path"] == home / ".models/titanic/1/files/model.xgb"
    assert given["path"].read_text() == "w"
    assert (given["run"], given["trial_id"], given["inputs"]) == (None, None, [])
    assert model.export("model.xgb", "titanic")["version"] == 2
    assert model.get_model("titanic", 1) == given
    assert model.get_model("titanic")["version"] == 2
    assert Path("model.xgb").exists()


def test_the_best_model_is_found_by_a_metric(home: Path) -> None:
    Path("m").touch()
    for value in (0.5, 0.9, 0.7):
        model.export("m", "titanic", metrics={"accuracy": value})
    assert model.get_best_model("titanic", "accuracy", Metric.MAX)["version"] == 2
    assert model.get_best_model("titanic", "accuracy")["version"] == 2
    assert model.get_best_model("titanic", "accuracy", Metric.MIN)["version"] == 1
    assert model.get_best_model("titanic", "accuracy", "min")["version"] == 1
    with pytest.raises(
        ConfigError, match=r"direction='MAXX'; allowed: Metric\.MAX and Metric\.MIN\. Did you mean max\?"
    ):
        model.get_best_model("titanic", "accuracy", "MAXX")
    (home / ".models/titanic/2/model.json").write_text("{")
    with pytest.warns(UserWarning, match="passed over: titanic version 2 cannot be read"):
        assert model.get_best_model("titanic", "accuracy")["version"] == 3


def test_models_are_loaded_from_what_they_were_saved_as(home: Path) -> None:
    linear = torch.nn.Linear(2, 1)
    model.export(linear, "net")
    assert set(model.load("net")) == {"weight", "bias"}
    assert torch.equal(model.load("net", model=lambda: torch.nn.Linear(2, 1)).weight, linear.weight)
    estimator = fitted()
    given = model.export(estimator, "logistic")
    assert (given["framework"], given["signature"]["outputs"]) == ("sklearn", "classes: 0, 1")
    np.testing.assert_array_equal(model.load("logistic", 1).coef_, estimator.coef_)


def test_what_cannot_be_loaded_is_said_and_nothing_is_unpickled_that_has_changed(home: Path, tmp_path: Path) -> None:
    Path("saved").mkdir()
    Path("saved/model.pkl").touch()
    model.export("saved", "tree")
    with pytest.raises(ConfigError, match=r"tree version 1 is a folder\. Read it with what wrote it: model\.get_model"):
        model.load("tree")
    Path("weights.bin").touch()
    model.export("weights.bin", "bin")
    with pytest.raises(
        ConfigError, match=r"model\.load reads \.pt, \.keras, .*; bin version 1 is a file of kind '\.bin'"
    ):
        model.load("bin")
    torch.save({"net": torch.nn.Linear(1, 1)}, "whole.pt")
    model.export("whole.pt", "whole")
    with pytest.raises(ConfigError, match=r"whole\.pt holds more than tensors, .* torch\.load\('/.*/whole\.pt'"):
        model.load("whole")
    given = model.export(fitted(), "logistic")

    class Planted:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    given["path"].write_bytes(pickle.dumps(Planted()))
    with pytest.raises(StoreError, match="logistic version 1 has changed since its export"):
        model.load("logistic")
    assert not (tmp_path / "ran").exists()


def test_what_cannot_be_exported_is_one_clear_error_and_nothing_is_written(home: Path) -> None:
    Path("model.xgb").touch()
    for given, message in [
        (("modell.xgb", "x"), r"no file or folder 'modell\.xgb' in .*Did you mean model\.xgb\?"),
        (("model.xgb", "my model!"), r"'my model!' cannot be the name of a model: .*Try 'my_model'\."),
        (("model.xgb", "x", {"accuracy": "high"}), r"'accuracy': 'high' \(str\); allowed: a name and a number"),
        ((7, "x"), r"7 is a int; allowed: a file's or folder's path, or a model of PyTorch"),
        (("model.xgb", "x", None, 7), r"description=7 must be text"),
    ]:
        with pytest.raises(ConfigError, match=message):
            model.export(*given)
    assert not home.exists()


def test_a_disk_that_takes_no_more_is_one_error_and_leaves_nothing_behind(home: Path) -> None:
    Path("m").write_bytes(b"w" * 100_000)
    model.export("m", "titanic")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(StoreError, match=r"titanic could not be put into .*File too large"):
            model.export("m", "titanic")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(path.name for path in (home / ".models/titanic").iterdir()) == ["1"]
    assert model.get_model("titanic")["version"] == 1


def test_an_unknown_model_names_the_nearest(home: Path) -> None:
    Path("m").touch()
    model.export("m", "titanic")
    for call in (lambda: model.get_model("titanik"), lambda: model.load("titanik")):
        with pytest.raises(StoreError, match=r"no model 'titanik' in .*Did you mean titanic\?"):
            call()
    with pytest.raises(StoreError, match="Did you mean titanic"):
        model.get_best_model("titanik", "accuracy")


# in trials


def export_weights(x: Float(0, 1) = 0.5):
    with open("weights.txt", "w") as file:
        file.write(str(x))
    given = model.export("weights.txt", "weights")
    return {"score": x, "is_numbered": float(given["version"] is not None)}


def test_a_search_registers_a_version_a_trial_with_its_run_and_metrics(home: Path) -> None:
    run = run_here(export_weights, OptimizationConfig(num_trials=6, workers=2, optimization_key="score"))
    listing = registry.versions(home)
    assert [one.version for one in listing.versions] == [1, 2, 3, 4, 5, 6]
    assert sorted(one.trial_id for one in listing.versions if one.trial_id is not None) == [0, 1, 2, 3, 4, 5]
    assert run.best is not None
    best = model.get_best_model("weights", "score", Metric.MAX)
    assert (best["trial_id"], best["metrics"]["score"]) == (run.best.id, run.best.metric)
    assert best["run"] == {"id": run.id, "experiment": run.name, "dir": str(run.dir)}
    assert float(best["path"].read_text()) == run.best.metric
    assert all(trial.metrics["is_numbered"] == 0.0 for trial in run.trials)
    assert run.view.notices == []


def test_the_same_function_registers_at_once_in_a_plain_call(home: Path) -> None:
    assert export_weights() == {"score": 0.5, "is_numbered": 1.0}
    given = model.get_model("weights")
    assert (given["version"], given["run"], given["path"].read_text()) == (1, None, "0.5")


def test_a_model_that_the_trial_trained_is_loaded_in_the_notebook(home: Path, tmp_path: Path) -> None:
    (tmp_path / "work/data.csv").write_text("0,1\n2,3\n4,5\n6,7\n")

    def train():
        import numpy as np
        import sklearn.linear_model

        x = np.loadtxt("data.csv", delimiter=",")
        estimator = sklearn.linear_model.LogisticRegression().fit(x, [0, 1, 0, 1])
        model.export(estimator, "logistic", metrics={"accuracy": estimator.score(x, [0, 1, 0, 1])})
        return 1.0

    run = run_here(train, BaseConfig())
    given = model.get_best_model("logistic", "accuracy", Metric.MAX)
    assert given["signature"] == {"inputs": "2 features", "outputs": "classes: 0, 1"}
    assert [Path(item["path"]).name for item in given["inputs"]] == ["data.csv"]
    assert model.load("logistic").predict([[0.0, 1.0]]).shape == (1,)
    assert given["path"].samefile(run.trials[0].dir / "artifacts/models/logistic/model.pkl")


def test_each_failed_attempt_keeps_what_it_exported(home: Path) -> None:
    def train(trial):
        with open("weights", "w") as file:
            file.write(str(trial.attempt))
        model.export("weights", "weights")
        raise ValueError("after all")

    with pytest.raises(RunFailed):
        run_here(train, BaseConfig(retries=1))
    versions = registry.versions(home).versions
    assert sorted((one.attempt, one.state, one.path.read_text()) for one in versions) == [
        (1, "FAILED", "1"),
        (2, "FAILED", "2"),
    ]


def test_a_trial_process_that_dies_keeps_what_it_exported(home: Path) -> None:
    def train():
        import os
        import signal

        with open("weights", "w") as file:
            file.write("w")
        model.export("weights", "weights")
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(RunFailed):
        run_here(train, BaseConfig())
    (version,) = registry.versions(home).versions
    assert (version.state, version.path.read_text()) == ("FAILED", "w")
