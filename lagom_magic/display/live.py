"""The display thread: follows a run's folder and keeps a publisher's table and prints up to date.

Started by `experiment.lagom` on the thread that runs the cell. It reads files only, so it shows a run that another
process drives in the same way. It never holds the driver up: `wake` sets a flag.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from lagom_magic.display.lines import Lines
from lagom_magic.display.publisher import FACES, Bundle, Publisher
from lagom_magic.events.fold import RunView, fold
from lagom_magic.store.journal import JournalReader, interrupt, is_being_written

TURN_INTERVAL_S = 0.1
TABLE_INTERVAL_S = 0.25
#: Without news the elapsed time still moves.
TICK_INTERVAL_S = 1.0
#: The table may take this share of one core: a slow one is drawn less often.
TABLE_SHARE = 0.05

_log = logging.getLogger(__name__)


class Display:
    """Shows one run until it is closed; use it as a context manager, or `start` and `close`."""

    def __init__(
        self,
        run_dir: Path,
        publisher: Publisher,
        clock: Callable[[], float] = time.time,
        *,
        shows_past_lines: bool = True,
    ) -> None:
        """Make the display of a run; nothing is shown before `start`.

        Args:
            run_dir: the run's folder; its files may come later.
            publisher: where to show it.
            clock: seconds since the epoch, for the elapsed time.
            shows_past_lines: what was printed before now too, as by a run before it was resumed.
        """
        self._publisher, self._clock = publisher, clock
        self._run_dir, self._journal = run_dir, JournalReader(run_dir)
        self._lines = Lines(run_dir, publisher.line_budget_bytes, shows_past=shows_past_lines)
        self._folder = readable_folder(run_dir)
        self._view = RunView()
        self._shown: Bundle = {}
        self._table_due_at = 0.0
        self._is_table_stale = False
        self._news, self._closing = threading.Event(), threading.Event()
        self._is_final = False
        self._thread = threading.Thread(target=self._run, name="lagom-display", daemon=True)
        #: What last went wrong on the thread; the run is not touched by it.
        self.error: Exception | None = None

    def start(self) -> None:
        """Begin to show."""
        self._thread.start()

    def wake(self) -> None:
        """Say that the folder has news; costs next to nothing and may be called from any thread."""
        if not self._news.is_set():
            self._news.set()

    def close(self, final: bool = True, timeout_s: float = 5.0) -> bool:
        """End the thread; with `final` the complete table and all remaining lines are shown first.

        A run that nobody drives any more and that has no end is shown as interrupted then.

        Returns:
            Whether the thread has ended within `timeout_s`; one that hangs in a publisher is left behind.
        """
        self._is_final = final
        self._closing.set()
        self._news.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def leave(self) -> None:
        """Stop watching a run that goes on."""
        self.close()

    def __enter__(self) -> Display:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                turn_at = time.monotonic()
                self._guarded(self._turn)
                self._news.wait(self._patience_s())
                self._closing.wait(max(0.0, turn_at + TURN_INTERVAL_S - time.monotonic()))
            if self._is_final:
                self._guarded(self._write_all)
                self._guarded(self._show_last)
        finally:
            self._lines.close()

    def _guarded(self, step: Callable[[], None]) -> None:
        """The thread's outer edge: a display that fails must not end the run, nor go unseen."""
        try:
            step()
        except Exception as error:
            if type(error) is not type(self.error):
                _log.exception("The display of %s failed; the run goes on.", self._folder)
            self.error = error

    def _patience_s(self) -> float:
        """How long the next turn can wait when there is no news."""
        if self._lines.has_more:
            return 0.0
        return max(0.0, self._table_due_at - time.monotonic()) if self._is_table_stale else TICK_INTERVAL_S

    def _turn(self) -> None:
        self._is_table_stale |= self._news.is_set()
        self._news.clear()
        if lines := self._lines.take():
            self._publisher.write(lines)
        now = time.monotonic()
        if self._publisher.is_live and now >= self._table_due_at:
            began_s = time.thread_time()
            self._read()
            self._show(is_final=False)
            self._table_due_at = now + max(TABLE_INTERVAL_S, (time.thread_time() - began_s) / TABLE_SHARE)
            self._is_table_stale = False

    def _write_all(self) -> None:
        while lines := self._lines.take():
            self._publisher.write(lines)

    def _show_last(self) -> None:
        is_driven = is_being_written(self._run_dir)  # before reading: what a run writes before its end is read then
        self._read()
        if not is_driven:
            interrupt(self._view)
        self._show(is_final=True)

    def _read(self) -> None:
        for line in self._journal.read_new():
            fold(self._view, line.fact, line.time)

    def _show(self, is_final: bool) -> None:
        """Draw the table, and show it when it differs."""
        bundle = render(self._view, self._clock(), self._folder, self._publisher.mime_types)
        if is_final or bundle != self._shown:
            self._publisher.show(bundle, is_final)
            self._shown = bundle


def render(view: RunView, now: float, folder: str, mime_types: tuple[str, ...] = tuple(FACES)) -> Bundle:
    """The run's faces.

    Args:
        view: the run.
        now: seconds since the epoch; without effect once the run has ended.
        folder: where the run is stored, as a person should read it.
        mime_types: the faces wanted.
    """
    return {mime_type: FACES[mime_type](view, now, folder) for mime_type in mime_types}


def readable_folder(run_dir: Path) -> str:
    """The folder as seen from here when it is below, else in full."""
    full = run_dir.absolute()
    here = Path(os.getcwd())
    return str(full.relative_to(here)) if full.is_relative_to(here) else str(full)
