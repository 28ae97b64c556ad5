"""A run as its folder shows it: journal and console, read as they grow; shared by the threads that serve one page.

It needs no driver: of a run that nobody drives any more and that has no end, it shows that it was interrupted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from lagom_magic.display.updates import LineRing
from lagom_magic.events.fold import RunView, fold
from lagom_magic.store.console_file import ConsoleReader
from lagom_magic.store.journal import JournalReader, interrupt, is_being_written
from lagom_magic.store.layout import RunLayout

_CONSOLE_BYTES = 1 << 20


class RunReading:
    """One run, as far as it has been read.

    Attributes:
        run_dir: its folder.
        lock: hold it while you look at `view` or `lines`.
        view: the fold of the journal.
        lines: the console's end.
        is_over: whether nothing can come any more; everything has been read then.
    """

    def __init__(self, run_dir: Path, is_driven: Callable[[], bool] | None = None) -> None:
        """Read nothing yet.

        Args:
            run_dir: the run's folder; its files may come later.
            is_driven: whether somebody drives the run; None = look for the lock on its journal.
        """
        self.run_dir = run_dir
        self.lock = threading.RLock()
        self.view, self.lines = RunView(), LineRing()
        self.is_over = False
        self._is_driven = is_driven or (lambda: is_being_written(run_dir))
        self._journal, self._console = JournalReader(run_dir), ConsoleReader(run_dir)
        self._sizes: tuple[int, int] | None = None
        self._is_closed = False

    def refresh(self) -> None:
        """Read what has come since the last call.

        Raises:
            OSError: as the file system reports it.
        """
        with self.lock:
            if self.is_over or self._is_closed:
                return
            is_driven = self._is_driven()  # before reading: what a run writes before its end is read then
            if (sizes := self._current_sizes()) != self._sizes or not is_driven:
                self._sizes = sizes
                self._read()
            if not is_driven and self.view.header is not None:
                interrupt(self.view)
                self.is_over = True
                self.close()

    def close(self) -> None:
        """Read no more."""
        with self.lock:
            self._is_closed = True
            self._console.close()

    def _read(self) -> None:
        for line in self._journal.read_new():
            fold(self.view, line.fact, line.time)
        while text := self._console.read_new(_CONSOLE_BYTES):
            self.lines.add(text.split("\n")[:-1])

    def _current_sizes(self) -> tuple[int, int]:
        layout = RunLayout(self.run_dir)
        return _size_of(layout.journal), _size_of(layout.console)


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1
