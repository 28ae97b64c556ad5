"""Who is connected for which slot: the live worker, and speculative copies of it that wait."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lagom_magic.events.facts import WorkerRegistered
from lagom_magic.rpc.server import Connection


@dataclass(slots=True)
class Member:
    """One connection that has said hello."""

    connection: Connection
    registered: WorkerRegistered
    last_seen_s: float
    #: Set by its goodbye: the end of the connection is then no loss.
    has_left: bool = False


def read_hello(message: dict[str, Any]) -> WorkerRegistered:
    """The fact that a hello states.

    Raises:
        ValueError: when a field is missing or of the wrong form.
    """
    try:
        return WorkerRegistered(
            worker_id=int(message["worker_id"]),
            incarnation=int(message["incarnation"]),
            host=str(message["host"])[:255],
            pid=int(message["pid"]),
            gpus=tuple(str(gpu) for gpu in message["gpus"]),
            python=str(message["python"])[:32],
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"malformed hello: {error}") from error


class Roster:
    """The connections of a run's slots; at most one live member a slot, the others are parked."""

    def __init__(self) -> None:
        self._live: dict[int, Member] = {}
        self._parked: dict[int, list[Member]] = {}

    def __iter__(self) -> Any:
        return iter(list(self._live.values()))

    def get(self, worker_id: int) -> Member | None:
        """The slot's live member."""
        return self._live.get(worker_id)

    def add(self, member: Member) -> bool:
        """Takes a newcomer in; False when the slot has a live member, so that the newcomer must wait."""
        worker_id = member.registered.worker_id
        if worker_id in self._live:
            self._parked.setdefault(worker_id, []).append(member)
            return False
        self._live[worker_id] = member
        return True

    def remove(self, member: Member) -> Member | None:
        """Takes out one whose connection ended.

        Returns:
            The parked copy that is live now in its stead, if there is one.
        """
        worker_id = member.registered.worker_id
        parked = self._parked.get(worker_id, [])
        if member in parked:
            parked.remove(member)
            return None
        if self._live.get(worker_id) is member:
            del self._live[worker_id]
            if parked and not member.has_left:
                self._live[worker_id] = parked.pop(0)
                return self._live[worker_id]
        return None

    def is_live(self, member: Member) -> bool:
        """Whether it is its slot's live member."""
        return self._live.get(member.registered.worker_id) is member

    def parked(self) -> list[Member]:
        """All copies that wait."""
        return [member for members in self._parked.values() for member in members]
