"""Makes ■ safe around a run: used on the caller's thread, from before a run's start to its end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupts:
    """SIGINT as a run needs it: held while the run is put together, a plain KeyboardInterrupt afterwards.

    An interrupt in the middle of a start would leave a run that goes on with nobody holding it.
    """

    def __init__(self) -> None:
        self._is_held = True
        self._has_come = False

    @property
    def is_waiting(self) -> bool:
        """Whether one came while they were held."""
        return self._has_come

    def deliver(self) -> None:
        """From now on they are raised; the one that came before, here.

        Raises:
            KeyboardInterrupt: when one waits.
        """
        self._is_held = False
        if self._has_come:
            raise KeyboardInterrupt

    def on_sigint(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        if not self._is_held:
            raise KeyboardInterrupt
        self._has_come = True


@contextmanager
def held_interrupts() -> Iterator[Interrupts]:
    """SIGINT is ours while the block runs.

    pyspark installs a handler that cancels every job of the context, the user's other ones too. Off the main
    thread, where Python allows no handlers, nothing changes.
    """
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    before = signal.signal(signal.SIGINT, interrupts.on_sigint)
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, before if before is not None else signal.default_int_handler)
