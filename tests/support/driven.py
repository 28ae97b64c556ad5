"""The pure machine with a sampler that answers at once: what tests of its rules drive."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from lagom_magic.driver import inputs
from lagom_magic.driver.plan import RunPlan
from lagom_magic.driver.state import DriverState
from lagom_magic.events import commands, facts
from lagom_magic.events.facts import TrialError, TrialState
from lagom_magic.search.base import EXHAUSTED, Pruner, Suggestion


class PruneAt(Pruner):
    """Prunes at one step; counts what it is told."""

    def __init__(self, step: int | None = None) -> None:
        self.step = step
        self.calls: list[tuple[str, int]] = []

    def report(self, trial_id: int, step: int, value: float) -> bool:
        self.calls.append(("report", trial_id))
        return step == self.step

    def end(self, trial_id: int, state: TrialState) -> None:
        self.calls.append(("end", trial_id))

    def restart(self, trial_id: int) -> None:
        self.calls.append(("restart", trial_id))


class Driven:
    """A machine whose sampler answers at once, as the shell's does when asking is cheap."""

    def __init__(self, n_trials: int = 4, n_workers: int = 2, pruner: Pruner | None = None, **plan: Any) -> None:
        kind = plan.pop("kind", "hpo")
        self.state = DriverState(RunPlan("run", "exp", kind, n_trials, n_workers, **plan), pruner or PruneAt())
        self.sampler_size = math.inf
        self.orders: list[commands.Command] = []
        self._carry_out(self.state.start())

    def tell(self, *events: facts.Fact | inputs.Input) -> list[commands.Command]:
        begin = len(self.orders)
        for event in events:
            self._carry_out(self.state.handle(event))
        return self.orders[begin:]

    def _carry_out(self, orders: list[commands.Command]) -> None:
        for order in orders:
            self.orders.append(order)
            if isinstance(order, commands.Ask):
                is_there = order.trial_id < self.sampler_size
                suggestion = inputs.Suggested(order.trial_id, Suggestion({"x": order.trial_id}))
                self.tell(suggestion if is_there else inputs.NotSuggested(order.trial_id, EXHAUSTED))

    def register(self, *worker_ids: int, incarnation: int = 1) -> list[commands.Command]:
        return self.tell(*(facts.WorkerRegistered(w, incarnation, "host", 1000 + w) for w in worker_ids))

    def complete(self, trial_id: int, value: float = 0.5, attempt: int = 1, **fields: Any) -> list[commands.Command]:
        return self.end(trial_id, TrialState.COMPLETE, attempt, metrics={"metric": value}, **fields)

    def end(self, trial_id: int, state: TrialState, attempt: int = 1, **fields: Any) -> list[commands.Command]:
        return self.tell(facts.TrialEnded(trial_id, attempt, self.state.trials[trial_id].worker_id, state, **fields))

    def fail(self, trial_id: int, attempt: int = 1) -> list[commands.Command]:
        return self.end(trial_id, TrialState.FAILED, attempt, error=TrialError("ValueError", "no"))

    def leave(self, *worker_ids: int) -> list[commands.Command]:
        return self.tell(*(inputs.WorkerLeft(w) for w in worker_ids))

    def ends(self) -> list[tuple[int, int, TrialState]]:
        return [(f.trial_id, f.attempt, f.state) for f in records(self.orders, facts.TrialEnded)]


def records(orders: Iterable[commands.Command], kind: type[facts.Fact]) -> list[Any]:
    return [o.fact for o in orders if isinstance(o, commands.Record) and isinstance(o.fact, kind)]


def of(orders: Iterable[commands.Command], kind: type[commands.Command]) -> list[Any]:
    return [order for order in orders if isinstance(order, kind)]
