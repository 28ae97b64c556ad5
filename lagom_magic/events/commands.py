"""Commands: what the driver's machine orders, imperative counterparts of the facts.

Those with a `worker_id` travel to that worker as JSON; the rest are carried out by the driver's shell.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar

from lagom_magic.events.facts import Fact, FileStored, HParams, RunState, TrialEnded, to_record


@dataclass(frozen=True, slots=True)
class Command:
    """An order; subclasses that travel to a worker set `type`."""

    type: ClassVar[str] = ""


@dataclass(frozen=True, slots=True)
class StartTrial(Command):
    """Run the training function once; as one of several ranks, when `world_size` > 1."""

    type: ClassVar[str] = "start_trial"
    worker_id: int
    trial_id: int
    attempt: int
    hparams: HParams
    seed: int | None
    budget: int | None = None
    rank: int = 0
    world_size: int = 1
    #: What an earlier attempt kept, to go on from.
    checkpoint: FileStored | None = None


@dataclass(frozen=True, slots=True)
class Meet(Command):
    """All ranks of a trial are ready: begin; `addresses` by rank."""

    type: ClassVar[str] = "meet"
    worker_id: int
    trial_id: int
    attempt: int
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PruneTrial(Command):
    """Raise `TrialPruned` at the trial's next broadcast."""

    type: ClassVar[str] = "prune_trial"
    worker_id: int
    trial_id: int
    attempt: int


@dataclass(frozen=True, slots=True)
class StopTrial(Command):
    """Begin the stop ladder: `TrialStopped` at the next broadcast, SIGTERM at 0.5 s, SIGKILL at 1 s."""

    type: ClassVar[str] = "stop_trial"
    worker_id: int
    trial_id: int
    attempt: int


@dataclass(frozen=True, slots=True)
class ShutDownWorker(Command):
    """Finish sending files, say goodbye and exit."""

    type: ClassVar[str] = "shut_down"
    worker_id: int


@dataclass(frozen=True, slots=True)
class StartWorker(Command):
    """Start the slot's worker (again)."""

    worker_id: int
    incarnation: int


@dataclass(frozen=True, slots=True)
class Ask(Command):
    """Ask the sampler for the next trial; answered by `Suggested`, `NotSuggested` or `SamplerFailed`."""

    trial_id: int


@dataclass(frozen=True, slots=True)
class Tell(Command):
    """Tell the sampler how a trial ended; `is_again` when it knows an earlier end of that trial already."""

    ended: TrialEnded
    is_again: bool = False


@dataclass(frozen=True, slots=True)
class Record(Command):
    """Append a fact to the journal."""

    fact: Fact


@dataclass(frozen=True, slots=True)
class EndRun(Command):
    """Every trial is final and every worker told to go; nothing comes after."""

    state: RunState
    reason: str


WorkerCommand = StartTrial | Meet | PruneTrial | StopTrial | ShutDownWorker

_NAMES = {
    command: tuple(field.name for field in fields(command))
    for command in (StartTrial, Meet, PruneTrial, StopTrial, ShutDownWorker)
}


def to_message(command: WorkerCommand) -> dict[str, Any]:
    """The command as it travels to its worker."""
    message = {"type": command.type, **{name: getattr(command, name) for name in _NAMES[type(command)]}}
    if message.get("checkpoint") is not None:
        message["checkpoint"] = to_record(message["checkpoint"])
    return message
