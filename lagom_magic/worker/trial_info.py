"""The `trial` argument: what a training function may know about where it runs."""

from __future__ import annotations

import os
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TrialInfo:
    """One attempt of one trial; read-only.

    Attributes:
        id: the trial, from 0.
        attempt: from 1.
        worker: the worker's id, from 1.
        rank: this process among those of the trial, from 0.
        world_size: how many processes the trial has.
        notebook_dir: the notebook's folder, as the driver names it; a worker need not see it.
    """

    id: int
    attempt: int
    worker: int
    rank: int
    world_size: int
    notebook_dir: str
    _dir: str = field(repr=False)

    @property
    def dir(self) -> str:
        """A folder of the trial's own; what is in it at the end is kept under `files/` of the trial."""
        os.makedirs(self._dir, exist_ok=True)
        return self._dir
