"""Facts of an ablation, from a table of numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

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
)
from lagom_magic.events.fold import RunView, fold

#: What one repeat gave: a number, several, or how it ended without one ("RUNNING": it has not ended).
Outcome = float | Mapping[str, float] | str


def ablate_started(**changes: Any) -> RunStarted:
    fields: dict[str, Any] = {
        "run_id": "20261122-093000-k3f7",
        "experiment": "digits",
        "kind": "ablate",
        "n_trials": None,
        "n_workers": 1,
        "metric": "accuracy",
        "direction": "max",
        "sampler": "loco",
        "pruner": "none",
        "seed": 7,
        "hparam_names": ("component", "repeat"),
    }
    return RunStarted(**{**fields, **changes})


def repeat_facts(trial_id: int, component: str, repeat: int, outcome: Outcome, **ended: Any) -> list[Fact]:
    """One trial; `ended` are further fields of its end."""
    facts: list[Fact] = [TrialStarted(trial_id, 1, 1, {"component": component, "repeat": repeat})]
    if outcome == "RUNNING":
        return facts
    if isinstance(outcome, str):
        state = TrialState(outcome)
        if state is TrialState.FAILED:
            ended = {"error": TrialError("ValueError", "shapes differ\nat layer 3", "…"), **ended}
        return [*facts, TrialEnded(trial_id, 1, 1, state, **ended)]
    metrics = {"accuracy": outcome} if isinstance(outcome, float) else dict(outcome)
    counted = metrics.get("accuracy")
    return [*facts, TrialEnded(trial_id, 1, 1, TrialState.COMPLETE, metrics, counted, **{"duration_s": 1.5, **ended})]


def ablation_facts(
    table: Mapping[str, Iterable[Outcome]], is_ended: bool = True, n_steps: int = 0, **started: Any
) -> list[Fact]:
    """A run: component → what its repeats gave, from repeat 0; each trial reports `n_steps` times."""
    facts: list[Fact] = [ablate_started(**started), WorkerRegistered(1, 1, "host", 100)]
    trial_id = 0
    for component, outcomes in table.items():
        for repeat, outcome in enumerate(outcomes):
            first, *rest = repeat_facts(trial_id, component, repeat, outcome)
            reports = [MetricReported(trial_id, 1, 1, step, {"accuracy": 0.1}) for step in range(n_steps)]
            facts += [first, *reports, *rest]
            trial_id += 1
    return [*facts, RunEnded(RunState.COMPLETE)] if is_ended else facts


def view_of(facts: Iterable[Fact]) -> RunView:
    view = RunView()
    for number, fact in enumerate(facts):
        fold(view, fact, 1_000_000_000.0 + number)
    return view
