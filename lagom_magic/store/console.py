"""From the bytes that a worker printed to the lines that a person reads; pure, fed by the store's thread.

Worker output is untrusted and may be a flood: what is shown is decoded, cleaned, capped and rate-limited,
while the bytes themselves go to output.log untouched.
"""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from lagom_magic.store.layout import RunLayout

#: Bytes of one line that are shown.
MAX_LINE_BYTES = 4096

_ESCAPES = re.compile(
    r"(?P<colour>\x1b\[[0-9;:]*m)"  # SGR: the one sequence that is kept
    r"|\x1b\[[0-?]*[ -/]*[@-~]?"  # other CSI: cursor, erase …
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC, DCS … up to their terminator: titles, links
    r"|\x1b[ -/]*[0-~]?"  # two-character escapes
    # C0 but tab, DEL, C1, line separators, bidirectional overrides
    r"|[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)


def clean(text: str) -> str:
    """The text without control characters and escape sequences, except colours, which end with the text."""
    if text.isprintable():
        return text
    cleaned = _ESCAPES.sub(lambda match: match["colour"] or "", text)
    return cleaned + "\x1b[0m" if "\x1b" in cleaned else cleaned


class LineLimiter:
    """A token bucket over lines; once empty it stays shut for a while, so that a flood shows in blocks."""

    def __init__(self, lines_per_s: float = 200, burst: int = 400) -> None:
        self._lines_per_s = lines_per_s
        self._burst = burst
        self._tokens = float(burst)
        self._is_shut = False
        self._time = -float("inf")

    def take(self, n_lines: int, now: float) -> int:
        """How many of the next `n_lines` may be shown.

        Args:
            n_lines: >= 0.
            now: a monotonic clock's seconds.
        """
        self._tokens = min(self._burst, self._tokens + (now - self._time) * self._lines_per_s)
        self._time = now
        if self._is_shut and self._tokens < self._burst / 4:
            return 0
        n_taken = min(n_lines, int(self._tokens))
        self._tokens -= n_taken
        self._is_shut = n_taken < n_lines
        return n_taken


class _OpenLine:
    """A line that has not ended: at most `MAX_LINE_BYTES` of what follows its last carriage return."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._n_cut = 0
        self._is_returned = False

    def add(self, data: bytes) -> None:
        text = data.rstrip(b"\r")
        if text:
            restart = text.rfind(b"\r") + 1
            if restart or self._is_returned:
                self.clear()
            n_kept = min(len(text), restart + MAX_LINE_BYTES - len(self._kept))
            self._kept += text[restart:n_kept]
            self._n_cut += len(text) - n_kept
        self._is_returned = len(text) < len(data) or (self._is_returned and not data)

    def clear(self) -> None:
        self._kept.clear()
        self._n_cut = 0
        self._is_returned = False

    def take(self) -> tuple[str, int]:
        """(the line as text, how many of its bytes were cut); begins the next line."""
        decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        taken = decoder.decode(bytes(self._kept), final=not self._n_cut), self._n_cut
        self.clear()
        return taken

    def __bool__(self) -> bool:
        return bool(self._kept)


class WorkerConsole:
    """Turns one worker's output into prefixed lines: `[w1 t7] epoch 3: 0.412`, or `[r0] …` of a rank among several."""

    def __init__(self, worker_id: int, limiter: LineLimiter) -> None:
        self._worker_id = worker_id
        self._limiter = limiter
        self._trial_id: int | None = None
        self._attempt = 1
        self._rank: int | None = None
        self._open = _OpenLine()
        #: Lines that are only in the file and not yet told of.
        self.n_untold = 0

    def feed(self, trial_id: int | None, attempt: int, data: bytes, now: float, rank: int | None = None) -> list[str]:
        """Lines to show after `data`, without line ends.

        Args:
            trial_id: whose output it is; None = outside of trials.
            attempt: of the trial.
            data: as captured; may begin and end anywhere in a line or character.
            now: a monotonic clock's seconds.
            rank: of a trial that the worker does not run alone.
        """
        lines = []
        if (trial_id, attempt) != (self._trial_id, self._attempt):
            lines = self.flush()
            self._trial_id, self._attempt, self._rank = trial_id, attempt, rank
        n_lines = data.count(b"\n")
        n_shown = self._limiter.take(n_lines, now) if n_lines else 0
        if n_shown:
            lines += self.tell_skipped()
        *shown, rest = data.split(b"\n", n_shown)
        for line in shown:
            self._open.add(line)
            lines.append(self._take_line())
        if n_lines > n_shown:
            self.n_untold += n_lines - n_shown
            self._open.clear()
            rest = rest[rest.rfind(b"\n") + 1 :]
        self._open.add(rest)
        return lines

    def flush(self) -> list[str]:
        """What is still held back, when the trial has ended: a line without an end, the count of skipped ones."""
        lines = self.tell_skipped()
        if self._open:
            lines.append(self._take_line())
        return lines

    def tell_skipped(self) -> list[str]:
        """The count of skipped lines as a line, when there are some that were not yet told of."""
        if not self.n_untold:
            return []
        n_untold, self.n_untold = self.n_untold, 0
        return [f"{self._prefix}… {n_untold:,} {'line' if n_untold == 1 else 'lines'} skipped, all in {self._log}"]

    def _take_line(self) -> str:
        text, n_cut = self._open.take()
        mark = f" … {n_cut:,} bytes more in {self._log}" if n_cut else ""
        return f"{self._prefix}{clean(text)}{mark}"

    @property
    def _prefix(self) -> str:
        if self._trial_id is None:
            return f"[w{self._worker_id}] "
        return f"[w{self._worker_id} t{self._trial_id}] " if self._rank is None else f"[r{self._rank}] "

    @property
    def _log(self) -> str:
        return RunLayout(Path()).output_log(self._worker_id, self._trial_id, self._attempt, self._rank).as_posix()
