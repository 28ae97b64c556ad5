"""A living run with real workers, stopped and steered by another process of the same user."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lagom_magic import Int, OptimizationConfig
from lagom_magic.cluster.process import ProcessLauncher
from lagom_magic.driver.driver import Driver
from lagom_magic.errors import StoreError
from lagom_magic.events import facts
from lagom_magic.events.facts import RunState, TrialState
from lagom_magic.experiment import launch
from lagom_magic.run import Run
from lagom_magic.store.journal import JournalReader
from lagom_magic.store.requests import send_request


class Steered:
    """A run of this process, and another process that asks something of it."""

    def __init__(self, run: Run) -> None:
        assert isinstance(run._live, Driver)
        self.run = run
        self._progress = threading.Event()
        run._live.on_progress = self._progress.set

    def until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            assert self._progress.wait(30), self.run
            self._progress.clear()

    def is_reporting(self, trial_id: int) -> bool:
        trial = self.run.view.trials.get(trial_id)
        return trial is not None and trial.state is TrialState.RUNNING and trial.n_steps > 0

    def ask(self, call: str) -> None:
        code = f"import sys; from lagom_magic.run import Run; Run(sys.argv[1]).{call}"
        subprocess.run([sys.executable, "-c", code, self.run.dir], check=True, timeout=60)

    def facts(self, kind: type[facts.Fact]) -> list[facts.Fact]:
        return [line.fact for line in JournalReader(self.run.dir).read_new() if isinstance(line.fact, kind)]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Steered]:
    monkeypatch.setenv("LAGOM_HOME", str(tmp_path / "runs"))

    def begin(train_fn: Callable[..., float], **options: object) -> Steered:
        config = OptimizationConfig(num_trials=4, workers=1, optimizer="grid", pruner="none", **options)
        run = launch(
            train_fn,
            config,
            detach=True,
            ui="none",
            make_launcher=lambda kit, _, n_workers: ProcessLauncher(kit, n_workers),
        )
        return Steered(run)

    return begin


def test_another_process_prunes_retries_and_stops(start: Callable[..., Steered], tmp_path: Path) -> None:
    marker = str(tmp_path / "has failed once")

    def train(n: Int(0, 3), reporter) -> float:
        if n == 1:
            if os.path.exists(marker):
                return 1.0
            open(marker, "w").close()
            raise ValueError("the first attempt")
        step = 0
        while True:
            reporter.broadcast(n / 10, step=step)
            step += 1
            threading.Event().wait(0.01)

    steered = start(train)
    run = steered.run
    steered.until(lambda: steered.is_reporting(0))
    steered.ask("prune(0)")
    steered.until(lambda: steered.is_reporting(2))
    assert [trial.state for trial in run.trials[:2]] == [TrialState.PRUNED, TrialState.FAILED]
    steered.ask("retry(1)")
    steered.until(lambda: run.view.trials[1].state is TrialState.WAITING)
    steered.ask("prune(2)")
    steered.until(lambda: steered.is_reporting(3))
    steered.ask("retry(0)")
    steered.until(lambda: bool(run.view.notices))
    steered.ask("stop()")
    assert run.wait(30)

    assert run.state is RunState.STOPPED
    assert run.error == "stopped by its user"
    assert run.view.notices == ["trial 0 is pruned: only a failed trial can be retried."]
    assert [(trial.attempt, trial.state) for trial in run.trials] == [
        (1, TrialState.PRUNED),
        (2, TrialState.COMPLETE),
        (1, TrialState.PRUNED),
        (1, TrialState.STOPPED),
    ]
    started = [(fact.trial_id, fact.attempt) for fact in steered.facts(facts.TrialStarted)]  # type: ignore[attr-defined]
    assert started == [(0, 1), (1, 1), (2, 1), (1, 2), (3, 1)]
    result = json.loads((run.dir / "result.json").read_text())
    assert (result["best_id"], result["best_val"], result["early_stopped"]) == (1, 1.0, 2)
    assert result["counts"] == {"COMPLETE": 1, "PRUNED": 2, "STOPPED": 1}


def test_the_pipe_goes_with_the_run_and_garbage_in_it_does_no_harm(start: Callable[..., Steered]) -> None:
    def train(n: Int(0, 3), reporter) -> float:
        for step in range(3):
            reporter.broadcast(n, step=step)
        return n

    steered = start(train)
    pipe = steered.run.dir / "requests"
    assert pipe.is_fifo()
    with open(pipe, "wb", buffering=0) as file:
        file.write(b'{"action": "format the disk"}\n[[[[\n\xff\xfe\n{"action"')
    assert steered.run.wait(60)
    assert steered.run.state is RunState.COMPLETE
    assert steered.facts(facts.Noticed) == []
    assert not pipe.exists()
    with pytest.raises(StoreError, match="it has ended"):
        send_request(steered.run.dir, {"action": "stop"})
