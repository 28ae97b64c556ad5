"""What a run looks like at one moment: plain data that every table, chart and result is drawn from.

Made and changed only by `events.fold`; read by the display, `Run` and resume. Nothing here reads a clock:
what depends on the present moment takes `now`.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lagom_magic.events.facts import (
    FilesUsed,
    HParams,
    Metrics,
    ModelExported,
    RunStarted,
    RunState,
    TrialError,
    TrialState,
)


@dataclass(slots=True)
class Series:
    """A curve of bounded size: all of a short one, evenly thinned points of a long one, always its last point."""

    LIMIT = 200  # points kept; thinning halves them, so between 100 and 200 of a long curve

    #: (step, value), steps as reported, values finite.
    _kept: list[tuple[int, float]] = field(default_factory=list)
    _last: tuple[int, float] | None = None
    #: Keeps each `_stride`-th point.
    _stride: int = 1
    _n_seen: int = 0

    def add(self, step: int, value: float) -> None:
        """Take one more point; a value that is not finite is left out, so a curve has a gap there."""
        if not math.isfinite(value):
            return
        self._last = (step, value)
        if self._n_seen % self._stride == 0:
            self._kept.append(self._last)
            if len(self._kept) > self.LIMIT:
                del self._kept[1::2]
                self._stride *= 2
        self._n_seen += 1

    @property
    def points(self) -> list[tuple[int, float]]:
        """(step, value) in the order of the reports, at most `LIMIT` + 1 of them."""
        if self._last is None or self._kept[-1] is self._last:
            return list(self._kept)
        return [*self._kept, self._last]


@dataclass(slots=True)
class TrialView:
    """One trial as its latest attempt stands."""

    id: int
    attempt: int = 1
    state: TrialState = TrialState.WAITING
    hparams: HParams = field(default_factory=dict)
    #: The worker of the latest attempt; None before the first.
    worker_id: int | None = None
    #: How many workers run it together; `worker_id` has rank 0.
    world_size: int = 1
    budget: int | None = None
    #: Seconds since the epoch.
    started_at: float | None = None
    ended_at: float | None = None
    #: Seconds for which the run lay still since this trial's end, before it was resumed.
    paused_s: float = 0.0
    #: The training function's seconds as the worker measured them; 0 until the end.
    duration_s: float = 0.0
    #: Reports of this attempt, and the step of its last one.
    n_steps: int = 0
    last_step: int | None = None
    #: The counted metric: as last reported, and as it ended (None while it runs and when it has none).
    last_value: float | None = None
    metric: float | None = None
    #: All metrics: last reported, then overlaid with the final ones.
    metrics: Metrics = field(default_factory=dict)
    series: Series = field(default_factory=Series)
    error: TrialError | None = None
    warnings: tuple[str, ...] = ()
    values: dict[str, str] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    #: In an ablation: see `TrialEnded`.
    n_parameters: int | None = None
    changes: tuple[str, ...] = ()
    #: Path below the trial's folder → bytes, of the files that have arrived.
    files: dict[str, int] = field(default_factory=dict)
    #: Models that it exported, and files that it opened; None until it has said so.
    exports: list[ModelExported] = field(default_factory=list)
    files_used: FilesUsed | None = None
    #: Why the attempt before this one was given up; '' for a first attempt.
    requeue_reason: str = ""
    #: `RunView.n_facts` at its last change: a reader that remembers the number draws only changed rows.
    changed_at: int = 0

    @property
    def value(self) -> float | None:
        """The number to show: the final metric, else the last reported one."""
        return self.last_value if self.metric is None else self.metric

    def elapsed_s(self, now: float) -> float | None:
        """Seconds that it has run or ran; None before its start."""
        if self.state.is_final:
            return self.duration_s
        return None if self.started_at is None else max(0.0, now - self.started_at)


@dataclass(slots=True)
class WorkerView:
    """One worker slot as its latest incarnation stands."""

    id: int
    incarnation: int
    host: str
    pid: int
    gpus: tuple[str, ...]
    python: str
    is_alive: bool = True
    #: The trial in its hands.
    trial_id: int | None = None
    #: Attempts that ended here, over all incarnations.
    n_ended: int = 0
    lost_reason: str = ""


class Improvement(NamedTuple):
    """A trial that became the best; `elapsed_s` after the run's start."""

    elapsed_s: float
    trial_id: int
    value: float


class ComputeSaved(NamedTuple):
    """An estimate of what pruning saved, in steps (reports)."""

    n_steps_run: int
    #: What the same trials would have run had none been pruned.
    n_steps_expected: float

    @property
    def n_steps_saved(self) -> float:
        return self.n_steps_expected - self.n_steps_run

    @property
    def fraction(self) -> float:
        """In [0, 1)."""
        return self.n_steps_saved / self.n_steps_expected if self.n_steps_expected else 0.0


@dataclass(slots=True)
class RunView:
    """A whole run; change it only through `fold`."""

    #: The journal's first line; None before it was read.
    header: RunStarted | None = None
    state: RunState = RunState.STARTING
    state_reason: str = ""
    #: Seconds since the epoch; `updated_at` is the time of the last fact, and `started_at` of a run that was resumed is
    #: moved on by the pause.
    started_at: float | None = None
    ended_at: float | None = None
    updated_at: float | None = None
    trials: dict[int, TrialView] = field(default_factory=dict)
    workers: dict[int, WorkerView] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    counts: dict[TrialState, int] = field(default_factory=lambda: dict.fromkeys(TrialState, 0))
    #: The running trials' ids.
    running: set[int] = field(default_factory=set)
    best_id: int | None = None
    worst_id: int | None = None
    improvements: list[Improvement] = field(default_factory=list)
    #: Name of the metric that counts; None while no trial has shown it.
    metric_name: str | None = None
    #: Ordered sets: every metric and hyperparameter seen.
    metric_names: dict[str, None] = field(default_factory=dict)
    hparam_names: dict[str, None] = field(default_factory=dict)
    #: Those of the metrics that no function has told of: libraries have logged them by themselves.
    logged_names: set[str] = field(default_factory=set)
    n_facts: int = 0
    #: Facts that were left out because they belong to an attempt or incarnation that is over.
    n_late: int = 0
    #: Sums over ended trials: of seconds, and over the complete ones with a finite metric.
    ended_duration_s: float = 0.0
    #: The same over those that say how long a trial takes: complete and pruned ones.
    told_duration_s: float = 0.0
    metric_sum: float = 0.0
    n_valued: int = 0
    #: Steps of all latest attempts; and steps → number of trials, for the complete and the pruned ones.
    n_steps: int = 0
    complete_steps: Counter[int] = field(default_factory=Counter)
    pruned_steps: Counter[int] = field(default_factory=Counter)

    @property
    def is_maximised(self) -> bool:
        return self.header is None or self.header.direction == "max"

    @property
    def n_trials(self) -> int | None:
        """How many trials the run is to have; None when its sampler decides on the way."""
        return None if self.header is None else self.header.n_trials

    @property
    def n_done(self) -> int:
        """Trials in a final state."""
        return len(self.trials) - self.counts[TrialState.WAITING] - self.counts[TrialState.RUNNING]

    @property
    def n_workers_alive(self) -> int:
        return sum(worker.is_alive for worker in self.workers.values())

    @property
    def best(self) -> TrialView | None:
        """The best COMPLETE trial; nan and ±inf never are."""
        return None if self.best_id is None else self.trials[self.best_id]

    @property
    def worst(self) -> TrialView | None:
        """The worst COMPLETE trial with a finite metric."""
        return None if self.worst_id is None else self.trials[self.worst_id]

    @property
    def mean_metric(self) -> float | None:
        """Over the COMPLETE trials with a finite metric."""
        return self.metric_sum / self.n_valued if self.n_valued else None

    @property
    def hparam_columns(self) -> tuple[str, ...]:
        """The searched hyperparameters in their declared order; without a space, all that trials have had."""
        return (self.header.hparam_names if self.header else ()) or tuple(self.hparam_names)

    def is_better(self, value: float, than: float) -> bool:
        return value > than if self.is_maximised else value < than

    def ranked(self, limit: int | None = None) -> list[TrialView]:
        """Trials, best shown value first and those without a number last; equal ones by id."""
        sign = -1 if self.is_maximised else 1

        def key(trial: TrialView) -> tuple[bool, float, int]:
            value = trial.value
            has_none = value is None or not math.isfinite(value)
            return has_none, 0.0 if has_none or value is None else sign * value, trial.id

        return heapq.nsmallest(len(self.trials) if limit is None else limit, self.trials.values(), key=key)

    def elapsed_s(self, now: float) -> float:
        """Seconds from the run's start to its end, or to `now`."""
        if self.started_at is None:
            return 0.0
        return max(0.0, (now if self.ended_at is None else self.ended_at) - self.started_at)

    def remaining_s(self, now: float) -> float | None:
        """Estimate of the seconds left; None when nothing can be said (no trial is done, no known end).

        Failed and stopped trials do not say how long one takes.
        """
        n_done, n_trials = self.n_done, self.n_trials
        telling = self.counts[TrialState.COMPLETE] + self.counts[TrialState.PRUNED]
        if self.state.is_final or n_trials is None or not telling or not self.n_workers_alive:
            return None
        mean_s = self.told_duration_s / telling
        ages_s = [self.trials[trial_id].elapsed_s(now) or 0.0 for trial_id in self.running]
        work_s = mean_s * max(0, n_trials - n_done - len(ages_s)) + sum(max(0.0, mean_s - age_s) for age_s in ages_s)
        return work_s / self.n_workers_alive

    def compute_saved(self) -> ComputeSaved | None:
        """What pruning saved: each pruned trial counted at the median steps of the complete ones.

        A pruned trial that had already run longer than that counts as what it ran. None while no trial was
        pruned or none is complete.
        """
        if not self.pruned_steps or not self.complete_steps:
            return None
        median = _median(self.complete_steps)
        extra = sum(max(0.0, median - steps) * n_trials for steps, n_trials in self.pruned_steps.items())
        return ComputeSaved(self.n_steps, self.n_steps + extra)


def _median(histogram: Counter[int]) -> float:
    """Median of a non-empty histogram {value: how often}."""
    total, seen, low = histogram.total(), 0, None
    for value in sorted(histogram):
        seen += histogram[value]
        if low is None and seen > (total - 1) // 2:
            low = value
        if seen > total // 2:
            return (value + (value if low is None else low)) / 2
    raise ValueError("the median of nothing")
