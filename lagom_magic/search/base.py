"""The two seams of the search: `Sampler` proposes hyperparameters, `Pruner` gives up on trials.

Both run on the driver only, each called from one thread at a time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal

from lagom_magic.errors import ConfigError
from lagom_magic.events.facts import HParams, TrialState

Direction = Literal["max", "min"]


class Answer(Enum):
    """What a sampler says when it has no suggestion."""

    #: Nothing now; ask again when another trial has ended.
    WAIT = "wait"
    #: Nothing ever again.
    EXHAUSTED = "exhausted"


WAIT: Final = Answer.WAIT
EXHAUSTED: Final = Answer.EXHAUSTED


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What a trial is to run with.

    Attributes:
        hparams: name → value, only the active ones of a conditional space.
        budget: steps that the trial may use, >= 1 (the rung's, under ASHA/Hyperband); None = no limit.
        seed_id: which of the run's seeds it gets, >= 0; the same number, the same seed. None = one of its own.
    """

    hparams: HParams
    budget: int | None = None
    seed_id: int | None = None


class Sampler(ABC):
    """Proposes hyperparameters, one trial at a time.

    Ownership: a trial asked for is in flight until it is told, exactly once. A lost or retried attempt keeps
    its suggestion and is not asked for again. Only a person can retry a trial that was told as FAILED: see
    `tell_again`.
    """

    #: True when `ask` costs well under a millisecond at any history, so it may run in the driver's loop.
    is_cheap: bool = False
    #: How many trials there are when the sampler knows (a grid); None = as many as are asked for.
    n_trials: int | None = None

    @abstractmethod
    def ask(self, trial_id: int) -> Suggestion | Answer:
        """The next suggestion; ids come dense and increasing from 0 (also after WAIT, where the id repeats)."""

    def recall(self, trial_id: int, hparams: HParams, budget: int | None) -> Suggestion:
        """Take up a trial of a run that is resumed, as if `ask` had just answered so; it is in flight from now on.

        Trials come in the order of their ids, and the ends of earlier ones are told in between, as they were when the
        run went on. This one asks anew, which does for what depends on the seed and on those ends alone.

        Args:
            trial_id: as in `ask`.
            hparams: what it was suggested to run with.
            budget: the same.

        Raises:
            ConfigError: when the sampler now suggests something else.
        """
        answer = self.ask(trial_id)
        if not isinstance(answer, Suggestion) or (answer.hparams, answer.budget) != (hparams, budget):
            said = answer.hparams if isinstance(answer, Suggestion) else answer.value
            raise ConfigError(
                f"the sampler {type(self).__name__} cannot go on with this run: for trial {trial_id} it suggests "
                f"{said}, and the run has {hparams}. Give it the space, seed and settings that it had."
            )
        return answer

    @abstractmethod
    def tell(self, trial_id: int, state: TrialState, value: float | None) -> None:
        """Learn how a trial ended.

        Args:
            trial_id: one that was asked for and not yet told.
            state: a final state.
            value: the metric that counts; a pruned trial's last report; None when it has none. Never nan.
        """

    def tell_again(self, trial_id: int, state: TrialState, value: float | None) -> None:  # noqa: B027 - a hook
        """Learn how a further attempt of a trial ended that was told as FAILED; nothing by default.

        Args:
            trial_id: one that was told as FAILED, and told again as nothing else since.
            state: a final state.
            value: as in `tell`.
        """


class Pruner(ABC):
    """Gives up on trials that will not be good.

    Values are as the user reports them; a pruner knows its direction. Steps of one trial increase, but need
    not be dense nor start at the same number in each trial.
    """

    @abstractmethod
    def report(self, trial_id: int, step: int, value: float) -> bool:
        """Take one report, O(log n) at most; True = stop the trial now. A nan is never better than a number."""

    @abstractmethod
    def end(self, trial_id: int, state: TrialState) -> None:
        """The trial has reached a final state; no report of it comes any more, unless a FAILED one is restarted."""

    def restart(self, trial_id: int) -> None:  # noqa: B027 - most pruners need the hook, a null pruner does not
        """The trial, which runs or has FAILED, begins again (a new attempt): forget what it reported."""
