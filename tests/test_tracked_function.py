"""A function without a line of tracking code: all that it did is in the run's folder, TensorBoard and the registry."""

from __future__ import annotations

import json
import random
import textwrap
from hashlib import sha256
from pathlib import Path

import pytest
from magic_shell import open_notebook
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lagom_magic import Metric, OptimizationConfig, Run, Searchspace, model
from lagom_magic.cluster.process import ProcessLauncher
from lagom_magic.events.facts import TrialState
from lagom_magic.experiment import launch
from lagom_magic.spec.config import BaseConfig
from lagom_magic.spec.space import Int
from lagom_magic.store.search import search

ROWS = 120


def train(data_path, max_depth, min_child_weight, estimators):  # type: ignore[no-untyped-def]
    import csv

    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt
    import numpy as np
    import xgboost

    from lagom_magic import model

    with open(data_path, newline="") as file:
        rows = np.array([[float(value) for value in row] for row in list(csv.reader(file))[1:]])
    x, y = rows[:, :-1], rows[:, -1]
    cut = len(rows) * 2 // 3
    classifier = xgboost.XGBClassifier(
        n_estimators=estimators, max_depth=max_depth, min_child_weight=min_child_weight, n_jobs=1
    )
    classifier.fit(x[:cut], y[:cut], eval_set=[(x[cut:], y[cut:])], verbose=False)
    accuracy = float((classifier.predict(x[cut:]) == y[cut:]).mean())
    print(f"depth {max_depth}: {accuracy:.3f}")
    with open("logfile.txt", "w") as log:
        log.write(f"trained {estimators} trees on {cut} rows\n")
    plt.plot(x[:20, 0])
    plt.savefig("diagram.png")
    model.export(classifier, "trees", metrics={"accuracy": accuracy})
    return {"accuracy": accuracy, "loss": 1 - accuracy, "logfile": "logfile.txt", "diagram": "diagram.png"}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A CSV beside the notebook."""
    monkeypatch.setenv("LAGOM_HOME", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    draw = random.Random(0).random
    rows = [[draw(), draw(), draw()] for _ in range(ROWS)]
    lines = ["a,b,c,y", *(",".join(f"{value:.6f}" for value in (*row, float(row[0] > row[1]))) for row in rows)]
    path = tmp_path / "data.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def run(config: BaseConfig) -> Run:
    return launch(train, config, ui="none", make_launcher=lambda kit, _, n: ProcessLauncher(kit, n))


def assert_trial_is_whole(run: Run, trial_id: int, data: Path) -> None:
    trial = run.trials[trial_id]
    assert trial.state is TrialState.COMPLETE, trial
    assert trial.metrics["accuracy"] + trial.metrics["loss"] == pytest.approx(1)
    estimators = trial.hparams["estimators"]
    assert trial.artifacts["logfile.txt"].read_text() == f"trained {estimators} trees on {ROWS * 2 // 3} rows\n"
    assert trial.artifacts["diagram.png"].read_bytes().startswith(b"\x89PNG")
    printed = (trial.dir / "output.log").read_text()
    assert f"depth {trial.hparams['max_depth']}: {trial.metrics['accuracy']:.3f}" in printed
    view = run.view.trials[trial_id]
    assert view.n_steps == estimators, "one report a boosting round, logged by itself"
    assert view.params["XGBClassifier.max_depth"] == trial.hparams["max_depth"]
    assert view.files_used is not None
    assert [read["path"] for read in view.files_used.reads] == [str(data)]
    events = EventAccumulator(str(run.dir / "tensorboard" / f"{trial_id:04d}"))
    events.Reload()
    assert events.Scalars("accuracy")[-1].value == pytest.approx(trial.metrics["accuracy"])


def test_a_single_call_is_tracked_whole(data: Path) -> None:
    fixed = {"data_path": str(data), "max_depth": 2, "min_child_weight": 1, "estimators": 7}
    once = run(BaseConfig(hparams=fixed, tags=["pii"], description="trees once"))
    assert_trial_is_whole(once, 0, data)
    document = once.config
    assert (document["config"]["tags"], document["config"]["description"]) == (["pii"], "trees once")
    assert "def train(data_path" in (once.dir / "source.py").read_text()
    assert "xgboost" in (once.dir / "environment.txt").read_text()
    provenance = json.loads((once.dir / "provenance.json").read_text())
    assert provenance["hardware"]["cores"] >= 1
    kept = model.get_model("trees")
    assert kept["metrics"] == {"accuracy": once.trials[0].metrics["accuracy"]}
    booster = model.load("trees")
    assert booster.get_params()["max_depth"] == 2


def test_a_search_over_two_of_its_arguments_is_tracked_whole(data: Path) -> None:
    searched = run(
        OptimizationConfig(
            num_trials=3,
            workers=2,
            optimization_key="accuracy",
            pruner="none",
            searchspace=Searchspace(max_depth=Int(1, 4), min_child_weight=Int(1, 5)),
            hparams={"data_path": str(data), "estimators": 5},
        )
    )
    for trial in searched.trials:
        assert_trial_is_whole(searched, trial.id, data)
    best = model.get_best_model("trees", "accuracy", Metric.MAX)
    assert searched.best is not None
    assert best["metrics"]["accuracy"] == searched.best.metric
    assert best["version"] in (1, 2, 3)


def test_what_an_argument_had_as_its_own_default_is_kept_and_found(data: Path) -> None:
    def fit(data_path, depth=3, rate=0.5, kinds=("a", "b"), fallback=print, seed=None):  # type: ignore[no-untyped-def]
        return depth * rate

    config = BaseConfig(hparams={"data_path": str(data), "rate": 0.25})
    once = launch(fit, config, ui="none", make_launcher=lambda kit, _, n: ProcessLauncher(kit, n))
    assert once.config["defaults"] == {
        "depth": 3,
        "kinds": ["a", "b"],
        "fallback": "<built-in function print>",
    }
    home = once.dir.parent.parent
    assert [found.summary.run_id for found in search(home, "depth=3 rate=0.25").found] == [once.id]
    assert search(home, "rate=0.5").found == []
    assert [found.summary.run_id for found in search(home, "fallback").found] == [once.id]


def test_a_models_lineage_leads_to_its_trial_and_to_the_data_and_back(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fixed = {"data_path": str(data), "max_depth": 2, "min_child_weight": 1, "estimators": 3}
    once = run(BaseConfig(hparams=fixed, name="trees-once"))
    with open_notebook(data.parent / "ipython") as notebook:

        def lineage(of: str) -> str:
            notebook.run(f"%lagom lineage {of}").raise_error()
            return capsys.readouterr().out

        of_model = lineage("trees")
        assert once.id in of_model
        assert data.name in of_model
        assert sha256(data.read_bytes()).hexdigest()[:8] in of_model
        of_data = lineage(str(data))
        assert once.id in of_data
        assert "trees" in of_data


def test_the_function_stays_plain(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = train(str(data), 2, 1, 3)
    assert set(result) == {"accuracy", "loss", "logfile", "diagram"}
    assert (data.parent / "logfile.txt").exists()
    assert model.get_model("trees")["metrics"] == {"accuracy": result["accuracy"]}
    assert textwrap.shorten(capsys.readouterr().out, 100).startswith("depth 2:")
