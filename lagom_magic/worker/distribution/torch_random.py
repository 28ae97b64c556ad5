"""Two streams of random numbers on each rank: one that all ranks have in common, and one of the rank's own.

The body of a loop over a sharded loader draws from the rank's own stream, so that dropout, noise and augmentations
differ between ranks. Everything else, such as initial weights, `random_split` or the order of the data, draws from the
common one, which is at any time what it would be in one process whose loop bodies draw nothing.
"""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

State = dict[str, Any]


def random_state() -> State:
    """The generators of Python, NumPy and torch as plain values and tensors."""
    import torch

    state: State = {"python": random.getstate(), "torch": torch.get_rng_state()}
    if "numpy" in sys.modules:
        state["numpy"] = sys.modules["numpy"].random.get_state(legacy=False)
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_random_state(state: State) -> None:
    """Brings the generators back to a state of `random_state`."""
    import torch

    random.setstate(state["python"])
    torch.set_rng_state(state["torch"])
    if "numpy" in state:
        import numpy as np

        np.random.set_state(state["numpy"])
    if "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"])


def _seed(seed: int) -> None:
    import torch

    random.seed(seed)
    torch.default_generator.manual_seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed % 2**32)
    if torch.cuda.is_available():
        torch.cuda.manual_seed(seed)


class RandomStreams:
    """Says which of the two streams the global generators hold. Starts with the common one."""

    def __init__(self, rank: int) -> None:
        self._rank = rank
        #: Whether the global generators hold the rank's own stream.
        self.is_own = False
        #: The stream that the global generators do not hold; None = the rank's own, which did not begin yet.
        self._resting: State | None = None

    def go_own(self) -> None:
        if self.is_own:
            return
        common = random_state()
        if self._resting is None:
            digest = hashlib.blake2b(bytes(common["torch"].tolist()) + self._rank.to_bytes(4), digest_size=7)
            _seed(int.from_bytes(digest.digest()))
        else:
            restore_random_state(self._resting)
        self._resting = common
        self.is_own = True

    def go_common(self) -> None:
        if not self.is_own:
            return
        own = random_state()
        assert self._resting is not None
        restore_random_state(self._resting)
        self._resting = own
        self.is_own = False

    @contextmanager
    def common(self) -> Iterator[None]:
        """The common stream for a block, which must draw the same on all ranks."""
        was_own = self.is_own
        self.go_common()
        try:
            yield
        finally:
            if was_own:
                self.go_own()

    def states(self) -> tuple[State, State | None]:
        """The common stream's state and the own one's, for a checkpoint."""
        now = random_state()
        if self.is_own:
            assert self._resting is not None
            return self._resting, now
        return now, self._resting

    def common_digest(self) -> str:
        """What differs when the common streams of two ranks do."""
        common, _ = self.states()
        return hashlib.blake2b(bytes(common["torch"].tolist()) + repr(common["python"]).encode()).hexdigest()

    def restore(self, common: State, own: State | None) -> None:
        """Goes on where `states` was asked; stays in the stream that is on now."""
        if self.is_own and own is not None:
            restore_random_state(own)
            self._resting = common
        else:
            restore_random_state(common)
            self._resting = own
            self.is_own = False
