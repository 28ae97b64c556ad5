"""Sends the files of ended trials to the driver: one chunk in flight, the next when that one is stored."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from lagom_magic.rpc.codec import MAX_CHUNK_BYTES
from lagom_magic.worker.trial_folder import TrialFolder


@dataclass(frozen=True, slots=True)
class _Batch:
    trial_id: int
    attempt: int
    folder: TrialFolder
    paths: list[str]


class Uploader:
    """The files that wait; the folder of a trial is removed when the last one was sent."""

    def __init__(self, send_blob: Callable[[dict[str, Any], bytes], None], notice: Callable[[str], None]) -> None:
        self._send_blob = send_blob
        self._notice = notice
        self._batches: deque[_Batch] = deque()
        self._chunks = self._all_chunks()
        self._is_in_flight = False
        self._idle = asyncio.Event()
        self._idle.set()

    def add(self, trial_id: int, attempt: int, folder: TrialFolder, paths: list[str]) -> None:
        """Queues the files of a trial, relative to its folder."""
        self._batches.append(_Batch(trial_id, attempt, folder, paths))
        self._idle.clear()
        if not self._is_in_flight:
            self.send_next()

    def send_next(self) -> None:
        """The chunk in flight was stored."""
        chunk = next(self._chunks, None)
        self._is_in_flight = chunk is not None
        if chunk is None:
            self._chunks = self._all_chunks()
            self._idle.set()
        else:
            self._send_blob(*chunk)

    async def finished(self) -> None:
        """Returns when every chunk was stored."""
        await self._idle.wait()

    def _all_chunks(self) -> Iterator[tuple[dict[str, Any], bytes]]:
        while self._batches:
            batch = self._batches.popleft()
            for path in batch.paths:
                try:
                    yield from self._chunks_of(batch, path)
                except OSError as error:
                    self._notice(f"{path} of trial {batch.trial_id} could not be read on its worker: {error}")
            shutil.rmtree(batch.folder.path, ignore_errors=True)

    def _chunks_of(self, batch: _Batch, path: str) -> Iterator[tuple[dict[str, Any], bytes]]:
        digest = hashlib.sha256()
        offset = 0
        with open(os.path.join(batch.folder.path, path), "rb") as file:
            size_bytes = os.fstat(file.fileno()).st_size
            while True:
                data = file.read(min(MAX_CHUNK_BYTES, size_bytes - offset))
                digest.update(data)
                is_last = offset + len(data) >= size_bytes
                if not data and not is_last:
                    raise OSError("it became shorter while it was read")
                yield (
                    {
                        "type": "file",
                        "trial_id": batch.trial_id,
                        "attempt": batch.attempt,
                        "path": path,
                        "offset": offset,
                        "size_bytes": size_bytes,
                        "is_last": is_last,
                        "sha256": digest.hexdigest() if is_last else None,
                    },
                    data,
                )
                offset += len(data)
                if is_last:
                    return
