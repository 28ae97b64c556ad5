"""What to tell a page next: pure, without files, threads and clocks; used by the follower of a run.

A page holds a run up to a line of its journal and a line of its console. Changed trials travel in the order of
their changes, so after each update "all changes up to `seq`" is true, and a page that missed one asks for it again.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Any

from lagom_magic.display.ablation import is_ablation
from lagom_magic.display.ablation_message import AblationTelling
from lagom_magic.display.viewmodel import run_head, trial_row, worker_rows
from lagom_magic.display.wire import Message, wire_size, wire_text
from lagom_magic.events.fold import RunView

LINES_LIMIT = 2_000
#: Longer lines are cut; the files have them whole.
LINE_CHARACTERS = 4_000
#: What head, trials and lines share of a message's 64 KiB, and how much of it the head should take.
_CONTENT_BYTES = 60 * 1024
_HEAD_BYTES = 20 * 1024
#: Of an ablation, and what stays for the first row and line beside it.
_ABLATION_LIMIT_BYTES, _ROWS_BYTES = 20 * 1024, 18 * 1024
#: Names of four bytes a character may make it larger; a row and a line still have to fit beside it.
_HEAD_LIMIT_BYTES = 40 * 1024
_WORKERS_LIMIT = 128
_TRIALS_A_MESSAGE = 400


class LineRing:
    """The console's last lines, numbered from 0."""

    def __init__(self, limit: int = LINES_LIMIT) -> None:
        self._kept: deque[str] = deque(maxlen=limit)
        self.n_lines = 0

    def add(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._kept.append(line if len(line) <= LINE_CHARACTERS else f"{line[:LINE_CHARACTERS]}…")
            self.n_lines += 1

    @property
    def first(self) -> int:
        """The number of the oldest line that is kept."""
        return self.n_lines - len(self._kept)

    def since(self, number: int) -> Iterable[str]:
        """The kept lines from that number on."""
        return islice(self._kept, max(0, number - self.first), None)


class Updates:
    """Makes the updates of one page."""

    def __init__(self, view: RunView, lines: LineRing) -> None:
        """Begin with everything.

        Args:
            view: the run; grows by `fold` between calls.
            lines: its console; grows likewise.
        """
        self._view, self._lines = view, lines
        self._number = 0
        self._seq = 0
        self._line = 0
        self._told: tuple[int, str] | None = None
        self._ablation = AblationTelling(view)

    def sync(self, since: int, line: int) -> None:
        """Go back to what the page holds.

        Args:
            since: journal lines; 0 = nothing.
            line: console lines; -1 = only the last ones are wanted.
        """
        self._seq = min(max(0, since), self._view.n_facts)
        self._line = self._lines.first if line < 0 else min(line, self._lines.n_lines)
        self._told = None
        self._ablation.forget()

    @property
    def has_next(self) -> bool:
        """Whether something has come since the last update."""
        return self._told is None or self._told[0] != self._view.n_facts or self._line != self._lines.n_lines

    def next(self, now: float) -> Message | None:
        """The next update, or None when the page holds everything.

        Args:
            now: seconds since the epoch, by which the page sets its clock.
        """
        if not self.has_next:
            return None
        head = self._head()
        text = wire_text(head)
        room_bytes = _CONTENT_BYTES - len(text.encode())
        ablation = self._new_ablation(room_bytes)
        room_bytes -= wire_size(ablation)
        lines = self._new_lines(room_bytes // 2)
        rows, seq = self._changed_trials(room_bytes - wire_size(lines))
        since, self._seq = self._seq, seq
        is_news = rows or lines or ablation or self._told is None or self._told[1] != text
        self._told = (seq, text)
        if not is_news:
            return None
        self._number += 1
        return {
            "type": "update",
            "number": self._number,
            "time": round(now, 3),
            "since": since,
            "seq": seq,
            "has_more": seq < self._view.n_facts,
            **head,
            "trials": rows,
            "lines": lines,
            **({"ablation": ablation} if ablation else {}),
        }

    def _new_ablation(self, left_bytes: int) -> dict[str, Any] | None:
        """The components of an ablation when one of its trials has begun or ended; they leave room for rows."""
        if not is_ablation(self._view):
            return None
        return self._ablation.news(min(_ABLATION_LIMIT_BYTES, left_bytes - _ROWS_BYTES))

    def _head(self) -> dict[str, Any]:
        """Run and workers; of very many workers only some, and of very large notices the last."""
        n_workers = _WORKERS_LIMIT
        while True:
            run = run_head(self._view)
            head = {"run": run, "workers": worker_rows(self._view, n_workers)}
            if n_workers == 1 or wire_size(head) <= _HEAD_BYTES:
                break
            n_workers //= 2
        while wire_size(head) > _HEAD_LIMIT_BYTES and len(notices := run["notices"]) > 1:
            run["notices"] = notices[len(notices) // 2 :]
        return head

    def _changed_trials(self, left_bytes: int) -> tuple[list[dict[str, Any]], int]:
        """As many changed rows as a message takes, and the journal line that a page has reached with them."""
        newer = (trial for trial in self._view.trials.values() if trial.changed_at > self._seq)
        oldest = heapq.nsmallest(_TRIALS_A_MESSAGE + 1, newer, key=lambda trial: trial.changed_at)
        rows: list[dict[str, Any]] = []
        for trial in oldest[:_TRIALS_A_MESSAGE]:
            row = trial_row(trial)
            left_bytes -= wire_size(row) + 1
            if rows and left_bytes < 0:
                break
            rows.append(row)
        return rows, self._view.n_facts if len(rows) == len(oldest) else rows[-1]["changed_at"]

    def _new_lines(self, left_bytes: int) -> dict[str, Any] | None:
        if self._line == self._lines.n_lines:
            return None
        begin = self._line
        n_skipped = max(0, self._lines.first - begin)
        texts: list[str] = []
        for text in self._lines.since(begin):
            fitting = text if texts else _cut(text, left_bytes)
            left_bytes -= wire_size(fitting) + 1
            if texts and left_bytes < 0:
                break
            texts.append(fitting)
        self._line = begin + n_skipped + len(texts)
        return {"begin": begin, "end": self._line, "n_skipped": n_skipped, "texts": texts}


def _cut(text: str, limit_bytes: int) -> str:
    """The beginning of a line that fits beside all else in a message."""
    while wire_size(text) > limit_bytes and len(text) > 2:
        text = f"{text[: len(text) // 2]}…"
    return text
