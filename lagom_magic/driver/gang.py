"""The ranks of a trial that several workers run together; part of the machine, one for each attempt of such a trial.

A gang is over when every rank has ended or is lost. Its first trouble decides what the trial comes to: what the other
ranks say then is its consequence, and an error that looks like one never hides the cause that arrives after it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from lagom_magic.events.facts import Metrics, TrialEnded, TrialError, TrialState, WorkerLost

#: Reports that wait for other ranks' are forgotten beyond so many: a function may let one rank alone report.
_MAX_INCOMPLETE = 1000


@dataclass(frozen=True, slots=True)
class Seat:
    """One rank's place: a slot, and the machine of the worker that holds it."""

    worker_id: int
    host: str


@dataclass(slots=True)
class Gang:
    """Who of the ranks is ready, who has ended and how.

    Attributes:
        seats: by rank.
        is_averaging: a report counts when every rank has made it, and then as their mean; else rank 0's counts.
    """

    seats: tuple[Seat, ...]
    is_averaging: bool = False
    _addresses: dict[int, str] = field(default_factory=dict)
    #: {rank: its end, or the loss of its worker}, in the order of arrival.
    _ends: dict[int, TrialEnded | WorkerLost] = field(default_factory=dict)
    #: {(step, which of that step's reports): {rank: its report}} of those that some rank has not made yet.
    _reports: dict[tuple[int, int], dict[int, Metrics]] = field(default_factory=dict)
    #: {rank: (its last step, how many reports of it)}
    _last: dict[int, tuple[int, int]] = field(default_factory=dict)

    def rank_of(self, worker_id: int) -> int | None:
        """The rank that a worker holds; None for one of another gang."""
        return next((rank for rank, seat in enumerate(self.seats) if seat.worker_id == worker_id), None)

    def ready(self, worker_id: int, address: str) -> tuple[str, ...] | None:
        """Notes where a rank can be met; all addresses by rank when it was the last, else None."""
        rank = self.rank_of(worker_id)
        if rank is None or rank in self._addresses:
            return None
        self._addresses[rank] = address
        n_ranks = len(self.seats)
        return tuple(self._addresses[r] for r in range(n_ranks)) if len(self._addresses) == n_ranks else None

    @property
    def is_met(self) -> bool:
        """Whether all ranks are ready."""
        return len(self._addresses) == len(self.seats)

    @property
    def missing(self) -> list[str]:
        """The ranks that are not ready, as a person reads them."""
        return [self._name(rank) for rank in range(len(self.seats)) if rank not in self._addresses]

    def merged(self, worker_id: int, step: int, metrics: Metrics) -> Metrics | None:
        """What a rank's report comes to; None when nothing (yet)."""
        rank = self.rank_of(worker_id)
        if rank is None:
            return None
        if not self.is_averaging:
            return metrics if rank == 0 else None
        last_step, n_before = self._last.get(rank, (step, 0))
        key = (step, n_before + 1 if step == last_step else 1)
        self._last[rank] = key
        reports = self._reports.setdefault(key, {})
        reports[rank] = metrics
        if len(reports) < len(self.seats):
            while len(self._reports) > _MAX_INCOMPLETE:
                del self._reports[next(iter(self._reports))]
            return None
        del self._reports[key]
        return _mean(list(reports.values()))

    def end(self, worker_id: int, how: TrialEnded | WorkerLost) -> list[Seat]:
        """Notes the end of a rank.

        Returns:
            The seats of the ranks that must be stopped now, because they cannot go on without it.
        """
        rank = self.rank_of(worker_id)
        if rank is None or rank in self._ends:
            return []
        was_well = self._cause is None
        self._ends[rank] = how
        if not was_well or self._cause is None:
            return []
        return self.left

    @property
    def left(self) -> list[Seat]:
        """The seats of the ranks that have not ended."""
        return [seat for rank, seat in enumerate(self.seats) if rank not in self._ends]

    @property
    def is_over(self) -> bool:
        return len(self._ends) == len(self.seats)

    @property
    def _cause(self) -> int | None:
        """The rank whose trouble ended the gang; None while all is well."""
        trouble = [rank for rank, how in self._ends.items() if not _is_complete(how)]
        return next((rank for rank in trouble if not _is_consequence(self._ends[rank])), next(iter(trouble), None))

    def outcome(self) -> TrialEnded | WorkerLost:
        """What the ends of all ranks make of the trial: the end that it has, or the loss that ended it."""
        cause = self._cause
        ends = [how for _, how in sorted(self._ends.items()) if isinstance(how, TrialEnded)]
        decisive = self._ends[0 if cause is None else cause]
        if isinstance(decisive, WorkerLost):
            return replace(decisive, reason=f"{decisive.reason} (rank {cause} on {self.seats[cause or 0].host})")
        if cause is None and self.is_averaging:
            decisive = replace(decisive, metrics=_mean([end.metrics for end in ends]))
        error = decisive.error
        if error is not None and cause is not None:
            error = TrialError(error.kind, self._explained(cause, error), error.traceback)
        return replace(
            decisive,
            worker_id=self.seats[0].worker_id,
            error=error,
            duration_s=max(end.duration_s for end in ends),
            files=tuple(path for end in ends for path in end.files),
        )

    def _explained(self, cause: int, error: TrialError) -> str:
        """The message with the rank that it is of, and with those that it waited for in vain."""
        message = f"{self._name(cause)}: {error.message}"
        at_work = [rank for rank, how in self._ends.items() if isinstance(how, TrialEnded) and not _has_failed(how)]
        if not error.is_consequence or not at_work:
            return message
        names = ", ".join(self._name(rank) for rank in sorted(at_work))
        return f"no word of {names}, which did not take part in a step of all ranks. {message}"

    def _name(self, rank: int) -> str:
        seat = self.seats[rank]
        return f"rank {rank} (worker {seat.worker_id} on {seat.host})"


def _is_complete(how: TrialEnded | WorkerLost) -> bool:
    return isinstance(how, TrialEnded) and how.state is TrialState.COMPLETE


def _is_consequence(how: TrialEnded | WorkerLost) -> bool:
    return isinstance(how, TrialEnded) and (
        how.state is TrialState.STOPPED or (how.error is not None and how.error.is_consequence)
    )


def _has_failed(how: TrialEnded) -> bool:
    return how.state is TrialState.FAILED


def _mean(parts: list[Metrics]) -> Metrics:
    """Of each metric that all have."""
    return {
        name: sum(part[name] for part in parts) / len(parts) for name in parts[0] if all(name in part for part in parts)
    }
