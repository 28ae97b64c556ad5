"""What a run is to do, as numbers and names: all that the pure machine knows of its configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lagom_magic.events.facts import FileStored
from lagom_magic.search.base import Direction


@dataclass(frozen=True, slots=True)
class RunPlan:
    """The limits and rules of one run.

    Attributes:
        n_trials: how many trials to run at most, >= 1.
        n_workers: how many slots to start, >= 1.
        metric: the metric that counts; None = the only number that a trial returns.
        direction: whether the best is the largest or the smallest.
        needs_metric: whether a trial without the metric has failed (where trials are compared or one was named) or
            not (a single call of which nothing was said).
        seed: of the run; None = every trial unseeded.
        retries: how often a FAILED trial runs again.
        max_failures: how many FAILED trials the run bears; None = all but the last.
        fixed_hparams: values that every trial gets beside the suggested ones.
        world_size: how many workers run each trial together, from 1 to `n_workers`.
        checkpoint: what an earlier run's training kept, copied into this run, to go on from; None = from the beginning.
        averages_metrics: whether reports of ranks count as their mean, or rank 0's alone.
    """

    run_id: str
    experiment: str
    kind: str
    n_trials: int
    n_workers: int
    metric: str | None = None
    direction: Direction = "max"
    needs_metric: bool = True
    seed: int | None = None
    retries: int = 0
    max_failures: int | None = None
    sampler: str = "random"
    pruner: str = "none"
    hparam_names: tuple[str, ...] = ()
    fixed_hparams: dict[str, Any] = field(default_factory=dict)
    world_size: int = 1
    checkpoint: FileStored | None = None
    averages_metrics: bool = False

    @property
    def has_gangs(self) -> bool:
        """Whether a trial is a training by ranks that meet, be it by one alone."""
        return self.kind == "train" or self.world_size > 1
