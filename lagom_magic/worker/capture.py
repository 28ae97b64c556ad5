"""Carries what a trial process prints from its pipe to the driver, at the speed that the driver takes it.

When the channel is congested the pipe is not read: the print blocks, and no memory grows.
"""

from __future__ import annotations

import array
import asyncio
import fcntl
import os
import termios
from typing import Protocol

from lagom_magic.rpc.codec import MAX_CHUNK_BYTES

_READ_BYTES = 1 << 18
#: A pipe this full is read on at once; else lines are let gather for a moment.
_BUSY_BYTES = 1 << 16
_GATHER_S = 0.02


class Sink(Protocol):
    """What the pump needs of the channel."""

    @property
    def is_congested(self) -> bool: ...

    async def drained(self) -> None: ...

    def send_blob(self, header: dict[str, object], data: bytes) -> None: ...


class OutputPump:
    """Reads the pipe and labels the bytes with the trial that runs; owned by the supervisor's loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, read_fd: int, sink: Sink) -> None:
        self._loop = loop
        self._fd = read_fd
        self._sink = sink
        self._resuming: asyncio.Task[None] | None = None
        #: (trial_id, attempt) whose output the pipe holds; None between trials.
        self.trial: tuple[int, int] | None = None

    def start(self) -> None:
        """Begins to read."""
        self._loop.add_reader(self._fd, self._gather)

    def drain(self) -> None:
        """Sends all that is in the pipe now, congested or not: at most what a pipe holds."""
        n_bytes = self._n_waiting()
        while n_bytes > 0:
            data = self._read(min(n_bytes, _READ_BYTES))
            if not data:
                return
            n_bytes -= len(data)

    def send(self, data: bytes, *, console: bool) -> None:
        """Sends bytes as the trial's output; with `console=False` they go to its output.log only."""
        trial_id, attempt = self.trial or (None, 1)
        header: dict[str, object] = {"type": "output", "trial_id": trial_id, "attempt": attempt}
        if not console:
            header["console"] = False
        for start in range(0, len(data), MAX_CHUNK_BYTES):
            self._sink.send_blob(header, data[start : start + MAX_CHUNK_BYTES])

    def close(self) -> None:
        """Stops reading."""
        self._loop.remove_reader(self._fd)
        if self._resuming is not None:
            self._resuming.cancel()

    def _gather(self) -> None:
        self._loop.remove_reader(self._fd)
        self._loop.call_later(_GATHER_S, self._pump)

    def _pump(self) -> None:
        if self._sink.is_congested:
            self._resuming = self._loop.create_task(self._resume(), name="lagom-output")
        elif len(self._read(_READ_BYTES)) >= _BUSY_BYTES:
            self._loop.call_soon(self._pump)
        else:
            self._loop.add_reader(self._fd, self._gather)

    async def _resume(self) -> None:
        await self._sink.drained()
        self._pump()

    def _read(self, n_bytes: int) -> bytes:
        try:
            data = os.read(self._fd, n_bytes)
        except BlockingIOError:
            return b""
        if data:
            self.send(data, console=True)
        return data

    def _n_waiting(self) -> int:
        n_bytes = array.array("i", [0])
        fcntl.ioctl(self._fd, termios.FIONREAD, n_bytes)
        return n_bytes[0]
