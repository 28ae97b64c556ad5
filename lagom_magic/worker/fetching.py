"""Fetches the checkpoint that a trial goes on from, piece by piece, from the driver; used by the supervisor."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Any

Message = dict[str, Any]


class Fetch:
    """One file on its way from the driver."""

    def __init__(
        self, wanted: Message, path: str, ask: Callable[[Message], None], on_end: Callable[[str], None]
    ) -> None:
        """Ask for the first piece.

        Args:
            wanted: trial_id, attempt, path, size_bytes and sha256 of the file, as the driver stored it.
            path: where it is written.
            ask: sends a message to the driver.
            on_end: called once with '' when the file is there, else with what went wrong.
        """
        self._wanted = wanted
        self._ask = ask
        self._on_end = on_end
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self._file = open(path, "wb")  # noqa: SIM115 - closed when the last piece has come
        self._digest = hashlib.sha256()
        self._n_bytes = 0
        self._ask_next()

    def take(self, header: Message, data: bytes) -> None:
        """The next piece, or the driver's word that there is none."""
        if self._file.closed or header.get("offset") != self._n_bytes:
            return
        if header.get("error"):
            self._end(str(header["error"]))
            return
        self._file.write(data)
        self._digest.update(data)
        self._n_bytes += len(data)
        if self._n_bytes < self._wanted["size_bytes"] and data:
            self._ask_next()
        elif self._digest.hexdigest() != self._wanted["sha256"]:
            self._end("it is not the file that was stored")
        else:
            self._end("")

    def close(self) -> None:
        """Forgets it."""
        self._file.close()

    def _ask_next(self) -> None:
        about = {name: self._wanted[name] for name in ("trial_id", "attempt", "path")}
        self._ask({"type": "fetch", **about, "offset": self._n_bytes})

    def _end(self, trouble: str) -> None:
        self._file.close()
        self._on_end(trouble)
