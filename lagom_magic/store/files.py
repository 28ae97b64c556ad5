"""Files that workers send, chunk by chunk, into their trial's folders (see `received.py` for where that may be).

A file appears when it is whole and its hash is right; but event files, which grow, at once (`growing.py`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from lagom_magic.errors import StoreError
from lagom_magic.events.facts import FileStored
from lagom_magic.store.growing import GrowingFiles
from lagom_magic.store.layout import RunLayout, write_all
from lagom_magic.store.received import Key, key_of, open_parent


@dataclass(slots=True)
class _Transfer:
    """A file of which chunks are still to come."""

    key: Key
    folder: int  # its descriptor, so that nobody can move the folder away meanwhile
    name: str
    descriptor: int
    n_bytes: int = 0
    digest: Any = field(default_factory=hashlib.sha256)

    @property
    def part_name(self) -> str:
        return f".{self.name}.part"

    def keep(self) -> None:
        try:
            os.rename(self.part_name, self.name, src_dir_fd=self.folder, dst_dir_fd=self.folder)
        except OSError:
            self.discard()
            raise
        self._close()

    def discard(self) -> None:
        """Forget the file; what the disk does not let go of, or has lost already, is left to it."""
        with suppress(OSError):
            os.unlink(self.part_name, dir_fd=self.folder)
        with suppress(OSError):
            self._close()

    def _close(self) -> None:
        try:
            os.close(self.descriptor)
        finally:
            os.close(self.folder)


class FileReceiver:
    """Takes the chunks of all workers, of each at most one file at a time beside those that grow."""

    def __init__(self, layout: RunLayout) -> None:
        self._layout = layout
        self._growing = GrowingFiles(layout)
        self._transfers: dict[int, _Transfer] = {}
        #: {worker_id: the file that was refused and whose remaining chunks are ignored}
        self._refused: dict[int, Key] = {}
        #: (worker_id, trial_id, attempt); kept for good, because files may come after the trial's end.
        self._started: set[tuple[int, int, int]] = set()

    def start(self, worker_id: int, trial_id: int, attempt: int) -> None:
        """From now on the worker may send files of this attempt."""
        self._started.add((worker_id, trial_id, attempt))

    def receive(self, worker_id: int, header: Mapping[str, Any], data: bytes) -> FileStored | None:
        """Take one chunk; the fact when it was the last one.

        Raises:
            StoreError: once a file, for a bad path, offset, size or hash, for an attempt that was not started on
                this worker, or when the disk refuses it.
        """
        key = key_of(header)
        if header.get("grows") and self._is_started(worker_id, key):
            return self._growing.receive(worker_id, key, header, data)
        if header.get("offset") != 0 and self._refused.get(worker_id) == key:
            return None
        try:
            return self._receive(worker_id, key, header, data)
        except (StoreError, OSError) as error:
            self._refused[worker_id] = key
            self._forget(worker_id)
            if isinstance(error, StoreError):
                raise
            raise StoreError(f"{key[2]}: {error.strerror or error}") from error

    def _receive(self, worker_id: int, key: Key, header: Mapping[str, Any], data: bytes) -> FileStored | None:
        transfer = self._transfers.get(worker_id)
        if header.get("offset") == 0:
            self._forget(worker_id)
            transfer = self._transfers[worker_id] = self._begin(worker_id, key)
        if transfer is None or transfer.key != key or header.get("offset") != transfer.n_bytes:
            expected = transfer.n_bytes if transfer is not None and transfer.key == key else 0
            raise StoreError(f"{key[2]}: a chunk at byte {header.get('offset')!r} came, byte {expected} was expected.")
        write_all(transfer.descriptor, data)
        transfer.digest.update(data)
        transfer.n_bytes += len(data)
        return self._finish(worker_id, transfer, header) if header.get("is_last") else None

    def _is_started(self, worker_id: int, key: Key) -> bool:
        return (worker_id, *key[:2]) in self._started

    def _begin(self, worker_id: int, key: Key) -> _Transfer:
        if not self._is_started(worker_id, key):
            trial_id, attempt, path = key
            raise StoreError(
                f"{path[:200]!r} is refused: trial {trial_id}, attempt {attempt} was not started on worker {worker_id}."
            )
        folder, name = open_parent(self._layout, key)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            return _Transfer(key, folder, name, os.open(f".{name}.part", flags, 0o644, dir_fd=folder))
        except BaseException:
            os.close(folder)
            raise

    def _finish(self, worker_id: int, transfer: _Transfer, header: Mapping[str, Any]) -> FileStored:
        sha256 = transfer.digest.hexdigest()
        if header.get("size_bytes") != transfer.n_bytes or header.get("sha256") != sha256:
            raise StoreError(
                f"{transfer.key[2]}: {transfer.n_bytes} bytes with SHA-256 {sha256} arrived, "
                f"{header.get('size_bytes')} bytes with {header.get('sha256')} were announced."
            )
        del self._transfers[worker_id]
        transfer.keep()
        return FileStored(*transfer.key, size_bytes=transfer.n_bytes, sha256=sha256)

    def abandon(self, worker_id: int) -> None:
        """Forget what the worker was sending: it is lost."""
        self._growing.abandon(worker_id)
        self._forget(worker_id)

    def _forget(self, worker_id: int) -> None:
        """Forget the whole file that the worker was sending: it is lost, or begins anew."""
        transfer = self._transfers.pop(worker_id, None)
        if transfer is not None:
            transfer.discard()

    def close(self) -> None:
        for worker_id in list(self._transfers):
            self.abandon(worker_id)
