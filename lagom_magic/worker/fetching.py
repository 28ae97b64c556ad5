"""Fetches the checkpoint that a trial goes on from, piece by piece, from the driver; used by the supervisor."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import IO, Any

Message = dict[str, Any]


class Fetch:
    """One file on its way from the driver."""

    def __init__(
        self, wanted: Message, path: str, ask: Callable[[Message], None], on_end: Callable[[str], None]
    ) -> None:
        """Know what is wanted.

        Args:
            wanted: trial_id, attempt, path, size_bytes and sha256 of the file, as the driver stored it.
            path: where it is written.
            ask: sends a message to the driver.
            on_end: called once with '' when the file is there, else with what went wrong.
        """
        self._wanted = wanted
        self._ask = ask
        self._on_end = on_end
        self._path = path
        self._file: IO[bytes] | None = None
        self._digest = hashlib.sha256()
        self._n_bytes = 0

    def start(self) -> None:
        """Asks for the first piece."""
        try:
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            self._file = open(self._path, "wb")  # noqa: SIM115 - closed when the last piece has come
        except OSError as error:
            self._end(str(error))
        else:
            self._ask_next()

    def take(self, header: Message, data: bytes) -> None:
        """The next piece, or the driver's word that there is none."""
        if self._file is None or self._file.closed or header.get("offset") != self._n_bytes:
            return
        if header.get("error"):
            self._end(str(header["error"]))
            return
        try:
            self._file.write(data)
            self._file.flush()
        except OSError as error:
            self._end(str(error))
            return
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
        if self._file is not None:
            self._file.close()

    def _ask_next(self) -> None:
        about = {name: self._wanted[name] for name in ("trial_id", "attempt", "path")}
        self._ask({"type": "fetch", **about, "offset": self._n_bytes})

    def _end(self, trouble: str) -> None:
        self.close()
        self._on_end(trouble)
