"""The extension's threads: everything that reads a disk runs here, so the server's loop never waits for one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

_N_THREADS = 8
_WAITING_LIMIT = 256


class TooBusyError(Exception):
    """More is asked for than the threads can do."""


class Threads:
    """A few threads with a bounded queue; used on the server's loop only."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_N_THREADS, "lagom-server")
        self._n_waiting = 0

    def submit(self, call: Callable[..., T], *args: Any) -> Future[T]:
        """Run it on one of the threads.

        Raises:
            TooBusyError: when too much waits already.
        """
        if self._n_waiting >= _WAITING_LIMIT:
            raise TooBusyError
        loop = asyncio.get_running_loop()
        self._n_waiting += 1
        future = self._pool.submit(call, *args)
        future.add_done_callback(lambda _: self._tell(loop))
        return future

    async def run(self, call: Callable[..., T], *args: Any) -> T:
        """The result of the call, awaited.

        Raises:
            TooBusyError: when too much waits already.
        """
        return await asyncio.wrap_future(self.submit(call, *args))

    def _tell(self, loop: asyncio.AbstractEventLoop) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._done)

    def _done(self) -> None:
        self._n_waiting -= 1
