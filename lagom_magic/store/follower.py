"""A thread that follows a run's folder to somewhere else: woken by news, never in anybody's way.

The mirrors of a run are such threads: that into an object store (`mirror.py`) and that into MLflow.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger("lagom_magic.store")

#: Seconds before the turn that follows one that failed by a bug.
_CRASH_PAUSE_S = 10.0


class Follower:
    """Calls `turn` after news, again and again, and `finish` once when it is closed."""

    def __init__(self, name: str, turn: Callable[[], float], finish: Callable[[], None]) -> None:
        """Make it; the thread begins with `start`.

        Args:
            name: of the thread.
            turn: does what there is to do; returns the seconds that the next turn waits at least.
            finish: does all that is left.
        """
        self._turn, self._finish = turn, finish
        self._news, self._closing = threading.Event(), threading.Event()
        self._news.set()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def wake(self) -> None:
        """Say that the folder has news; costs next to nothing and may be called from any thread."""
        if not self._news.is_set():
            self._news.set()

    def close(self, timeout_s: float) -> bool:
        """Let it finish.

        Returns:
            Whether it ended within `timeout_s`; one that did not goes on by itself.
        """
        self._closing.set()
        self._news.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._news.clear()
            pause_s = self._guarded(self._turn)
            self._closing.wait(_CRASH_PAUSE_S if pause_s is None else pause_s)
            self._news.wait()
        self._guarded(self._finish)

    def _guarded(self, step: Callable[[], float | None]) -> float | None:
        """The thread's outer edge: a follower that fails harms neither the run nor what it does next."""
        try:
            return step()
        except Exception:
            logger.exception("%s failed; the run goes on.", self._thread.name)
            return None
