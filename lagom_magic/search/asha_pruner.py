"""Asynchronous successive halving (`--pruner asha`), by stopping: a trial runs on while it is in the top share."""

from __future__ import annotations

from dataclasses import dataclass, field

from lagom_magic.errors import ConfigError
from lagom_magic.events.facts import TrialState
from lagom_magic.search.base import Direction, Pruner
from lagom_magic.search.rungs import Rung
from lagom_magic.search.score import WORST, score

#: 2 rather than the paper's 4: in runs of 16 to 100 trials it keeps the best trial in nine of ten (4: in seven). 4 is
#: quicker to an equal score when more trials may be run; see `benchmarks/README.md`.
REDUCTION_FACTOR = 2
#: With "auto", the first rung is at a complete trial's last step divided by reduction_factor ** this.
AUTO_RUNGS = 4
#: Until the ladder is known, a report is kept when its step is this much beyond the one kept before.
_THINNING = 1.02


@dataclass(slots=True)
class _Progress:
    #: Score at each rung reached, from the lowest.
    scores: list[float] = field(default_factory=list)
    #: (step, score) while the ladder is not known.
    history: list[tuple[int, float]] = field(default_factory=list)
    #: The ladder became known and the trial was found below it: pruned at its next report.
    is_given_up: bool = False


class AshaPruner(Pruner):
    """Stops a trial that reaches a rung outside the best 1/reduction_factor of those that came there.

    Rungs lie at min_step · reduction_factor^k. With "auto" nothing is pruned before the first trial is
    complete; its length gives the ladder, and what all trials reported until then is filled in.
    A nan at a rung prunes.

    Args:
        direction: "max" or "min".
        reduction_factor: η, >= 2.
        min_step: the first rung, in reporter steps, >= 1, or "auto".
        max_step: the last step of a complete trial when it is known; then "auto" prunes from the start.
        first_rung: leave out so many rungs at the bottom (Hyperband's brackets), >= 0.

    Source: Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020, in the stopping
        form of its §3.3 that needs no checkpoints.
    """

    def __init__(
        self,
        direction: Direction,
        *,
        reduction_factor: int = REDUCTION_FACTOR,
        min_step: int | str = "auto",
        max_step: int | None = None,
        first_rung: int = 0,
    ) -> None:
        is_given = isinstance(min_step, int)
        if reduction_factor < 2 or (min_step < 1 if isinstance(min_step, int) else min_step != "auto"):
            raise ConfigError(
                f'asha: needs reduction_factor >= 2 and min_step >= 1 or "auto", got {reduction_factor!r} and '
                f"{min_step!r}."
            )
        self._direction = direction
        self.reduction_factor = reduction_factor
        self.max_step = max_step
        #: None while "auto" has not seen a complete trial.
        self.min_step = int(min_step) if is_given else None
        self._first_rung = first_rung
        self._rungs: list[Rung] = []
        #: Trials that run or have failed, and the finished ones too while the ladder is not known.
        self._progress: dict[int, _Progress] = {}
        self._finished: set[int] = set()
        if max_step is not None:
            self.learn_max_step(max_step)

    def report(self, trial_id: int, step: int, value: float) -> bool:
        progress = self._progress.setdefault(trial_id, _Progress())
        now = score(value, self._direction)
        if self.min_step is None:
            if not progress.history or step > progress.history[-1][0] * _THINNING:
                progress.history.append((step, now))
            return False
        return progress.is_given_up or not self._climb(progress, step, now)

    def end(self, trial_id: int, state: TrialState) -> None:
        if state is TrialState.FAILED:  # a retry takes its scores back
            return
        if self.min_step is not None:
            self._progress.pop(trial_id, None)
            return
        progress = self._progress.get(trial_id)
        self._finished.add(trial_id)
        if state is TrialState.COMPLETE and progress is not None and progress.history:
            self.learn_max_step(progress.history[-1][0])

    def restart(self, trial_id: int) -> None:
        progress = self._progress.pop(trial_id, _Progress())
        for rung, reached in zip(self._rungs, progress.scores, strict=False):
            rung.remove(reached)

    def learn_max_step(self, max_step: int) -> None:
        """Build the ladder for trials of this length, unless there is one, and place everybody on it."""
        if self.min_step is not None:
            return
        self.max_step = max_step
        self.min_step = max(1, max_step // self.reduction_factor**AUTO_RUNGS)
        for progress in self._progress.values():
            for step, reached in progress.history:
                while self._has_reached(progress, step):
                    self._enter_rung(progress, reached)
            progress.history.clear()
        for trial_id in self._finished:
            self._progress.pop(trial_id, None)
        for progress in self._progress.values():
            progress.is_given_up = not all(
                self._is_in_top(rung, reached) for rung, reached in zip(self._rungs, progress.scores, strict=False)
            )

    def _climb(self, progress: _Progress, step: int, now: float) -> bool:
        """Enter every rung that the step reaches; False at the first one where the trial is not in the top."""
        while self._has_reached(progress, step):
            if not self._is_in_top(self._enter_rung(progress, now), now):
                return False
        return True

    def _has_reached(self, progress: _Progress, step: int) -> bool:
        assert self.min_step is not None
        height = self._first_rung + len(progress.scores)
        return step >= self.min_step * int(self.reduction_factor**height)

    def _enter_rung(self, progress: _Progress, now: float) -> Rung:
        if len(progress.scores) == len(self._rungs):
            self._rungs.append(Rung())
        rung = self._rungs[len(progress.scores)]
        rung.add(now)
        progress.scores.append(now)
        return rung

    def _is_in_top(self, rung: Rung, reached: float) -> bool:
        return reached > WORST and rung.is_in_top(reached, self.reduction_factor)
