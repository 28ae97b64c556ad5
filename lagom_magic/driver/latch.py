"""Opens once, for good: how the cell's thread waits for the end of a run."""

from __future__ import annotations

import os
import select
import weakref


class Latch:
    """A one-time event whose wait an interrupt cannot damage.

    `threading.Event` guards itself with a lock, and a KeyboardInterrupt between taking and remembering it leaves the
    lock held for ever: then `set` hangs, and with it the driver. Here nothing is held: opening writes a byte into a
    pipe, and nobody ever reads it. (Closing the pipe would not do: a forked child of the kernel keeps a copy.)
    """

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()
        for descriptor in (self._reading, self._writing):
            weakref.finalize(self, os.close, descriptor)

    def open(self) -> None:
        """Lets everybody pass, now and later; once."""
        os.write(self._writing, b"!")

    def wait(self, timeout_s: float | None = None) -> bool:
        """Waits until it is open; False when `timeout_s` passed first. Interruptible."""
        poll = select.poll()
        poll.register(self._reading, select.POLLIN)
        return bool(poll.poll(None if timeout_s is None else max(0.0, timeout_s * 1000)))
