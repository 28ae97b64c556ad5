"""Does what may hang, for some seconds and one at a time for a home: what lists and shows ask of a place far away."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from lagom_magic.errors import LagomError

logger = logging.getLogger("lagom_magic.store")


class Attempt(threading.Thread):
    """A step for a home, which goes on behind when nobody waits for it any more.

    The next one finds it among the interpreter's threads: those are the list of what goes on, so we keep none.
    """

    def __init__(self, home: Path, step: Callable[[], None]) -> None:
        super().__init__(name="lagom-home", daemon=True)
        self.home = home
        self._step = step
        self._began_s = time.monotonic()
        #: Why it failed, for a person; '' while nothing is known of a failure.
        self.problem = ""

    @property
    def age_s(self) -> float:
        """Since it was made."""
        return time.monotonic() - self._began_s

    def run(self) -> None:
        try:
            self._step()
        except (LagomError, OSError) as error:  # of the place, or of the disk
            self.problem = str(error).rstrip(".")
        except Exception as error:  # the thread's outer edge: a bug
            logger.exception("%s failed", self.name)
            self.problem = f"{type(error).__name__}: {error}"

    def is_over_by(self, age_s: float) -> bool:
        """Wait until it is over, or that old; whether it is over."""
        self.join(max(0.0, age_s - self.age_s))
        return not self.is_alive()


def tried(home: Path, step: Callable[[], None], timeout_s: float) -> str:
    """Why a step failed or is not done in time; '' when it is done.

    Args:
        home: while an earlier step for it is not done, none is begun.
        step: goes on behind when it takes longer.
        timeout_s: for this step, and the age beyond which an earlier one is not waited for.
    """
    for earlier in threading.enumerate():
        if isinstance(earlier, Attempt) and earlier.home == home and not earlier.is_over_by(timeout_s):
            return f"what was asked {earlier.age_s:.0f} s ago is not done yet, and nothing more is asked until it is"
    attempt = Attempt(home, step)
    attempt.start()
    return attempt.problem if attempt.is_over_by(timeout_s) else f"it is not done after {timeout_s:g} s"
