"""The seam between the driver and whatever starts workers: Spark, or plain processes in tests."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass


class Secret(bytes):
    """Bytes that never show themselves."""

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__


@dataclass(frozen=True, slots=True)
class Ticket:
    """All that a worker needs to dial the driver; travels only inside Spark's closure.

    Attributes:
        host: where the driver listens, as workers reach it.
        port: its TCP port.
        certificate: the run's self-signed certificate, PEM; the worker trusts nothing else.
        token: 32 bytes sent first on the connection.
        run_id: for messages and for the worker's folder names.
        worker_id: the slot, from 1.
        incarnation: how often this slot was started, from 1.
    """

    host: str
    port: int
    certificate: str
    token: Secret
    run_id: str
    worker_id: int
    incarnation: int


class Launcher(ABC):
    """Starts workers and learns when they are gone. Used from the driver's thread; must not block it."""

    @property
    @abstractmethod
    def address(self) -> tuple[str, str]:
        """(address to bind, host that workers dial), e.g. ("127.0.0.1", "127.0.0.1")."""

    @abstractmethod
    def start(self, ticket: Ticket, on_exit: Callable[[int, int, str], None]) -> None:
        """Begin to start one worker and return at once.

        Args:
            ticket: what the worker dials in with.
            on_exit: called once from any thread as (worker_id, incarnation, reason) when what was started has
                ended for good; the reason is '' after a clean end, else one line for a person.
        """

    @abstractmethod
    def describe_shortage(self) -> str:
        """One sentence with numbers: what was asked of the cluster and what it has; for the no-slot message."""

    @abstractmethod
    def close(self, timeout_s: float) -> None:
        """Cancel what still runs or waits and release everything; blocks at most about `timeout_s`."""
