"""Whatever comes in whatever order: each trial ends in exactly one state, and the run ends once.

10,000 sequences here, 100,000 in `make soak`.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lagom_magic.driver import inputs
from lagom_magic.driver.plan import RunPlan
from lagom_magic.driver.state import DriverState
from lagom_magic.events import commands, facts
from lagom_magic.events.facts import RunState, TrialError, TrialState
from lagom_magic.events.fold import RunView, fold
from lagom_magic.search.base import EXHAUSTED, WAIT, Pruner, Suggestion

#: What may happen next → how often.
HAPPENINGS = {
    "answer": 30.0,
    "register": 15,
    "end": 30,
    "report": 20,
    "ready": 20,
    "incomplete": 0.3,
    "lose": 4,
    "exit": 3,
    "prune": 3,
    "retry": 8,
    "stop": 0.5,
    "time": 0.5,
    "patience": 0.5,
    "leave": 3,
    "old": 4,
}


class RandomPruner(Pruner):
    """Prunes by chance; fails when it hears of a trial that has ended."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._ended: set[int] = set()

    def report(self, trial_id: int, step: int, value: float) -> bool:
        assert trial_id not in self._ended
        return self._chance.random() < 0.2

    def end(self, trial_id: int, state: TrialState) -> None:
        assert trial_id not in self._ended
        self._ended.add(trial_id)

    def restart(self, trial_id: int) -> None:
        self._ended.discard(trial_id)


class World:
    """A cluster and a person that do anything at any time; what they do is drawn from one seed."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        draw = self.chance
        n_workers = draw.randint(1, 4)
        plan = RunPlan(
            "run",
            "exp",
            "hpo",
            n_trials=draw.randint(1, 8),
            n_workers=n_workers,
            world_size=draw.choice([1, 1, draw.randint(1, n_workers)]),
            averages_metrics=draw.random() < 0.3,
            metric=draw.choice([None, "metric", "other"]),
            retries=draw.randint(0, 1),
            max_failures=draw.choice([None, None, 0, 2]),
        )
        self.state = DriverState(plan, RandomPruner(draw))
        self.facts: list[facts.Fact] = []
        self.asked: list[int] = []
        self.started: list[commands.StartTrial] = []
        self.slots: dict[int, int] = {}
        self.told: Counter[int] = Counter()
        self.told_again: Counter[int] = Counter()
        self.n_retries: Counter[int] = Counter()
        self.n_ends = 0
        self._take(self.state.start())

    def _take(self, orders: list[commands.Command]) -> None:
        for order in orders:
            assert self.n_ends == 0, f"{order} after the end"
            match order:
                case commands.Record(fact=fact):
                    self.facts.append(fact)
                    if isinstance(fact, facts.TrialRequeued) and fact.reason == "retried by its user":
                        self.n_retries[fact.trial_id] += 1
                case commands.Ask(trial_id=trial_id):
                    self.asked.append(trial_id)
                case commands.StartTrial():
                    self.started.append(order)
                case commands.StartWorker(worker_id=worker_id, incarnation=incarnation):
                    self.slots[worker_id] = incarnation
                case commands.Tell(ended=ended, is_again=is_again):
                    assert is_again == (self.told[ended.trial_id] > 0)
                    (self.told_again if is_again else self.told)[ended.trial_id] += 1
                case commands.EndRun():
                    self.n_ends += 1

    def step(self) -> None:
        """One random happening."""
        draw = self.chance
        worker_id = draw.choice(list(self.slots))
        incarnation = max(1, self.slots[worker_id] - draw.choice([0, 0, 0, 1]))
        kind = draw.choices(list(HAPPENINGS), list(HAPPENINGS.values()))[0]
        event: facts.Fact | inputs.Input | None = None
        if kind == "answer" and self.asked:
            trial_id = self.asked.pop()
            what = draw.random()
            answer = EXHAUSTED if what < 0.03 else WAIT
            event = (
                inputs.NotSuggested(trial_id, answer)
                if what < 0.1
                else inputs.Suggested(trial_id, Suggestion({}), draw.random())
            )
        elif kind == "register" and not self.state.slots[worker_id].is_registered:
            event = facts.WorkerRegistered(worker_id, self.slots[worker_id], "host", 1)
        elif kind == "lose":
            event = facts.WorkerLost(worker_id, incarnation, "lost")
        elif kind == "exit":
            event = inputs.WorkerExited(worker_id, incarnation, "exited")
        elif kind == "leave" and self.state.ending_state is not None:
            event = inputs.WorkerLeft(worker_id)
        elif kind in ("prune", "retry"):
            trial_id = draw.randint(0, len(self.state.trials))
            event = inputs.PruneRequested(trial_id) if kind == "prune" else inputs.RetryRequested(trial_id)
        elif kind in ("stop", "time", "patience"):
            stop = inputs.StopRequested("stop")
            event = {"stop": stop, "time": inputs.TimeIsUp(1.0), "patience": inputs.PatienceEnded()}[kind]
            if kind == "patience" and self.state.ending_state is None:
                event = None
        elif kind == "incomplete" and self.state.is_gang_incomplete(self.state.n_gang_waits):
            event = inputs.GangIncomplete(1.0, "", self.state.n_gang_waits)
        elif kind == "ready" and self.started:
            order = draw.choice(self.started[-4:])
            event = facts.RankReady(order.trial_id, order.attempt, order.worker_id, "host:1")
        elif kind in ("end", "report", "old") and self.started:
            order = draw.choice(self.started[-4:])
            attempt = order.attempt - (kind == "old")
            event = (
                facts.MetricReported(order.trial_id, attempt, order.worker_id, draw.randint(0, 9), {"metric": 1.0})
                if kind == "report"
                else self._ended(order, attempt)
            )
        if event is not None:
            self._take(self.state.handle(event))

    def _ended(self, order: commands.StartTrial, attempt: int) -> facts.TrialEnded:
        state = self.chance.choice([TrialState.COMPLETE, TrialState.COMPLETE, TrialState.FAILED, TrialState.PRUNED])
        metrics = self.chance.choice([{"metric": 1.0}, {"metric": float("nan")}, {}, {"other": 1.0, "metric": 2.0}])
        is_consequence = self.chance.random() < 0.3
        error = TrialError("E", "e", is_consequence=is_consequence) if state is TrialState.FAILED else None
        return facts.TrialEnded(order.trial_id, attempt, order.worker_id, state, metrics, error=error)

    def finish(self) -> None:
        """The person stops the run, and nobody answers any more."""
        self._take(self.state.handle(inputs.StopRequested("the end of the test")))
        self._take(self.state.handle(inputs.PatienceEnded()))

    def check(self) -> None:
        """The invariants of a run that has ended."""
        assert self.n_ends == 1
        assert self.state.state.is_final
        assert isinstance(self.facts[-1], facts.RunEnded)
        open_attempts: set[tuple[int, int]] = set()
        final: Counter[int] = Counter()
        ends: Counter[tuple[int, int]] = Counter()
        view = RunView()
        for fact in self.facts:
            fold(view, fact, 0.0)
            match fact:
                case facts.TrialStarted(trial_id=trial_id, attempt=attempt):
                    open_attempts.add((trial_id, attempt))
                case facts.TrialRequeued(trial_id=trial_id, attempt=attempt):
                    open_attempts.discard((trial_id, attempt - 1))
                    final[trial_id] = 0
                case facts.TrialEnded(trial_id=trial_id, attempt=attempt, state=state):
                    assert state.is_final
                    open_attempts.discard((trial_id, attempt))
                    final[trial_id] += 1
                    ends[trial_id, attempt] += 1
        assert not open_attempts, f"never ended: {open_attempts}"
        started = {fact.trial_id for fact in self.facts if isinstance(fact, facts.TrialStarted)}
        assert all(final[trial_id] == 1 for trial_id in started), final
        assert all(self.told[trial_id] == 1 for trial_id in started), self.told
        assert self.told_again == self.n_retries
        assert set(ends.values()) <= {1}, ends
        assert view.n_late == 0
        assert {i: (t.attempt, t.state) for i, t in view.trials.items()} == {
            i: (t.attempt, t.state) for i, t in self.state.trials.items() if i in started
        }
        assert all(trial.state.is_final for trial in self.state.trials.values())
        if self.state.state is RunState.COMPLETE and not self.state.reason:
            assert started


def live_through(seed: int) -> None:
    world = World(seed)
    for _ in range(world.chance.randint(5, 120)):
        if world.n_ends:
            break
        world.step()
    if not world.n_ends:
        world.finish()
    world.check()


SEEDS = st.integers(min_value=0, max_value=2**64 - 1)


@settings(max_examples=10_000, deadline=None)
@given(SEEDS)
def test_each_trial_ends_in_exactly_one_state_in_10_000_random_orders(seed: int) -> None:
    live_through(seed)


@pytest.mark.soak
@pytest.mark.timeout(1200)
@settings(max_examples=100_000, deadline=None)
@given(SEEDS)
def test_each_trial_ends_in_exactly_one_state_in_100_000_random_orders(seed: int) -> None:
    live_through(seed)
