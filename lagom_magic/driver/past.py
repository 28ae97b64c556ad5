"""What a run that is resumed has behind it: its journal, replayed into sampler, pruner and the machine's trials.

Read once by the machine before its first command.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from lagom_magic.driver.judge import steering_value
from lagom_magic.errors import StoreError
from lagom_magic.events.facts import (
    Fact,
    FileStored,
    HParams,
    MetricReported,
    TrialEnded,
    TrialRequeued,
    TrialStarted,
    TrialState,
)
from lagom_magic.search.base import Pruner, Sampler, Suggestion

#: Reasons of `TrialRequeued` that the replay knows by their words.
RETRIED_BY_USER = "retried by its user"
RESUMED = "the run was resumed"


@dataclass(slots=True)
class PastTrial:
    """A trial as the journal left it.

    Attributes:
        suggestion: what it was suggested to run with, the fixed hyperparameters not among it.
        attempt: its last one.
        ended: how that ended; None when it did not, or was stopped: it runs again.
        n_failures: attempts that were retried: failed ones, and lost ones after the first.
        n_losses: attempts that were lost with their worker and run again; a person's retry forgets them.
    """

    suggestion: Suggestion
    attempt: int = 1
    ended: TrialEnded | None = None
    n_failures: int = 0
    n_losses: int = 0
    #: The driver itself runs it again, for its attempt has failed: `TrialRequeued` is next.
    is_retried: bool = False
    #: The pruner has given it up: what it reported on its way to the end is not heard.
    is_pruned: bool = False
    #: Names of the metrics that this attempt has reported.
    reported: set[str] = field(default_factory=set)
    is_told: bool = False


@dataclass(slots=True)
class Past:
    """The trials of a run that is resumed, dense from 0, and the metric that counts, if a trial has had one."""

    trials: dict[int, PastTrial] = field(default_factory=dict)
    metric_name: str | None = None
    metric_was_seen: bool = False
    #: "artifacts/model.pt of trial 7": announced by trials that have ended, and not there.
    lost_files: list[str] = field(default_factory=list)

    @property
    def n_missing(self) -> int:
        """Trials that began and have to run again."""
        return sum(trial.ended is None for trial in self.trials.values())


def replay(
    facts: Sequence[Fact],
    sampler: Sampler,
    pruner: Pruner,
    fixed_hparams: Collection[str] = (),
    metric: str | None = None,
) -> Past:
    """Tells sampler and pruner what they were told when the run went on.

    Args:
        facts: of the journal, in its order.
        sampler: as new.
        pruner: as new.
        fixed_hparams: names of those that were not suggested.
        metric: the metric that counts, where it was named.

    Raises:
        ConfigError: when the sampler cannot take up what was suggested then.
        StoreError: when the journal lacks trials that nobody can make up for.
    """
    starts = {fact.trial_id: fact for fact in reversed(facts) if isinstance(fact, TrialStarted)}
    replayed = _Replay(sampler, pruner, fixed_hparams, metric, starts)
    for number, fact in enumerate(facts):
        following = facts[number + 1] if number + 1 < len(facts) else None
        match fact:
            case TrialStarted():
                replayed.started(fact)
            case MetricReported():
                replayed.reported(fact)
            case TrialEnded():
                replayed.ended(fact, following)
            case TrialRequeued():
                replayed.requeued(fact)
            case FileStored():
                replayed.stored(fact)
    return replayed.end()


class _Replay:
    def __init__(
        self,
        sampler: Sampler,
        pruner: Pruner,
        fixed_hparams: Collection[str],
        metric: str | None,
        starts: Mapping[int, TrialStarted],
    ) -> None:
        self._sampler = sampler
        self._pruner = pruner
        self._fixed_hparams = fixed_hparams
        self._named = metric
        #: {trial_id: its first start of which the journal tells}
        self._starts = starts
        #: (trial, attempt, path) of files that ended trials have announced and that have not arrived.
        self._due: set[tuple[int, int, str]] = set()
        self._past = Past(metric_name=metric)

    def started(self, fact: TrialStarted) -> None:
        trials = self._past.trials
        if fact.trial_id in trials:
            trials[fact.trial_id].attempt = fact.attempt
            return
        while len(trials) < fact.trial_id:
            self._make_up_for(len(trials))
        trials[fact.trial_id] = PastTrial(self._recalled(fact), fact.attempt)

    def _recalled(self, fact: TrialStarted) -> Suggestion:
        return self._sampler.recall(fact.trial_id, self._suggested(fact.hparams), fact.budget)

    def _make_up_for(self, trial_id: int) -> None:
        """A trial whose beginning is on a line that cannot be read: it runs anew, unless a later line tells of it."""
        if trial_id in self._starts:
            self._past.trials[trial_id] = PastTrial(self._recalled(self._starts[trial_id]))
            return
        answer = self._sampler.ask(trial_id)
        if not isinstance(answer, Suggestion):
            raise StoreError(
                f"the journal lacks trial {trial_id}, and the sampler does not say what it was. The run cannot be "
                "resumed; its other trials can be read as ever (%lagom show)."
            )
        self._past.trials[trial_id] = PastTrial(answer)

    def _suggested(self, hparams: HParams) -> HParams:
        return {name: value for name, value in hparams.items() if name not in self._fixed_hparams}

    def _running(self, trial_id: int, attempt: int) -> PastTrial | None:
        trial = self._past.trials.get(trial_id)
        return trial if trial is not None and trial.ended is None and trial.attempt == attempt else None

    def reported(self, fact: MetricReported) -> None:
        trial = self._running(fact.trial_id, fact.attempt)
        if trial is None:
            return
        trial.reported.update(fact.metrics)
        value = steering_value(fact, self._past.metric_name, self._named, trial.reported)
        if value is not None and not trial.is_pruned:
            trial.is_pruned = self._pruner.report(fact.trial_id, fact.step, value)

    def ended(self, fact: TrialEnded, following: Fact | None) -> None:
        trial = self._running(fact.trial_id, fact.attempt)
        if trial is None or fact.state is TrialState.STOPPED:
            return
        if fact.state is TrialState.FAILED and _is_retry(following, fact.trial_id):
            trial.n_failures += 1
            trial.is_retried = True
            return
        trial.ended = fact
        self._due |= {(fact.trial_id, fact.attempt, path) for path in fact.files}
        self._learn_metric(fact)
        self._pruner.end(fact.trial_id, fact.state)
        tell = self._sampler.tell_again if trial.is_told else self._sampler.tell
        trial.is_told = True
        tell(fact.trial_id, fact.state, value_told(fact))

    def _learn_metric(self, fact: TrialEnded) -> None:
        past = self._past
        past.metric_was_seen |= fact.metric is not None or (fact.error is not None and fact.error.kind == "NAN")
        if past.metric_name is None and fact.metric is not None and fact.metrics:
            past.metric_name = next(iter(fact.metrics))

    def requeued(self, fact: TrialRequeued) -> None:
        trial = self._past.trials.get(fact.trial_id)
        if trial is None or fact.attempt <= trial.attempt:
            return
        if fact.reason == RETRIED_BY_USER:
            trial.n_losses = 0
        elif fact.reason != RESUMED and not trial.is_retried:
            trial.n_losses += 1
            trial.n_failures += trial.n_losses > 1
        trial.is_retried = False
        trial.attempt, trial.ended, trial.is_pruned, trial.reported = fact.attempt, None, False, set()
        self._pruner.restart(fact.trial_id)

    def stored(self, fact: FileStored) -> None:
        self._due.discard((fact.trial_id, fact.attempt, fact.path))

    def end(self) -> Past:
        self._past.lost_files = [f"{path} of trial {trial_id}" for trial_id, _, path in sorted(self._due)]
        for trial_id, trial in self._past.trials.items():
            if trial.ended is None:
                self._pruner.restart(trial_id)
        return self._past


def value_told(ended: TrialEnded) -> float | None:
    """The value that a sampler learns of a trial's end; never nan."""
    has_value = ended.state in (TrialState.COMPLETE, TrialState.PRUNED)
    return ended.metric if has_value and ended.metric is not None and ended.metric == ended.metric else None


def _is_retry(following: Fact | None, trial_id: int) -> bool:
    """Whether the driver itself ran a failed trial again, as `--retries` says, of which the sampler learns nothing."""
    return (
        isinstance(following, TrialRequeued)
        and following.trial_id == trial_id
        and following.reason not in (RETRIED_BY_USER, RESUMED)
    )
