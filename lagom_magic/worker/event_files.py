"""One trial's event files, read piece by piece while the trial writes them; the uploader sends the pieces.

Event files only grow, so the driver appends each piece, and TensorBoard shows a trial while it runs. Other files in
the same folder (profiles) may change anywhere and are sent whole when the trial has ended.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lagom_magic.rpc.codec import MAX_CHUNK_BYTES
from lagom_magic.worker.trial_folder import TrialFolder

#: A header and the bytes that it describes.
Piece = tuple[dict[str, Any], bytes]


@dataclass(slots=True)
class _Read:
    """How far one file was read."""

    inode: int
    n_bytes: int = 0
    digest: Any = field(default_factory=hashlib.sha256)


class EventFiles:
    """Those of one attempt. Each byte is given out once, in order, whether the trial runs still or has ended."""

    def __init__(self, trial_id: int, attempt: int, folder: TrialFolder) -> None:
        self.trial_id, self.attempt = trial_id, attempt
        self._folder = folder
        #: {path below the trial's folder: how far it was read}
        self._read: dict[str, _Read] = {}
        #: (path, size) of the files that the last look found grown.
        self._grown: deque[tuple[str, int]] = deque()

    def look(self) -> None:
        """Finds what has grown; nothing while pieces of the last look wait.

        Raises:
            OSError: a folder cannot be read.
        """
        if self._grown:
            return
        for path, status in self._event_files():
            if status.st_size > self._read_of(path, status).n_bytes:
                self._grown.append((path, status.st_size))

    def next_piece(self) -> Piece | None:
        """The next piece of what the last look found.

        Raises:
            OSError: a file cannot be read; its pieces wait for the trial's end.
        """
        while self._grown:
            path, size_bytes = self._grown[0]
            read = self._read[path]
            try:
                with open(os.path.join(self._folder.path, path), "rb") as file:
                    file.seek(read.n_bytes)
                    data = file.read(min(MAX_CHUNK_BYTES, size_bytes - read.n_bytes))
            except FileNotFoundError:  # the trial has removed it meanwhile
                data = b""
            except OSError:
                self._grown.popleft()
                raise
            if not data or read.n_bytes + len(data) >= size_bytes:
                self._grown.popleft()
            if data:
                return self._piece(path, read, data, is_last=False)
        return None

    def rest_of(self, path: str) -> Iterator[Piece]:
        """The pieces of a file that were not given out, the last one marked; the trial has ended.

        Raises:
            OSError: it cannot be read.
        """
        try:
            with open(os.path.join(self._folder.path, path), "rb") as file:
                status = os.fstat(file.fileno())
                read = self._read_of(path, status)
                file.seek(read.n_bytes)
                is_last = False
                while not is_last:
                    data = file.read(min(MAX_CHUNK_BYTES, status.st_size - read.n_bytes))
                    is_last = read.n_bytes + len(data) >= status.st_size
                    if not data and not is_last:
                        raise OSError("it became shorter while it was read")
                    yield self._piece(path, read, data, is_last=is_last)
        finally:
            self._read.pop(path, None)

    def ends_of_removed(self) -> Iterator[Piece]:
        """An end without bytes for each file that the trial has removed: what the driver has of it stays."""
        for path, read in self._read.items():
            yield self._piece(path, read, b"", is_last=True)

    def _event_files(self) -> Iterator[tuple[str, os.stat_result]]:
        for folder, _, names in os.walk(self._folder.tensorboard, onerror=_raise):
            for name in names:
                whole = os.path.join(folder, name)
                if is_event_file(name) and not os.path.islink(whole):
                    try:
                        status = os.stat(whole)
                    except FileNotFoundError:
                        continue
                    yield os.path.relpath(whole, self._folder.path), status

    def _read_of(self, path: str, status: os.stat_result) -> _Read:
        """How far the file was read; from its start again when it is another one now."""
        read = self._read.get(path)
        if read is None or read.inode != status.st_ino or read.n_bytes > status.st_size:
            read = self._read[path] = _Read(status.st_ino)
        return read

    def _piece(self, path: str, read: _Read, data: bytes, *, is_last: bool) -> Piece:
        header = {
            "type": "file",
            "grows": True,
            "trial_id": self.trial_id,
            "attempt": self.attempt,
            "path": path,
            "offset": read.n_bytes,
        }
        read.digest.update(data)
        read.n_bytes += len(data)
        header |= {
            "size_bytes": read.n_bytes if is_last else None,
            "is_last": is_last,
            "sha256": read.digest.hexdigest() if is_last else None,
        }
        return header, data


def is_event_file(path: str) -> bool:
    """Whether TensorBoard takes a file of this name for event records."""
    return "tfevents" in os.path.basename(path)


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):  # the trial has removed the folder
        raise error
