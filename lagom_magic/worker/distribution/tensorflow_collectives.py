"""What TensorFlow's ranks do together: sums, rank 0's values for all, everybody's bytes for all.

Every rank gets bitwise the same: each sum is formed once, in the order of the ranks. Large arrays are summed in
slices, one by each rank, so that a rank sends and receives about twice the array, however many ranks there are.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lagom_magic.worker.distribution.base import Place
from lagom_magic.worker.distribution.tensorflow_mesh import CollectiveError, Mesh

if TYPE_CHECKING:
    import numpy as np

__all__ = ["CollectiveError", "Collectives", "Purpose"]

#: Up to this size, each rank sends all it has to all others: one round trip fewer.
_SMALL_BYTES = 16 * 2**10


class Purpose(enum.IntEnum):
    """What an exchange is for; all ranks must be at the same."""

    GRADIENTS = 0
    METRICS = enum.auto()
    VARIABLES = enum.auto()
    STATISTICS = enum.auto()
    DECISION = enum.auto()
    FILE = enum.auto()
    RANDOM = enum.auto()
    CHECKPOINT = enum.auto()


_IN_WORDS = {
    Purpose.GRADIENTS: "average gradients",
    Purpose.METRICS: "merge metrics",
    Purpose.VARIABLES: "share variables",
    Purpose.STATISTICS: "share a batch's statistics",
    Purpose.DECISION: "agree whether to stop",
    Purpose.FILE: "share a file",
    Purpose.RANDOM: "agree on random states",
    Purpose.CHECKPOINT: "gather a checkpoint",
}


class Collectives:
    """This rank's part in what all ranks do together. All call the same methods in the same order."""

    def __init__(self, place: Place, timeout_s: float) -> None:
        self.rank = place.rank
        self.world_size = place.world_size
        self.mesh = Mesh(place, timeout_s=timeout_s, purposes=[_IN_WORDS[purpose] for purpose in Purpose])
        #: How many sums of gradients there were; 0 after training means that nothing was trained together.
        self.n_gradients = 0

    def all_reduce(self, array: np.ndarray[Any, Any], purpose: Purpose) -> np.ndarray[Any, Any]:
        """The sum over all ranks of arrays of one shape and type."""
        import numpy as np

        if purpose is Purpose.GRADIENTS:
            self.n_gradients += 1
        mine = np.ascontiguousarray(array).reshape(-1)
        is_in_slices = self.world_size > 2 and mine.nbytes > _SMALL_BYTES
        total = self._sum_in_slices(mine, purpose) if is_in_slices else self._sum(mine, purpose)
        return total.reshape(array.shape)

    def _sum(self, mine: np.ndarray[Any, Any], purpose: Purpose) -> np.ndarray[Any, Any]:
        import numpy as np

        theirs = {rank: np.empty_like(mine) for rank in self.mesh.others}
        self.mesh.exchange(
            purpose, dict.fromkeys(theirs, mine.data), {rank: part.data for rank, part in theirs.items()}
        )
        return self._in_order(mine, theirs)

    def _sum_in_slices(self, mine: np.ndarray[Any, Any], purpose: Purpose) -> np.ndarray[Any, Any]:
        import numpy as np

        bounds = [mine.size * rank // self.world_size for rank in range(self.world_size + 1)]
        slices = [slice(*pair) for pair in itertools.pairwise(bounds)]
        own = mine[slices[self.rank]]
        theirs = {rank: np.empty_like(own) for rank in self.mesh.others}
        self.mesh.exchange(
            purpose,
            {rank: mine[slices[rank]].data for rank in theirs},
            {rank: part.data for rank, part in theirs.items()},
        )
        total = np.empty_like(mine)
        total[slices[self.rank]] = self._in_order(own, theirs)
        self.mesh.exchange(
            purpose,
            dict.fromkeys(theirs, total[slices[self.rank]].data),
            {rank: total[slices[rank]].data for rank in theirs},
        )
        return total

    def _in_order(self, own: np.ndarray[Any, Any], theirs: dict[int, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        parts = [own if rank == self.rank else theirs[rank] for rank in range(self.world_size)]
        total = parts[0].copy()
        for part in parts[1:]:
            total += part
        return total

    def broadcast(self, array: np.ndarray[Any, Any], purpose: Purpose) -> np.ndarray[Any, Any]:
        """Rank 0's array, on all ranks; the others give one of the same shape and type."""
        import numpy as np

        value = np.array(array, order="C")
        flat = value.reshape(-1).view(np.uint8).data
        if self.rank == 0:
            self.mesh.exchange(purpose, dict.fromkeys(self.mesh.others, flat), {})
        else:
            self.mesh.exchange(purpose, {}, {0: flat})
        return value

    def broadcast_bytes(self, data: bytes, purpose: Purpose) -> bytes:
        """Rank 0's bytes, on all ranks; what the others give is not looked at."""
        import numpy as np

        n_bytes = int(self.broadcast(np.array([len(data)]), purpose)[0])
        mine = np.frombuffer(data, np.uint8) if self.rank == 0 else np.empty(n_bytes, np.uint8)
        return self.broadcast(mine, purpose).tobytes()

    def gather_bytes(self, data: bytes, purpose: Purpose) -> Sequence[bytes]:
        """What each rank gives, by rank, on all ranks."""
        import numpy as np

        lengths = np.zeros(self.world_size, np.int64)
        lengths[self.rank] = len(data)
        lengths = self._sum(lengths, purpose)
        parts = [bytearray(length) for length in lengths]
        parts[self.rank][:] = data
        self.mesh.exchange(
            purpose,
            dict.fromkeys(self.mesh.others, memoryview(data)),
            {rank: memoryview(parts[rank]) for rank in self.mesh.others},
        )
        return [bytes(part) for part in parts]

    def any(self, is_so: bool, purpose: Purpose) -> bool:
        """Whether it is so on any rank."""
        import numpy as np

        return bool(self._sum(np.array([is_so], np.int64), purpose)[0])
