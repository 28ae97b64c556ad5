"""Runs to draw: views made of facts, run folders that grow, and a publisher that tests can wait for."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from lagom_magic.display.publisher import Bundle, RecordingPublisher
from lagom_magic.events.facts import (
    Fact,
    MetricReported,
    RunEnded,
    RunStarted,
    RunState,
    TrialEnded,
    TrialError,
    TrialStarted,
    TrialState,
    WorkerRegistered,
    to_record,
)
from lagom_magic.events.fold import RunView, fold

BEGAN = 1_000_000_000.0


def run_started(**changes: Any) -> RunStarted:
    fields = {
        "run_id": "20261122-093000-k3f7",
        "experiment": "digits",
        "kind": "hpo",
        "n_trials": 30,
        "n_workers": 2,
        "metric": "accuracy",
        "direction": "max",
        "sampler": "tpe",
        "pruner": "asha",
        "seed": 7,
        "hparam_names": ("lr", "width"),
    }
    return RunStarted(**{**fields, **changes})


def trial_facts(
    trial_id: int,
    state: TrialState | None,
    value: float = 0.5,
    hparams: dict[str, Any] | None = None,
    n_steps: int = 3,
    error: TrialError | None = None,
) -> list[Fact]:
    """A trial of worker 1, up to its end in `state`; None leaves it running."""
    hparams = {"lr": 0.1 / (trial_id + 1), "width": 32} if hparams is None else hparams
    facts: list[Fact] = [TrialStarted(trial_id, 1, 1, hparams)]
    facts += [MetricReported(trial_id, 1, 1, s, {"accuracy": value * (s + 1) / n_steps}) for s in range(n_steps)]
    if state is not None:
        metric = value if state is TrialState.COMPLETE else None
        metrics = {} if metric is None else {"accuracy": metric}
        facts.append(TrialEnded(trial_id, 1, 1, state, metrics, metric, 2.0, error))
    return facts


def some_run(n_complete: int = 3, is_ended: bool = False) -> list[Fact]:
    """A run with complete trials, and one each that was pruned, has failed, and (unless it has ended) runs."""
    facts: list[Fact] = [run_started(), WorkerRegistered(1, 1, "host", 100)]
    for trial_id in range(n_complete):
        facts += trial_facts(trial_id, TrialState.COMPLETE, 0.5 + 0.4 * math.sin(trial_id + 1))
    facts += trial_facts(n_complete, TrialState.PRUNED, 0.3, n_steps=1)
    facts += trial_facts(n_complete + 1, TrialState.FAILED, 0.1, error=TrialError("ValueError", "shapes\ndiffer", "…"))
    return [*facts, RunEnded(RunState.COMPLETE)] if is_ended else [*facts, *trial_facts(n_complete + 2, None)]


def view_of(facts: Iterable[Fact], interval_s: float = 1.0) -> RunView:
    view = RunView()
    for number, fact in enumerate(facts):
        fold(view, fact, BEGAN + number * interval_s)
    return view


class GrowingRun:
    """A run folder as a driver grows it."""

    def __init__(self, folder: Path, interval_s: float = 1.0) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self._interval_s, self._seq = folder, interval_s, 0

    def record(self, facts: Iterable[Fact]) -> None:
        with open(self.folder / "events.jsonl", "a", encoding="utf-8") as file:
            for fact in facts:
                line = {"seq": self._seq, "time": BEGAN + self._seq * self._interval_s, **to_record(fact)}
                file.write(json.dumps(line) + "\n")
                self._seq += 1

    def print(self, text: str) -> None:
        with open(self.folder / "console.log", "a", encoding="utf-8") as file:
            file.write(text)


class AwaitedPublisher(RecordingPublisher):
    """Records, and lets a test wait until something has been shown."""

    def __init__(self, is_live: bool = True) -> None:
        super().__init__(is_live)
        self._changed = threading.Condition()

    def show(self, bundle: Bundle, is_final: bool) -> None:
        with self._changed:
            super().show(bundle, is_final)
            self._changed.notify_all()

    def write(self, text: str) -> None:
        with self._changed:
            super().write(text)
            self._changed.notify_all()

    def wait_until(self, is_shown: Callable[[], bool], timeout_s: float = 10.0) -> None:
        with self._changed:
            assert self._changed.wait_for(is_shown, timeout_s), (self.bundles[-1:], self.batches)

    @property
    def text(self) -> str:
        """The last text table."""
        return self.bundles[-1]["text/plain"] if self.bundles else ""
