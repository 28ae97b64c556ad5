"""Files that workers send, chunk by chunk, into their trial's folder.

A worker is trusted no further than its trial's folder: a path that leads out of it, by name or by a link that
lies there, is refused. A file appears when it is whole and its hash is right.
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
from lagom_magic.store.layout import RunLayout, write_all

#: The folders below a trial's that files may arrive in.
ROOTS = ("artifacts", "files")


def safe_parts(path: str) -> tuple[str, ...]:
    """The parts of a file's path below its trial's folder.

    Raises:
        StoreError: when it is not `artifacts/…` or `files/…`, or could lead elsewhere or collide with our own names.
    """
    parts = tuple(path.split("/"))
    is_safe = (
        len(parts) >= 2
        and parts[0] in ROOTS
        and all(part not in ("", ".", "..") and len(os.fsencode(part)) <= 240 for part in parts)
        and len(parts) <= 64
        and "\0" not in path
        and "\\" not in path
    )
    if not is_safe:
        raise StoreError(
            f"The path {path[:200]!r} is refused: a trial's file lies below {' or '.join(ROOTS)} of its own folder."
        )
    return parts


@dataclass(slots=True)
class _Transfer:
    """A file of which chunks are still to come."""

    key: tuple[int, int, str]
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
    """Takes the chunks of all workers, at most one file of each at a time."""

    def __init__(self, layout: RunLayout) -> None:
        self._layout = layout
        self._transfers: dict[int, _Transfer] = {}
        #: {worker_id: the file that was refused and whose remaining chunks are ignored}
        self._refused: dict[int, tuple[int, int, str]] = {}
        #: {(trial_id, attempt): worker_id}; kept for good, because files may come after the trial's end.
        self._started: dict[tuple[int, int], int] = {}

    def start(self, worker_id: int, trial_id: int, attempt: int) -> None:
        """From now on the worker may send files of this attempt."""
        self._started[trial_id, attempt] = worker_id

    def receive(self, worker_id: int, header: Mapping[str, Any], data: bytes) -> FileStored | None:
        """Take one chunk; the fact when it was the last one.

        Raises:
            StoreError: once a file, for a bad path, offset, size or hash, for an attempt that was not started on
                this worker, or when the disk refuses it.
        """
        key = _key_of(header)
        if header.get("offset") != 0 and self._refused.get(worker_id) == key:
            return None
        try:
            return self._receive(worker_id, key, header, data)
        except (StoreError, OSError) as error:
            self._refused[worker_id] = key
            self.abandon(worker_id)
            if isinstance(error, StoreError):
                raise
            raise StoreError(f"{key[2]}: {error.strerror or error}") from error

    def _receive(
        self, worker_id: int, key: tuple[int, int, str], header: Mapping[str, Any], data: bytes
    ) -> FileStored | None:
        transfer = self._transfers.get(worker_id)
        if header.get("offset") == 0:
            self.abandon(worker_id)
            transfer = self._transfers[worker_id] = self._begin(worker_id, key)
        if transfer is None or transfer.key != key or header.get("offset") != transfer.n_bytes:
            expected = transfer.n_bytes if transfer is not None and transfer.key == key else 0
            raise StoreError(f"{key[2]}: a chunk at byte {header.get('offset')!r} came, byte {expected} was expected.")
        write_all(transfer.descriptor, data)
        transfer.digest.update(data)
        transfer.n_bytes += len(data)
        return self._finish(worker_id, transfer, header) if header.get("is_last") else None

    def _begin(self, worker_id: int, key: tuple[int, int, str]) -> _Transfer:
        trial_id, attempt, path = key
        if self._started.get((trial_id, attempt)) != worker_id:
            raise StoreError(
                f"{path[:200]!r} is refused: trial {trial_id}, attempt {attempt} was not started on worker {worker_id}."
            )
        *folders, name = safe_parts(path)
        trial_dir = self._layout.trial_dir(trial_id, attempt)
        trial_dir.mkdir(exist_ok=True)
        folder = _open_folder(str(trial_dir), folders)
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
        """Forget the file that the worker was sending: it is lost, or begins anew."""
        transfer = self._transfers.pop(worker_id, None)
        if transfer is not None:
            transfer.discard()

    def close(self) -> None:
        for worker_id in list(self._transfers):
            self.abandon(worker_id)


def _key_of(header: Mapping[str, Any]) -> tuple[int, int, str]:
    trial_id, attempt, path = header.get("trial_id"), header.get("attempt"), header.get("path")
    is_right = type(trial_id) is int and trial_id >= 0 and type(attempt) is int and attempt >= 1 and type(path) is str
    if not is_right:
        raise StoreError(f"A file chunk names trial {trial_id!r}, attempt {attempt!r}, path {path!r}.")
    return trial_id, attempt, path  # type: ignore[return-value]


def _open_folder(root: str, folders: list[str]) -> int:
    """Descriptor of a folder below `root`, made when missing; never through a link."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    folder = os.open(root, flags)
    for name in folders:
        above = folder
        try:
            with suppress(FileExistsError):  # a folder, or what os.open refuses
                os.mkdir(name, 0o755, dir_fd=above)
            folder = os.open(name, flags, dir_fd=above)
        finally:
            os.close(above)
    return folder
