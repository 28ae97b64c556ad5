"""Everything that can go wrong for a user, as one tree.

    LagomError
    ├── ConfigError          an option, argument or search space that cannot work; raised before Spark starts
    ├── ClusterError         Spark cannot give what the run needs (no session, no slot, Spark Connect)
    ├── StoreError           a run folder that cannot be found, read or written
    ├── NotRemovableError    a part of a model or a dataset that an ablation cannot leave out; fails that trial
    └── RunError             the run ended early; carries the partial `run`
        ├── RunStopped       by ■, `%lagom stop` or `Run.stop()`
        └── RunFailed        every trial failed, `max_failures` exceeded, or no metric to compare

Beside the tree stand two signals, which user code must not swallow and therefore derive from `BaseException`:
`TrialPruned` and `TrialStopped` are raised inside a training function by `reporter.broadcast`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lagom_magic.run import Run


class LagomError(Exception):
    """What a user can meet and mend; shows itself in a notebook as one message, without a stack."""

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}", *getattr(self, "__notes__", ())]


class ConfigError(LagomError, ValueError):
    """An option, argument or search space that cannot work."""


class ClusterError(LagomError, RuntimeError):
    """Spark cannot give what the run needs."""


class StoreError(LagomError, OSError):
    """A run folder that cannot be found, read or written."""


class NotRemovableError(LagomError, ValueError):
    """A part of a model or a dataset that cannot be left out; fails its trial, not the study."""


class RunError(LagomError, RuntimeError):
    """A run that ended early.

    Attributes:
        run: the partial run: its finished trials are kept. None when it never began.
    """

    def __init__(self, message: str, run: Run | None = None) -> None:
        super().__init__(message)
        self.run = run


class RunStopped(RunError):
    """The run was stopped by its user."""


class RunFailed(RunError):
    """The run cannot give a result."""


class TrialPruned(BaseException):
    """Raised in a training function at its next broadcast after the pruner gave it up."""


class TrialStopped(BaseException):
    """Raised in a training function at its next broadcast after the run was stopped."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Hint for a misspelt name, or one that was begun: ' Did you mean X?' or '', ready to append to a message."""
    known = list(known)
    begun = [one for one in known if name and one.startswith(name)]
    matches = begun if len(begun) == 1 else difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f" Did you mean {matches[0]}?" if matches else ""
