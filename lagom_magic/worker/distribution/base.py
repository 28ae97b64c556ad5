"""What a trial process asks of a framework so that its function trains with others and need not know it."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Place:
    """Where one process stands among those of its training.

    Attributes:
        rank: from 0.
        world_size: how many ranks there are, >= 1.
        host: of this machine, as the other ranks reach it: a name or address without a port.
    """

    rank: int
    world_size: int
    host: str


class Distribution(ABC):
    """One rank of one training. A trial process uses it once, on its main thread, in this order:

    `prepare` → the driver has heard from all ranks → `join` → the user's function is unpickled → `applied`, and in it
    the function is called and, when it returned, `save_model` → `leave`.
    """

    def __init__(self, place: Place, settings: Mapping[str, Any]) -> None:
        """Keep what is needed; imports nothing.

        Args:
            place: this rank.
            settings: JSON-able, the same on all ranks: `framework`, `strategy`, `backend`, `mixed_precision`,
                `collective_timeout_s` …
        """
        self.place = place
        self.settings = settings
        #: Of the trial; set before `applied`.
        self.seed: int | None = None
        #: The function distributes by itself; known in `applied`.
        self.is_left_alone = False
        #: What `warn` said, for the trial's end.
        self.warnings: list[str] = []

    @abstractmethod
    def prepare(self) -> str:
        """Gets this process ready before any code of the user's is imported.

        Returns:
            What the other ranks must know of this one, such as "10.0.0.7:41235"; at most 200 characters.
        """

    @abstractmethod
    def join(self, addresses: Sequence[str]) -> None:
        """Meets the other ranks.

        Args:
            addresses: what `prepare` returned on each rank, by rank.
        """

    def shared_out(self, given: Mapping[str, Any], *, has_all_rows: bool = False) -> dict[str, Any]:
        """`given`, where what can be read by rows (`parquet.ParquetData`) has become a dataset of the framework's.

        Args:
            given: {argument: value}.
            has_all_rows: each rank gets all rows, and not its own ones alone: ranks that share a model see the same
                rows, and a function that distributes by itself shares them out itself.
        """
        framework = str(self.settings["framework"])
        rank, world_size = (0, 1) if has_all_rows else (self.place.rank, self.place.world_size)
        return {
            name: value.for_rank(framework, rank, world_size, self.seed) if hasattr(value, "for_rank") else value
            for name, value in given.items()
        }

    def warn(self, text: str) -> None:
        """Says something once, on rank 0, among what the function prints and beside its trial.

        It is not about a line of the function's, so it names the magic in place of one.
        """
        if self.place.rank == 0:
            self.warnings.append(text)
            warnings.warn_explicit(text, UserWarning, "%%lagom train", 1)

    def leave_alone(self, reason: str) -> None:
        """Takes note that the function distributes by itself, and says which of the user's settings that overrules.

        Args:
            reason: what it does so with, such as "accelerate.Accelerator".
        """
        self.is_left_alone = True
        ignored = {
            "--strategy": self.settings.get("strategy") not in (None, "auto", "mirrored"),
            "--mixed-precision": self.settings.get("mixed_precision"),
        }
        names = " and ".join(name for name, is_given in ignored.items() if is_given)
        if names:
            self.warn(
                f"{names} had no effect: the function distributes by itself ({reason}), so it is left alone. "
                "Choose these in the function."
            )

    @abstractmethod
    def applied(
        self, train_fn: Callable[..., Any], given: Mapping[str, Any]
    ) -> AbstractContextManager[Mapping[str, Any]]:
        """While it is open, the framework works on behalf of all ranks; what it changed is restored at its end.

        Args:
            train_fn: the user's function, to be looked at: one that distributes by itself is left alone.
            given: {argument: value} of `model`, `module`, `dataset`, `train_set` and `test_set`, as far as given.

        Returns:
            Yields `given` as the function of this rank shall get it.
        """

    @abstractmethod
    def save_model(self, folder: str) -> bool:
        """Writes the trained model as if one process had trained it: `model.pt`, `model.keras` …, by rank 0.

        Called on all ranks, inside of `applied`, after the function returned; does nothing when the distribution
        does not know the model.

        Args:
            folder: made when there is something to write.

        Returns:
            Whether rank 0 wrote it; the same on all ranks.
        """

    @abstractmethod
    def save_checkpoint(self, path: str, objects: Mapping[str, Any]) -> None:
        """Writes one file from which `load_checkpoint` goes on as if nothing had happened.

        Called on all ranks at the same place of the function; rank 0 writes, whole or not at all. Beside the objects
        it keeps what the user does not see: random states and how far data loaders have shuffled.

        Args:
            path: of the file; its folder exists.
            objects: {name: what the user's function goes on with}: models, optimizers, schedulers, whatever has
                `state_dict`, and plain values.
        """

    @abstractmethod
    def load_checkpoint(self, path: str, objects: Mapping[str, Any]) -> Mapping[str, Any]:
        """Brings objects of the same names back to what `save_checkpoint` wrote, in place, on all ranks.

        Returns:
            The plain values among them, by name.
        """

    @abstractmethod
    def is_consequence(self, error: BaseException) -> bool:
        """Whether an error of this rank looks as if another rank had gone, rather than this one's own."""

    def hint(self, error: BaseException) -> str:
        """What to do about an error that the framework makes hard to read, appended to it; '' = nothing to say."""
        return ""

    @abstractmethod
    def leave(self) -> None:
        """Lets go of sockets and threads, as far as they can be; the process ends soon after."""
