"""The follower of a run: a thread that reads its folder and tells one page what is new, as docs/live-view.md says.

Made by the widget in the kernel, which wakes it, and by the server extension for each socket, where it looks itself.
Its thread lives as long as there is something to tell or to wait for: with the run, and again while a page that asks
for a run of the past is told about it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from lagom_magic.display.reading import RunReading
from lagom_magic.display.updates import Updates
from lagom_magic.display.wire import Message

#: Between two looks at the folder, and so between two updates, at the least.
TURN_INTERVAL_S = 0.1
#: The follower may take this share of one core: under a flood of changes it tells more seldom.
CORE_SHARE = 0.1
#: But at least so often; reading a long run from its start takes seconds once.
LONGEST_TURN_INTERVAL_S = 0.5
#: Between two looks at the folder of a living run: when the driver says that it has grown, and when nobody does.
WOKEN_LOOK_INTERVAL_S = 1.0
UNWOKEN_LOOK_INTERVAL_S = 0.25
#: Until a folder is looked at again that could not be read: a network's disk may come back.
RETRY_INTERVAL_S = 2.0

_log = logging.getLogger(__name__)


class Follower:
    """Tells one page about a run. Methods may be called from any thread."""

    def __init__(
        self,
        run_dir: Path,
        send: Callable[[Message], None],
        *,
        is_driven: Callable[[], bool] | None = None,
        look_interval_s: float = UNWOKEN_LOOK_INTERVAL_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Make the follower; `start` begins.

        Args:
            run_dir: the run's folder.
            send: called with each update on the follower's thread; what it raises ends the thread.
            is_driven: whether the run's driver lives; None = look for the lock on the run's journal.
            look_interval_s: how often to look at a living run's folder without being woken.
            clock: seconds since the epoch.
        """
        self.reading = RunReading(run_dir, is_driven)
        self._updates = Updates(self.reading.view, self.reading.lines)
        self._send, self._clock, self._look_interval_s = send, clock, look_interval_s
        self._news, self._closing = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        #: What went wrong last: a folder that could not be read, which is tried again, or what ended the thread.
        self.error: Exception | None = None

    def start(self) -> None:
        """Begin to tell, or go on."""
        with self.reading.lock:
            if self._thread is None and not self._closing.is_set():
                self._thread = threading.Thread(target=self._run, name="lagom-follower", daemon=True)
                self._thread.start()

    def wake(self) -> None:
        """Say that the folder has news; costs next to nothing."""
        if not self._news.is_set():
            self._news.set()

    def sync(self, since: int, line: int) -> None:
        """Go back to what the page holds, as `Updates.sync`, and tell it the rest.

        Raises:
            OSError: as the file system reports it.
        """
        with self.reading.lock:
            self.reading.refresh()
            self._updates.sync(since, line)
            self.start()
        self.wake()

    def close(self, timeout_s: float = 5.0) -> bool:
        """End the thread for good; whether it has ended within `timeout_s`."""
        self.hang_up()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)
        return thread is None or not thread.is_alive()

    def hang_up(self) -> None:
        """Tell the thread to end, and do not wait; files are closed by whoever is last."""
        self._closing.set()
        self._news.set()
        if self._thread is None:
            self.reading.close()

    def wait(self, timeout_s: float) -> bool:
        """Wait until everything is told about a run that is over; False when `timeout_s` passed first."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout_s)
        return thread is None or not thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                turn_at, began_s = time.monotonic(), time.thread_time()
                self._news.clear()
                try:
                    update = self._next()
                except OSError as error:
                    self._note_unreadable(error)
                    self._closing.wait(RETRY_INTERVAL_S)
                    continue
                if update is not None:
                    self._send(update)
                elif self._is_done():
                    return
                else:
                    self._news.wait(self._look_interval_s)
                wanted_s = (time.thread_time() - began_s) / CORE_SHARE
                interval_s = min(max(TURN_INTERVAL_S, wanted_s), LONGEST_TURN_INTERVAL_S)
                self._closing.wait(max(0.0, turn_at + interval_s - time.monotonic()))
        except Exception as error:  # the thread's outer edge: a page that is gone, a journal that is none
            self.error = error
            if not self._closing.is_set():
                _log.warning("A page of %s is told no more: %s: %s", self.reading.run_dir, type(error).__name__, error)
        finally:
            with self.reading.lock:
                if self._thread is threading.current_thread():
                    self._thread = None
                if self._closing.is_set():
                    self.reading.close()

    def _note_unreadable(self, error: OSError) -> None:
        if type(error) is not type(self.error):
            _log.warning("%s cannot be read just now; it is tried again: %s", self.reading.run_dir, error)
        self.error = error

    def _next(self) -> Message | None:
        self.reading.refresh()
        with self.reading.lock:
            return self._updates.next(self._clock())

    def _is_done(self) -> bool:
        """Whether the thread ends now; decided under the lock, so that a `sync` meanwhile starts another one."""
        with self.reading.lock:
            if self.reading.is_over and not self._updates.has_next:
                self._thread = None
                return True
            return False
