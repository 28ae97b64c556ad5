"""The file `console.log`: written by the store's thread, followed by displays in this and other processes.

Its size is bounded: a full one becomes `console.1.log` and replaces the one before.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from lagom_magic.store.layout import RunLayout, write_all

#: Bytes of each of the two parts.
MAX_PART_BYTES = 16 << 20


class ConsoleWriter:
    """Appends lines to the console."""

    def __init__(self, layout: RunLayout, max_part_bytes: int = MAX_PART_BYTES) -> None:
        self._layout = layout
        self._max_part_bytes = max_part_bytes
        self._descriptor: int | None = None
        self._n_bytes = 0

    def write(self, lines: Iterable[str]) -> None:
        """Append whole lines.

        Raises:
            OSError: as the file system reports it.
        """
        data = "".join(f"{line}\n" for line in lines).encode(errors="backslashreplace")
        if not data:
            return
        if self._n_bytes and self._n_bytes + len(data) > self._max_part_bytes:
            self.close()
            os.replace(self._layout.console, self._layout.older_console)
        if self._descriptor is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._descriptor = os.open(self._layout.console, flags, 0o644)
            self._n_bytes = os.fstat(self._descriptor).st_size  # of a run that is resumed
        write_all(self._descriptor, data)
        self._n_bytes += len(data)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class ConsoleReader:
    """Follows the console from its oldest part that is still there; holds a file open between calls."""

    def __init__(self, run_dir: Path) -> None:
        self._layout = RunLayout(run_dir)
        self._file: IO[bytes] | None = None

    def read_new(self, max_bytes: int) -> str:
        """The next complete lines, at most about `max_bytes` of them; '' when there is nothing new.

        Args:
            max_bytes: >= 8 KiB, so that the longest line fits.
        """
        data = b""
        while len(data) < max_bytes:
            new = self._read_lines(max_bytes - len(data))
            if not new and (following := self._following_part()) is not None:
                new = self._read_lines(MAX_PART_BYTES)  # what came between our look and the page's turn
                self.close()
                self._file = following
            elif not new:
                break
            data += new
        return data.decode(errors="backslashreplace")

    def skip(self) -> None:
        """Pass over what is there."""
        while (following := self._following_part()) is not None:
            self.close()
            self._file = following
        if self._file is not None:
            self._file.seek(0, os.SEEK_END)

    def _read_lines(self, max_bytes: int) -> bytes:
        if self._file is None:
            return b""
        start = self._file.tell()
        data = self._file.read(max_bytes)
        data = data[: data.rfind(b"\n") + 1]
        self._file.seek(start + len(data))
        return data

    def _following_part(self) -> IO[bytes] | None:
        """The part after the one that is read, opened; None when that one is the newest."""
        parts = [part for part in (_open(self._layout.older_console), _open(self._layout.console)) if part is not None]
        inodes = [os.fstat(part.fileno()).st_ino for part in parts]
        here = os.fstat(self._file.fileno()).st_ino if self._file is not None else None
        following = inodes.index(here) + 1 if here in inodes else 0
        for index, part in enumerate(parts):
            if index != following:
                part.close()
        return parts[following] if following < len(parts) else None

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _open(path: Path) -> IO[bytes] | None:
    try:
        return open(path, "rb", buffering=0)
    except FileNotFoundError:
        return None
