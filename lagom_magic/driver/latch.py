"""Opens once, for good: how the cell's thread waits for the end of a run."""

from __future__ import annotations

import os
import select
import weakref


class Latch:
    """A one-time event whose wait an interrupt cannot damage.

    `threading.Event` guards itself with a lock, and a KeyboardInterrupt between taking and remembering it leaves the
    lock held for ever: then `set` hangs, and with it the driver. Here nothing is held: opening closes a pipe.
    """

    def __init__(self) -> None:
        self._reading, writing = os.pipe()
        self._close_writing = weakref.finalize(self, os.close, writing)
        weakref.finalize(self, os.close, self._reading)

    def open(self) -> None:
        """Lets everybody pass, now and later."""
        self._close_writing()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Waits until it is open; False when `timeout_s` passed first. Interruptible."""
        poll = select.poll()
        poll.register(self._reading, 0)  # the hang-up of the other end is always told
        return bool(poll.poll(None if timeout_s is None else max(0.0, timeout_s * 1000)))
