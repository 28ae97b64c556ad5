"""Run folders made by the real store, for tests of what is on disk and of who reads it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lagom_magic.events.facts import (
    Fact,
    RunEnded,
    RunStarted,
    RunState,
    TrialEnded,
    TrialStarted,
    TrialState,
    WorkerRegistered,
)
from lagom_magic.spec.space import Categorical, Float, Searchspace
from lagom_magic.spec.space_json import space_to_json
from lagom_magic.store.store import RunStore

SPACE = Searchspace(lr=Float(1e-4, 1.0, log=True), activation=Categorical(["relu", "tanh"]))


def hparams(trial_id: int) -> dict[str, Any]:
    return {"lr": 0.1 / (trial_id + 1), "activation": "relu", "epochs": 3}


def run_started(**changes: Any) -> RunStarted:
    fields: dict[str, Any] = {
        "run_id": "",
        "experiment": "digits",
        "kind": "hpo",
        "n_trials": 3,
        "n_workers": 1,
        "metric": "accuracy",
        "direction": "max",
        "sampler": "random",
        "pruner": "none",
        "seed": 7,
        "hparam_names": ("lr", "activation"),
    }
    return RunStarted(**{**fields, **changes})


def begun(**changes: Any) -> list[Fact]:
    return [run_started(**changes), WorkerRegistered(1, 1, "host", 100)]


def complete_trial(trial_id: int, metric: float) -> list[Fact]:
    metrics = {"accuracy": metric, "loss": 1 - metric}
    return [
        TrialStarted(trial_id, 1, 1, hparams(trial_id)),
        TrialEnded(trial_id, 1, 1, TrialState.COMPLETE, metrics, metric, duration_s=1.5),
    ]


def whole_run(metrics: Iterable[float] = (0.5, 0.9, 0.7)) -> list[Fact]:
    trials = [fact for trial_id, metric in enumerate(metrics) for fact in complete_trial(trial_id, metric)]
    return [*begun(), *trials, RunEnded(RunState.COMPLETE)]


def record(store: RunStore, facts: Iterable[Fact]) -> None:
    for fact in facts:
        store.record(fact, time.time())
    store.flush()


@contextmanager
def store_in(
    home: Path, experiment: str = "digits", on_error: Callable[[str], None] | None = None
) -> Iterator[RunStore]:
    """A store that is closed afterwards; without `on_error`, an error fails the test."""
    errors: list[str] = []
    document = {"kind": "hpo", "searchspace": space_to_json(SPACE)}
    store = RunStore.create(home, experiment, document, "def train(lr): ...\n", on_error or errors.append)
    try:
        yield store
    finally:
        store.close()
    assert errors == []


def run_on_disk(home: Path, experiment: str = "digits", facts: Iterable[Fact] | None = None) -> Path:
    """The folder of a run that has ended."""
    with store_in(home, experiment) as store:
        record(store, whole_run() if facts is None else facts)
        return store.layout.root


class Written:
    """Waits until the store's thread has written what a test looks for."""

    def __init__(self, store: RunStore) -> None:
        self._event = threading.Event()
        store.on_written = self._event.set

    def wait_until(self, is_there: Callable[[], bool], timeout_s: float = 20.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not is_there():
            assert self._event.wait(max(0.0, deadline - time.monotonic())), "it was not written"
            self._event.clear()
