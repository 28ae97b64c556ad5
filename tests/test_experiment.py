"""`experiment.lagom` and `launch` over real supervisors, without Spark."""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lagom_magic import (
    Float,
    Int,
    OptimizationConfig,
    Searchspace,
    TfDistributedConfig,
    TorchDistributedConfig,
    experiment,
)
from lagom_magic.cluster.process import ProcessLauncher
from lagom_magic.errors import ConfigError, RunFailed, RunStopped
from lagom_magic.experiment import current_run, launch
from lagom_magic.run import Run
from lagom_magic.spec.config import BaseConfig
from lagom_magic.spec.inspection import plan_function

Launch = Callable[..., Run]


@pytest.fixture
def run_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Launch:
    """`launch` with plain processes for workers and a folder of its own."""
    monkeypatch.setenv("LAGOM_HOME", str(tmp_path / "runs"))

    def start(train_fn: Callable[..., Any], config: BaseConfig, **options: Any) -> Run:
        return launch(
            train_fn,
            config,
            **{"ui": "none", "make_launcher": lambda kit, _, n_workers: ProcessLauncher(kit, n_workers)} | options,
        )

    return start


def quadratic(x: Float(-1, 1) = 0.0, reporter=None):
    value = 1 - x * x
    if reporter:
        reporter.broadcast(value / 2, step=0)
    return {"score": value, "cost": abs(x)}


SEARCH = OptimizationConfig(num_trials=4, workers=2, optimization_key="score")


def test_a_search_finds_the_best_and_the_function_still_runs_as_it_is(run_here: Launch) -> None:
    run = run_here(quadratic, SEARCH)
    assert run.state == "COMPLETE"
    assert run.best is not None
    assert run.best.metric == max(trial.metrics["score"] for trial in run.trials)
    assert run["best_config"] == run.best.hparams
    assert len(run.to_dataframe()) == 4
    assert len(run.study.trials) == 4
    assert quadratic(**run.best.hparams)["score"] == run.best.metric


def test_the_smallest_is_the_best_when_minimising(run_here: Launch) -> None:
    run = run_here(quadratic, OptimizationConfig(num_trials=4, workers=2, optimization_key="cost", direction="min"))
    assert run.best is not None
    assert run.best.metric == min(trial.metrics["cost"] for trial in run.trials)


def test_the_same_seed_suggests_the_same(run_here: Launch) -> None:
    values = [
        [trial.hparams["x"] for trial in run_here(quadratic, OptimizationConfig(**options)).trials]
        for options in (
            {"num_trials": 4, "workers": 2, "optimization_key": "score", "seed": seed} for seed in (3, 3, 4)
        )
    ]
    assert values[0] == values[1] != values[2]


def test_a_history_based_sampler_with_one_worker_repeats_itself(run_here: Launch) -> None:
    config = OptimizationConfig(num_trials=14, workers=1, optimizer="tpe", optimization_key="score", seed=1)
    first, second = ([trial.hparams["x"] for trial in run_here(quadratic, config).trials] for _ in range(2))
    assert first == second


def test_one_tracked_call_uses_the_defaults_and_keeps_what_it_returns(run_here: Launch) -> None:
    run = run_here(quadratic, BaseConfig())
    assert run.state == "COMPLETE"
    assert run.result["score"] == 1.0
    assert [trial.hparams for trial in run.trials] == [{"x": 0.0}]


def test_a_promoting_pruner_gives_budgets_to_a_function_that_names_them(run_here: Launch) -> None:
    def train(x: Float(0, 1), budget: int) -> float:
        return float(x * budget)

    config = OptimizationConfig(num_trials=12, workers=2, pruner="asha")
    run = run_here(train, config)
    budgets = {trial.budget for trial in run.view.trials.values()}
    assert len(budgets) > 1
    assert None not in budgets


def test_a_default_budget_stays_when_nobody_gives_one(run_here: Launch) -> None:
    def train(x: Float(0, 1), budget: int = 7) -> int:
        return budget

    assert {t.metric for t in run_here(train, OptimizationConfig(num_trials=2, pruner="median")).trials} == {7.0}


def test_a_budget_that_nobody_gives_is_refused_before_anything_starts(run_here: Launch) -> None:
    import optuna

    def train(x: Float(0, 1), budget: int) -> float:
        return x * budget

    with pytest.raises(ConfigError, match="--pruner asha"):
        run_here(train, OptimizationConfig(num_trials=2, pruner=optuna.pruners.MedianPruner()))


def test_a_grid_runs_no_more_than_its_trials_and_says_so(run_here: Launch) -> None:
    def train(n: Int(1, 9)) -> int:
        return n

    run = run_here(train, OptimizationConfig(num_trials=3, workers=1, optimizer="grid"))
    assert len(run.trials) == 3
    assert run.view.notices == ["the grid has 9 points, and 3 of them run; --trials 9 runs all."]


def test_fixed_hparams_win_over_the_annotation(run_here: Launch) -> None:
    def train(x: Float(0, 1), n: Int(1, 9)) -> float:
        return x * n

    run = run_here(train, OptimizationConfig(num_trials=3, workers=1, hparams={"n": 20}))
    assert {trial.hparams["n"] for trial in run.trials} == {20}


def test_isolated_trials_share_nothing(run_here: Launch) -> None:
    seen: list[int] = []

    def train(x: Float(0, 1)) -> int:
        seen.append(1)
        return len(seen)

    run = run_here(train, OptimizationConfig(num_trials=4, workers=1, isolate=True))
    assert [trial.metric for trial in run.trials] == [1.0] * 4


def failing(x: Float(0, 1)):
    raise ValueError(f"no luck with {x}")


def test_a_run_of_failed_trials_raises_with_the_run_and_the_first_reason(run_here: Launch) -> None:
    with pytest.raises(RunFailed, match="no luck with") as caught:
        run_here(failing, OptimizationConfig(num_trials=2, workers=1))
    assert caught.value.run is not None
    assert [trial.state for trial in caught.value.run.trials] == ["FAILED", "FAILED"]
    assert caught.value._render_traceback_()[0].startswith("RunFailed: Run ")


def test_a_wrong_metric_name_ends_the_run_with_those_seen(run_here: Launch) -> None:
    with pytest.raises(RunFailed, match=r"'skore' is not among what it returned: score, cost\. Did you mean score\?"):
        run_here(quadratic, OptimizationConfig(num_trials=20, optimization_key="skore"))


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        ({"accuracy": 0.9, "loss": 0.1}, r"'acuracy' is not among what it returned: accuracy, loss\. Did you mean acc"),
        (None, "it returned None and broadcast nothing"),
    ],
)
def test_a_single_call_without_the_metric_that_was_named_has_failed(
    run_here: Launch, returned: Any, words: str
) -> None:
    with pytest.raises(RunFailed, match=words) as caught:
        run_here(lambda: returned, BaseConfig(optimization_key="acuracy"))
    assert caught.value.run is not None
    assert [trial.state for trial in caught.value.run.trials] == ["FAILED"]


def test_a_single_call_may_return_its_metric_as_a_plain_number_or_broadcast_it(run_here: Launch) -> None:
    def broadcasting(reporter):
        reporter.broadcast(0.5, step=0)

    config = BaseConfig(optimization_key="accuracy")
    assert [run_here(fn, config).trials[0].metric for fn in (lambda: 0.5, broadcasting)] == [0.5, 0.5]


def test_a_single_call_that_raises_shows_its_traceback_in_the_cell_and_in_a_script(run_here: Launch) -> None:
    def unlucky():
        raise ValueError("no luck")

    with pytest.raises(RunFailed) as caught:
        run_here(unlucky, BaseConfig())
    line, shown = caught.value._render_traceback_()
    assert line.endswith("failed: the trial failed with ValueError: no luck. 1 trial: 1 failed.")
    assert shown.startswith("Traceback (most recent call last):")
    assert 'raise ValueError("no luck")' in shown
    assert shown.endswith("ValueError: no luck")
    assert "".join(traceback.format_exception(caught.value)).endswith(f"{shown}\n")


def test_several_numbers_without_a_name_end_the_run_with_the_fix(run_here: Launch) -> None:
    with pytest.raises(RunFailed, match="--maximize score"):
        run_here(quadratic, OptimizationConfig(num_trials=20))


def slow(x: Float(0, 1), reporter):
    import time

    for step in range(2000):
        reporter.broadcast(x, step)
        time.sleep(0.02)
    return x


def _when_running(run: Run) -> None:
    running = threading.Event()
    live = run._live
    assert live is not None
    live.on_progress = lambda: running.set() if run.view.running else None  # type: ignore[attr-defined]
    assert run.view.running or running.wait(30)


def test_a_detached_run_can_be_watched_and_stopped(run_here: Launch) -> None:
    run = run_here(slow, OptimizationConfig(num_trials=4, workers=2), detach=True)
    assert current_run() == run
    _when_running(run)
    with pytest.raises(ConfigError, match=r"%lagom stop"):
        run_here(quadratic, SEARCH)
    run.stop()
    assert run.wait(10)
    assert run.state == "STOPPED"
    assert current_run() is None
    assert run_here(quadratic, SEARCH).state == "COMPLETE"


def test_noninteractive_waits_for_a_detached_run(run_here: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAGOM_NONINTERACTIVE", "1")
    assert run_here(quadratic, SEARCH, detach=True).state == "COMPLETE"


def test_an_interrupt_stops_the_run_and_keeps_it(run_here: Launch) -> None:
    def interrupt() -> None:
        while (run := current_run()) is None or not run.view.running:
            assert not stopped.wait(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    stopped = threading.Event()
    person = threading.Thread(target=interrupt, name="person")
    person.start()
    try:
        with pytest.raises(RunStopped) as caught:
            run_here(slow, OptimizationConfig(num_trials=4, workers=2))
    finally:
        stopped.set()
        person.join()
    assert caught.value.run is not None
    assert {trial.state for trial in caught.value.run.trials} == {"STOPPED"}
    assert str(caught.value).endswith(f" %lagom resume {caught.value.run.id} goes on with what is missing.")


def test_nothing_starts_for_what_cannot_work(run_here: Launch, tmp_path: Path) -> None:
    lock = threading.Lock()

    def locked(x: Float(0, 1)) -> float:
        with lock:
            return x

    for train_fn, config, message in (
        (lambda: 1, OptimizationConfig(), "nothing to search"),
        (locked, OptimizationConfig(), "lock"),
        (quadratic, OptimizationConfig(optimizer="grid"), "step"),
        (
            lambda module: 1,
            TfDistributedConfig(module=type("Net", (), {"__module__": "torch.nn"})),
            "is Net, of PyTorch",
        ),
    ):
        with pytest.raises(ConfigError, match=message):
            run_here(train_fn, config)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            TorchDistributedConfig(),
            r"run \S+ \(--resume\) kept no checkpoint to go on from\. The function keeps one with",
        ),
        (SEARCH, r"run \S+ \(--resume\) is of %%lagom run, not of %%lagom hpo\."),
    ],
    ids=["training", "search"],
)
def test_what_cannot_be_resumed_says_why(run_here: Launch, config: BaseConfig, words: str) -> None:
    earlier = run_here(quadratic, BaseConfig(hparams={"x": 0.5}))
    with pytest.raises(ConfigError, match=words):
        run_here(quadratic, config, resumed=earlier)


def test_keywords_make_the_config() -> None:
    made = experiment._config_of(quadratic, {"num_trials": 3, "optimizer": "randomsearch", "name": "e"})
    assert isinstance(made, OptimizationConfig)
    assert type(experiment._config_of(quadratic, {"name": "e"})) is BaseConfig
    space = Searchspace(x=("DOUBLE", [0.0, 1.0]))
    assert isinstance(experiment._config_of(quadratic, {"searchspace": space}), OptimizationConfig)
    with pytest.raises(ConfigError, match="config or keywords"):
        experiment.lagom(quadratic, SEARCH, name="e")


def test_the_driver_log_is_kept_on_request(run_here: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAGOM_LOG", "debug")
    run = run_here(quadratic, SEARCH)
    assert (run.dir / "driver.log").exists()


def test_the_source_and_config_stand_in_the_folder(run_here: Launch) -> None:
    run = run_here(quadratic, SEARCH)
    assert "def quadratic" in (run.dir / "source.py").read_text()
    assert run.config["config"]["num_trials"] == 4
    assert run.config["searchspace"]["x"]["kind"] == "Float"
    assert plan_function(quadratic, SEARCH).space.keys() == {"x"}
