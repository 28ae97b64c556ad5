"""Seeds the random generators before each trial: those that are imported, and those imported during it."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

_NUMPY_SEEDS = 2**32
_ACCELERATORS = ("cuda", "hip", "xpu")


def _seed_numpy(numpy: Any, seed: int) -> None:
    numpy.random.seed(seed % _NUMPY_SEEDS)


def _seed_torch(torch: Any, seed: int) -> None:
    if any(getattr(torch.version, kind, None) for kind in _ACCELERATORS) or sys.platform == "darwin":
        torch.manual_seed(seed)
    else:  # the same, without the stack trace that torch formats for devices this build does not know
        torch.default_generator.manual_seed(seed)


def _seed_tensorflow(tensorflow: Any, seed: int) -> None:
    tensorflow.random.set_seed(seed)


_LIBRARIES: dict[str, Callable[[Any, int], None]] = {
    "numpy": _seed_numpy,
    "torch": _seed_torch,
    "tensorflow": _seed_tensorflow,
}


class Seeds:
    """Keeps the seed of the current trial for libraries that are imported late."""

    def __init__(self) -> None:
        self._seed: int | None = None

    def plant(self, seed: int | None, *, is_fork: bool = False) -> None:
        """Seeds everything imported so far; None leaves the generators alone.

        A fork without a seed gets one from the system: all forks of one template would else repeat each other.
        """
        if seed is None and is_fork:
            seed = int.from_bytes(os.urandom(4))
        self._seed = seed
        if seed is None:
            return
        random.seed(seed)
        for name, plant in _LIBRARIES.items():
            if name in sys.modules:
                plant(sys.modules[name], seed)

    def actions(self) -> dict[str, Callable[[ModuleType], None]]:
        """What to do after the import of each library, for `AfterImport`."""
        return {name: self._after_import(plant) for name, plant in _LIBRARIES.items()}

    def _after_import(self, plant: Callable[[Any, int], None]) -> Callable[[ModuleType], None]:
        def seed_now(module: ModuleType) -> None:
            if self._seed is not None:
                plant(module, self._seed)

        return seed_now
