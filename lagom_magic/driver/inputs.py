"""What the machine is told beside the workers' facts: the sampler's answers, the launcher's news, time and people."""

from __future__ import annotations

from dataclasses import dataclass

from lagom_magic.search.base import Answer, Suggestion


@dataclass(frozen=True, slots=True)
class Suggested:
    """The sampler's answer to an `Ask`; `cost_s` is how long it took."""

    trial_id: int
    suggestion: Suggestion
    cost_s: float = 0.0


@dataclass(frozen=True, slots=True)
class NotSuggested:
    """The sampler has nothing, for now or for good."""

    trial_id: int
    answer: Answer


@dataclass(frozen=True, slots=True)
class SamplerFailed:
    """The sampler raised."""

    message: str


@dataclass(frozen=True, slots=True)
class WorkerLeft:
    """A worker said goodbye after `ShutDownWorker` and closed."""

    worker_id: int


@dataclass(frozen=True, slots=True)
class WorkerExited:
    """What the launcher had started for a slot has ended for good."""

    worker_id: int
    incarnation: int
    reason: str


@dataclass(frozen=True, slots=True)
class ClusterUnfit:
    """No worker has registered in time, or those that did cannot run the function."""

    reason: str


@dataclass(frozen=True, slots=True)
class GangIncomplete:
    """A training still waits, for workers or for ranks to get ready, when its time for that is up.

    Attributes:
        n_waits: `DriverState.n_gang_waits` when the time began.
    """

    timeout_s: float
    shortage: str
    n_waits: int


@dataclass(frozen=True, slots=True)
class SlotsShort:
    """Some workers have registered and, a while later, others still wait for a slot."""

    shortage: str


@dataclass(frozen=True, slots=True)
class StopRequested:
    """A person wants the run to end."""

    reason: str


@dataclass(frozen=True, slots=True)
class PruneRequested:
    """A person gives up on a trial."""

    trial_id: int


@dataclass(frozen=True, slots=True)
class RetryRequested:
    """A person wants a failed trial to run again."""

    trial_id: int


@dataclass(frozen=True, slots=True)
class TimeIsUp:
    """The run's `timeout` has passed."""

    timeout_s: float


@dataclass(frozen=True, slots=True)
class PatienceEnded:
    """Workers that were told to stop or to leave have not done so in time."""


Input = (
    Suggested
    | NotSuggested
    | SamplerFailed
    | WorkerLeft
    | WorkerExited
    | ClusterUnfit
    | GangIncomplete
    | SlotsShort
    | StopRequested
    | PruneRequested
    | RetryRequested
    | TimeIsUp
    | PatienceEnded
)
