"""Event files that workers send while their trials write them: each piece is appended where TensorBoard reads.

Unlike other files they are seen before they are whole; what a lost worker has sent stays.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lagom_magic.errors import StoreError
from lagom_magic.events.facts import FileStored
from lagom_magic.events.paths import TENSORBOARD
from lagom_magic.store.layout import RunLayout, write_all
from lagom_magic.store.received import Key, open_parent, safe_parts

#: Files of one worker that grow at a time: what a trial may announce, twice.
_MAX_FILES = 20_000


@dataclass(slots=True)
class _Growing:
    """A file of which more is to come."""

    n_bytes: int = 0
    digest: Any = field(default_factory=hashlib.sha256)
    is_refused: bool = False


class GrowingFiles:
    """What is known of the files that grow; none is held open."""

    def __init__(self, layout: RunLayout) -> None:
        self._layout = layout
        #: {worker_id: {file: how much of it is there}}
        self._files: dict[int, dict[Key, _Growing]] = {}

    def receive(self, worker_id: int, key: Key, header: Mapping[str, Any], data: bytes) -> FileStored | None:
        """Append one piece; the fact when it was the last one. A piece at byte 0 begins the file anew.

        Raises:
            StoreError: once a file, for a bad path, offset, size or hash, or when the disk refuses it.
        """
        files = self._files.setdefault(worker_id, {})
        if header.get("offset") == 0 or key not in files:
            if len(files) >= _MAX_FILES:
                raise StoreError(f"{key[2][:200]!r} is refused: {len(files):,} files of worker {worker_id} grow.")
            files[key] = _Growing()
        file = files[key]
        if header.get("is_last"):
            del files[key]
        if file.is_refused:
            return None
        try:
            self._append(file, key, header, data)
            return _finished(file, key, header) if header.get("is_last") else None
        except (StoreError, OSError) as error:
            file.is_refused = True
            if isinstance(error, StoreError):
                raise
            raise StoreError(f"{key[2]}: {error.strerror or error}") from error

    def abandon(self, worker_id: int) -> None:
        """The worker sends nothing more."""
        self._files.pop(worker_id, None)

    def _append(self, file: _Growing, key: Key, header: Mapping[str, Any], data: bytes) -> None:
        if safe_parts(key[2])[0] != TENSORBOARD:
            raise StoreError(f"{key[2][:200]!r} is refused: only files below {TENSORBOARD} grow.")
        if header.get("offset") != file.n_bytes:
            raise StoreError(f"{key[2]}: a piece at byte {header.get('offset')!r} came, {file.n_bytes} was expected.")
        folder, name = open_parent(self._layout, key)
        try:
            begin = os.O_CREAT | os.O_TRUNC if file.n_bytes == 0 else 0
            flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | begin
            descriptor = os.open(name, flags, 0o644, dir_fd=folder)
        finally:
            os.close(folder)
        try:
            n_there = os.fstat(descriptor).st_size
            if n_there != file.n_bytes:
                raise StoreError(f"{key[2]}: {n_there} bytes are there, {file.n_bytes} were written.")
            write_all(descriptor, data)
        finally:
            os.close(descriptor)
        file.digest.update(data)
        file.n_bytes += len(data)


def _finished(file: _Growing, key: Key, header: Mapping[str, Any]) -> FileStored:
    sha256 = file.digest.hexdigest()
    if header.get("size_bytes") != file.n_bytes or header.get("sha256") != sha256:
        raise StoreError(
            f"{key[2]}: {file.n_bytes} bytes with SHA-256 {sha256} arrived, "
            f"{header.get('size_bytes')} bytes with {header.get('sha256')} were announced."
        )
    return FileStored(*key, size_bytes=file.n_bytes, sha256=sha256)
