"""The run's prints on their way to the cell: in batches, and never so many that a front end drops or drowns.

Used by the display thread. What is not shown is counted and said; everything is in the run folder.
"""

from __future__ import annotations

from pathlib import Path

from lagom_magic.store.console_file import ConsoleReader

#: Bytes of one batch; at ten a second a third of what a Jupyter server lets through (1 MB/s).
BATCH_BYTES = 32 * 1024
#: More than this waiting is a flood: only its end is shown.
BACKLOG_BYTES = 8 * BATCH_BYTES


class Lines:
    """Follows a run's console log."""

    def __init__(self, run_dir: Path, budget_bytes: int | None, *, shows_past: bool = True) -> None:
        """Follow the log.

        Args:
            run_dir: the run's folder.
            budget_bytes: how much may be shown in all, so that a saved notebook stays usable; None = any amount.
            shows_past: from its start; else from where it ends now.
        """
        self._reader = ConsoleReader(run_dir)
        if not shows_past:
            self._reader.skip()
        self._left_bytes = budget_bytes
        self._waiting = ""

    def take(self) -> str:
        """The next batch of whole lines; '' when there is nothing to show."""
        if len(self._waiting) < BATCH_BYTES:
            self._waiting += self._read()
        cut = len(self._waiting) if len(self._waiting) <= BATCH_BYTES else self._waiting.rfind("\n", 0, BATCH_BYTES) + 1
        batch, self._waiting = self._waiting[:cut], self._waiting[cut:]
        return self._within_budget(batch)

    @property
    def has_more(self) -> bool:
        """Whether a batch is ready without reading."""
        return bool(self._waiting)

    def close(self) -> None:
        self._reader.close()

    def _read(self) -> str:
        text, n_skipped = "", 0
        while newer := self._reader.read_new(BACKLOG_BYTES):
            text += newer
            if len(text) > BACKLOG_BYTES:
                cut = text.index("\n", -BATCH_BYTES) + 1
                n_skipped += text.count("\n", 0, cut)
                text = text[cut:]
        return (f"… {n_skipped:,} lines not shown here; they are in console.log\n" if n_skipped else "") + text

    def _within_budget(self, batch: str) -> str:
        if self._left_bytes is None or not batch:
            return batch
        if self._left_bytes <= 0:
            return ""
        self._left_bytes -= len(batch)
        if self._left_bytes > 0:
            return batch
        return f"{batch}… no more lines are shown in this notebook; all of them are in console.log\n"
