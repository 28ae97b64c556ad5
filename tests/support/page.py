"""What a page holds of a run after the updates that reached it: docs/live-view.md in its simplest form."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any


class Page:
    """Takes updates as they come out of JSON."""

    def __init__(self) -> None:
        self.run: dict[str, Any] = {}
        self.workers: list[dict[str, Any]] = []
        self.trials: dict[int, dict[str, Any]] = {}
        self.lines: list[str] = []
        self.seq = self.line = self.n_gaps = self.n_skipped = 0
        self._number = 0

    def take(self, update: dict[str, Any]) -> None:
        update = json.loads(json.dumps(update, allow_nan=False))
        is_gap = self._number not in (0, update["number"] - 1)
        self._number = update["number"]
        self.n_gaps += is_gap
        self.run, self.workers = update["run"], update["workers"]
        for row in update["trials"]:
            if row["changed_at"] > self.trials.get(row["id"], {"changed_at": -1})["changed_at"]:
                self.trials[row["id"]] = row
        if update["since"] <= self.seq:
            self.seq = max(self.seq, update["seq"])
        if (lines := update["lines"]) is not None and lines["begin"] <= self.line and lines["end"] > self.line:
            fresh = lines["texts"][max(0, self.line - lines["begin"] - lines["n_skipped"]) :]
            self.lines += fresh
            self.n_skipped += lines["n_skipped"]
            self.line = lines["end"]

    def take_all(self, updates: Iterable[dict[str, Any]]) -> None:
        for update in updates:
            self.take(update)
