"""The pruner that lets every trial run to its end (`--pruner none`)."""

from __future__ import annotations

from lagom_magic.events.facts import TrialState
from lagom_magic.search.base import Pruner


class NonePruner(Pruner):
    """Never prunes."""

    def report(self, trial_id: int, step: int, value: float) -> bool:
        return False

    def end(self, trial_id: int, state: TrialState) -> None:
        """Nothing to remember."""
