"""Which rows of a global batch are a rank's, and how much its gradients then count; pure numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Share:
    """A contiguous part of a global batch.

    Attributes:
        start, stop: the rows of this rank; never empty when the batch is not.
        weight: what the rank's gradients are multiplied with before the mean over all ranks, so that the mean is that
            of one process over the global batch. The weights of all ranks sum to their number; 0 = the rows are
            another rank's too, and are there so that this rank takes part.
    """

    start: int
    stop: int
    weight: float


def share_of(n_rows: int, usual: int, rank: int, world_size: int) -> Share:
    """The part of `rank` in a batch, cut as evenly as possible.

    The tail of an epoch is cut into fewer parts when a part would else be a single row: batch normalisation refuses
    one row, and `squeeze()` in a loss takes its dimension away.

    Args:
        n_rows: of the global batch, >= 0.
        usual: rows of a batch that is no tail.
        rank: of this process.
        world_size: >= 1.
    """
    n_parts = min(n_rows, world_size)
    if n_rows < min(usual, 2 * world_size):
        n_parts = max(1, n_rows // 2)
    if n_rows == 0:
        return Share(0, 0, 1.0)
    size, n_larger = divmod(n_rows, n_parts)
    if rank >= n_parts:
        return Share(0, size + (n_larger > 0), 0.0)
    start = rank * size + min(rank, n_larger)
    stop = start + size + (rank < n_larger)
    return Share(start, stop, (stop - start) * world_size / n_rows)


class BatchWeight:
    """The weight of the batch that this rank trains on now; set by the loader, read by what reduces gradients.

    It is that of the batch drawn last: a loop that draws ahead, or sums losses of several batches before one backward
    pass, weighs them all like that one, which matters only where batches are uneven.
    """

    def __init__(self) -> None:
        self._value = 1.0
        self._followers: list[Callable[[bool], None]] = []

    @property
    def value(self) -> float:
        """1.0 where every rank has as many rows."""
        return self._value

    @value.setter
    def value(self, value: float) -> None:
        was_weighing, self._value = self._value != 1.0, value
        if was_weighing != (value != 1.0):
            for follower in self._followers:
                follower(not was_weighing)

    def follow(self, follower: Callable[[bool], None]) -> None:
        """Calls `follower` with whether there is anything to weigh, each time that this changes."""
        self._followers.append(follower)
