"""The median stopping rule (`--pruner median`), the default of `%%lagom hpo` as it was Maggy's."""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field

from lagom_magic.errors import ConfigError
from lagom_magic.events.facts import TrialState
from lagom_magic.search.base import Direction, Pruner
from lagom_magic.search.score import WORST, score

#: With "auto" nothing is pruned in the first tenth of the longest complete trial. Curves that start slowly and
#: end well cross the others there: without it the search loses the best trial in half of the runs of
#: `benchmarks/README.md` and saves nothing at equal best score; with it the best is kept.
AUTO_WARMUP_SHARE = 10
#: Steps of one trial that are remembered; a longer one is thinned to the first report in ever longer intervals.
_MAX_STEPS = 1000


@dataclass(slots=True)
class _Progress:
    best: float = WORST
    total: float = 0.0
    last_step: int | None = None
    n_reports: int = 0
    #: (step, average of all reports up to it) at the first report in each interval of so many steps, steps ascending.
    #: The intervals begin at multiples and lie in each other, so trials of one rhythm keep the same steps.
    averages: list[tuple[int, float]] = field(default_factory=list)
    interval: int = 1

    def keep(self, step: int, es_interval: int) -> None:
        """Remember the average here if the step begins an interval; beyond `_MAX_STEPS`, lengthen the intervals."""
        if self.averages and step // self.interval <= self.averages[-1][0] // self.interval:
            return
        self.averages.append((step, self.total / self.n_reports))
        while len(self.averages) > _MAX_STEPS:
            self.interval = 2 * self.interval if self.interval > 1 else max(2, es_interval)
            first = {kept // self.interval: (kept, average) for kept, average in reversed(self.averages)}
            self.averages = [*reversed(first.values())]


class MedianPruner(Pruner):
    """Prunes a trial whose best value so far is worse than the median of complete trials' running averages.

    Trials are compared at equal steps only; a step that fewer than `es_min` complete trials reported decides
    nothing. One report costs O(1) and a median look-up; a complete trial is sorted in once, at its end. Of a long
    trial about 1,000 steps are remembered.

    Args:
        direction: "max" or "min".
        es_min: complete trials needed before anything is pruned, >= 1.
        es_interval: judge a trial only at its first report in each interval of so many steps, >= 1.
        warmup_steps: no pruning before this step, >= 0; "auto" = a tenth of the longest complete trial.

    Source: Golovin et al., "Google Vizier", KDD 2017, §3.2.2; Maggy's `earlystop/medianrule.py`.
    """

    def __init__(
        self, direction: Direction, *, es_min: int = 10, es_interval: int = 1, warmup_steps: int | str = "auto"
    ) -> None:
        if es_min < 1 or es_interval < 1:
            raise ConfigError(f"median: es_min and es_interval must be >= 1, got {es_min} and {es_interval}.")
        if warmup_steps != "auto" and not (isinstance(warmup_steps, int) and warmup_steps >= 0):
            raise ConfigError(f'median: warmup_steps must be >= 0 or "auto", got {warmup_steps!r}.')
        self._direction = direction
        self._is_auto = warmup_steps == "auto"
        self._warmup_steps = warmup_steps if isinstance(warmup_steps, int) else 0
        self._es_min = es_min
        self._es_interval = es_interval
        self._running: dict[int, _Progress] = {}
        #: {step: complete trials' running averages there, ascending}.
        self._averages_at: dict[int, list[float]] = {}

    def report(self, trial_id: int, step: int, value: float) -> bool:
        progress = self._running.setdefault(trial_id, _Progress())
        now = score(value, self._direction)
        progress.best = max(progress.best, now)
        progress.total += now
        progress.n_reports += 1
        progress.keep(step, self._es_interval)
        is_due = progress.last_step is None or step // self._es_interval > progress.last_step // self._es_interval
        progress.last_step = step
        return is_due and step >= self._warmup_steps and self._is_below_median(step, progress.best)

    def end(self, trial_id: int, state: TrialState) -> None:
        progress = self._running.pop(trial_id, None)
        if progress is not None and state is TrialState.COMPLETE:
            for step, average in progress.averages:
                insort(self._averages_at.setdefault(step, []), average)
            if self._is_auto:
                self._warmup_steps = max(self._warmup_steps, (progress.last_step or 0) // AUTO_WARMUP_SHARE)

    def restart(self, trial_id: int) -> None:
        self._running.pop(trial_id, None)

    def _is_below_median(self, step: int, best: float) -> bool:
        averages = self._averages_at.get(step, ())
        n = len(averages)
        if n < self._es_min:
            return False
        return best < (averages[(n - 1) // 2] + averages[n // 2]) / 2
