"""A run on simulated workers: the driver's dealings with sampler and pruner as an event queue, without Spark."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field

from search_problems import Problem

from lagom_magic.events.facts import TrialState
from lagom_magic.search import Search, Suggestion


@dataclass
class Outcome:
    """What a simulated run found and what it cost."""

    n_trials: int = 0
    n_steps: int = 0
    #: (steps spent by all workers, observed metric, truth) of each complete trial in the order of ends.
    complete: list[tuple[int, float, float]] = field(default_factory=list)


@dataclass
class _Running:
    hparams: dict[str, object]
    curve: list[float]
    step_s: float
    step: int = -1


def simulate(
    problem: Problem, search: Search, *, n_trials: int, n_workers: int, seed: int, until: float | None = None
) -> Outcome:
    """Run a search until it has used its trials, or until a complete trial's metric is as good as `until`.

    A trial's steps take 0.8 to 1.2 seconds, drawn by (seed, hparams) as the noise is: workers run out of step.
    """
    outcome = Outcome()
    running: dict[int, _Running] = {}
    queue: list[tuple[float, int]] = []

    def start(now: float) -> None:
        trial_id = outcome.n_trials
        suggestion = search.sampler.ask(trial_id) if trial_id < n_trials else None
        if not isinstance(suggestion, Suggestion):
            return
        rng = random.Random(f"{seed}/{sorted(suggestion.hparams.items())}")
        curve = problem.curve(suggestion.hparams, rng)[: suggestion.budget]
        running[trial_id] = _Running(suggestion.hparams, curve, rng.uniform(0.8, 1.2))
        outcome.n_trials += 1
        heapq.heappush(queue, (now + running[trial_id].step_s, trial_id))

    for _ in range(n_workers):
        start(0.0)
    while queue:
        now, trial_id = heapq.heappop(queue)
        trial = running[trial_id]
        trial.step += 1
        outcome.n_steps += 1
        value = trial.curve[trial.step]
        is_pruned = search.pruner.report(trial_id, trial.step, value)
        is_complete = trial.step + 1 == len(trial.curve)
        if not is_pruned and not is_complete:
            heapq.heappush(queue, (now + trial.step_s, trial_id))
            continue
        state = TrialState.COMPLETE if is_complete else TrialState.PRUNED
        search.pruner.end(trial_id, state)
        search.sampler.tell(trial_id, state, value)
        del running[trial_id]
        if is_complete:
            outcome.complete.append((outcome.n_steps, value, problem.truth(trial.hparams)))
            if until is not None and (value >= until if problem.direction == "max" else value <= until):
                return outcome
        start(now)
    return outcome
