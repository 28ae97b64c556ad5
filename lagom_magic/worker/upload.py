"""Sends files to the driver: one chunk in flight, the next when that one is stored.

The files of an ended trial go whole; event files of the running one go in pieces as they grow, and before the others.
"""

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
from lagom_magic.worker.event_files import EventFiles, Piece, is_event_file
from lagom_magic.worker.trial_folder import TrialFolder

#: Seconds between two looks at a running trial's event files; more when a look takes long.
_LOOK_S = 1.0
_LOOK_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class _Batch:
    trial_id: int
    attempt: int
    folder: TrialFolder
    paths: list[str]
    events: EventFiles
    #: False for files of a trial that still runs.
    is_last: bool = True


class Uploader:
    """The files that wait; the folder of a trial is removed when the last one was sent."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        send_blob: Callable[[dict[str, Any], bytes], None],
        notice: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._send_blob = send_blob
        self._notice = notice
        self._batches: deque[_Batch] = deque()
        self._chunks = self._all_chunks()
        self._is_in_flight = False
        self._idle = asyncio.Event()
        self._idle.set()
        #: Of the running trial, if it has asked for its logdir.
        self._growing: EventFiles | None = None
        self._next_look: asyncio.TimerHandle | None = None

    @property
    def is_following(self) -> bool:
        """Whether a running trial's event files are sent while they grow."""
        return self._growing is not None

    def follow(self, trial_id: int, attempt: int, folder: TrialFolder) -> None:
        """Sends the event files of the running trial as they grow, until `add` takes them over."""
        self._growing = EventFiles(trial_id, attempt, folder)
        self._next_look = self._loop.call_later(_LOOK_S, self._look)

    def add(self, trial_id: int, attempt: int, folder: TrialFolder, paths: list[str]) -> None:
        """Queues the files of a trial that has ended, relative to its folder."""
        events = self._growing or EventFiles(trial_id, attempt, folder)
        self.close()
        self._batches.append(_Batch(trial_id, attempt, folder, paths, events))
        self._idle.clear()
        if not self._is_in_flight:
            self.send_next()

    def add_early(self, trial_id: int, attempt: int, folder: TrialFolder, path: str) -> None:
        """Queues one file of the running trial, which does not change any more."""
        self._batches.append(_Batch(trial_id, attempt, folder, [path], EventFiles(trial_id, attempt, folder), False))
        self._idle.clear()
        if not self._is_in_flight:
            self.send_next()

    def send_next(self) -> None:
        """The chunk in flight was stored."""
        chunk = self._next_growth() or next(self._chunks, None)
        self._is_in_flight = chunk is not None
        if chunk is None:
            self._chunks = self._all_chunks()
            self._idle.set()
        else:
            self._idle.clear()
            self._send_blob(*chunk)

    async def finished(self) -> None:
        """Returns when every chunk was stored."""
        await self._idle.wait()

    def close(self) -> None:
        """Follows no trial any more; what was queued is still sent."""
        self._growing = None
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None

    def _look(self) -> None:
        assert self._growing is not None
        begun = self._loop.time()
        try:
            self._growing.look()
        except OSError as error:
            self._notice_growth(error)
            return
        delay_s = max(_LOOK_S, (self._loop.time() - begun) / _LOOK_SHARE)
        self._next_look = self._loop.call_later(delay_s, self._look)
        if not self._is_in_flight:
            self.send_next()

    def _next_growth(self) -> Piece | None:
        try:
            return self._growing.next_piece() if self._growing is not None else None
        except OSError as error:
            self._notice_growth(error)
            return None

    def _notice_growth(self, error: OSError) -> None:
        """Tells of it and looks no more; the files are tried again when the trial has ended."""
        assert self._growing is not None
        self._notice(f"event files of trial {self._growing.trial_id} are not sent while it runs: {error}")
        if self._next_look is not None:
            self._next_look.cancel()

    def _all_chunks(self) -> Iterator[Piece]:
        while self._batches:
            batch = self._batches.popleft()
            for path in batch.paths:
                try:
                    yield from self._chunks_of(batch, path)
                except OSError as error:
                    if isinstance(error, FileNotFoundError) and not batch.is_last:
                        continue  # a newer checkpoint has taken its place while it waited
                    self._notice(f"{path} of trial {batch.trial_id} could not be read on its worker: {error}")
            if batch.is_last:
                yield from batch.events.ends_of_removed()
                shutil.rmtree(batch.folder.path, ignore_errors=True)

    def _chunks_of(self, batch: _Batch, path: str) -> Iterator[Piece]:
        if path.startswith("tensorboard/") and is_event_file(path):
            return batch.events.rest_of(path)
        return self._whole(batch, path)

    def _whole(self, batch: _Batch, path: str) -> Iterator[Piece]:
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
