"""`reporter.checkpoint` and `reporter.restore` in a training: what a later attempt goes on from."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from lagom_magic.worker.distribution.base import Distribution
from lagom_magic.worker.distribution.checkpoint_kinds import check_framework

#: Of how many the worker keeps the files; the driver has the newest that came whole.
_KEPT = 2


class Checkpoints:
    """The checkpoints of one attempt; the same calls are made on all ranks."""

    def __init__(
        self,
        distribution: Distribution,
        folder: str,
        restored: str | None,
        tell: Callable[[str], None],
    ) -> None:
        """Know where they lie.

        Args:
            distribution: writes and reads them.
            folder: of this attempt's checkpoints.
            restored: the file that this attempt goes on from; None = it begins anew.
            tell: called on rank 0 with the name of each file that is whole.
        """
        self._distribution = distribution
        self._folder = folder
        self._restored = restored
        self._tell = tell
        self._n_saved = 0

    def save(self, objects: Mapping[str, Any]) -> None:
        """Writes the next checkpoint."""
        self._n_saved += 1
        name = _name(self._n_saved)
        os.makedirs(self._folder, exist_ok=True)
        self._distribution.save_checkpoint(f"{self._folder}/{name}", objects)
        if self._distribution.place.rank == 0:
            self._tell(name)
            old = f"{self._folder}/{_name(self._n_saved - _KEPT)}"
            if self._n_saved > _KEPT and os.path.exists(old):
                os.unlink(old)

    def restore(self, objects: Mapping[str, Any]) -> dict[str, Any]:
        """Brings the objects back to where the last attempt had them.

        Returns:
            The plain values; {} when it begins anew.

        Raises:
            ConfigError: another framework wrote the checkpoint.
        """
        if self._restored is None:
            return {}
        check_framework(self._restored, str(self._distribution.settings["framework"]))
        return dict(self._distribution.load_checkpoint(self._restored, objects))


def _name(number: int) -> str:
    return f"{number:06d}"
