"""`lagom/view`: a page's conversation about one run, over a WebSocket."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Any

from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import ws_authenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from tornado import web, websocket

from lagom_magic.display.answers import Backing
from lagom_magic.display.conversation import Conversation
from lagom_magic.display.wire import MESSAGE_LIMIT_BYTES, Message, error_message, wire_text
from lagom_magic.run import stored_importances
from lagom_magic.server.handlers import Extension
from lagom_magic.server.places import NotAPlaceError
from lagom_magic.server.threads import TooBusyError

SOCKETS_LIMIT = 64
#: Requests of one page that are being answered.
REQUESTS_LIMIT = 16
#: And those of them that may hold a thread, so that a page that does not read holds up itself alone.
_THREADS_OF_A_PAGE = 3
#: How long a page may take to read one message.
_WRITE_TIMEOUT_S = 30.0
#: What needs the right to execute, as the kernel's own ■ does.
_STEERING = ("control", "board")


class ViewSocket(WebSocketMixin, websocket.WebSocketHandler, JupyterHandler):
    """One page that looks at one run."""

    auth_resource = "contents"
    _conversation: Conversation | None = None

    def initialize(self, extension: Extension) -> None:
        self._extension = extension
        #: The requests that are being answered.
        self._answering: set[asyncio.Task[None]] = set()
        self._turns = asyncio.Semaphore(_THREADS_OF_A_PAGE)

    @ws_authenticated
    async def get(self, *args: Any, **kwargs: Any) -> None:
        """Opens the socket, when the page may see the run."""
        if not await self._may("read", "contents"):
            raise web.HTTPError(403)
        if self._extension.n_sockets >= SOCKETS_LIMIT:
            raise web.HTTPError(503, f"{SOCKETS_LIMIT} live views are open already.")
        try:
            self._run_dir: Path = await self._extension.threads.run(
                self._extension.places.run_folder, self.get_query_argument("dir")
            )
        except NotAPlaceError as error:
            raise web.HTTPError(404, str(error)) from error
        except TooBusyError as error:
            raise web.HTTPError(503, "The server is busy with other runs; try again.") from error
        await super().get(*args, **kwargs)

    def open(self) -> None:
        """Begins the conversation."""
        super().open()
        if self._extension.n_sockets >= SOCKETS_LIMIT:  # others have come while this one's folder was looked at
            self.close(1013, "too many live views")
            return
        self._extension.n_sockets += 1
        self._loop = asyncio.get_running_loop()
        self._conversation = Conversation(
            self._run_dir, self._send, Backing(partial(stored_importances, self._run_dir))
        )
        self._conversation.start()

    async def on_message(self, message: str | bytes) -> None:
        """Begins to answer a request; the next one is read at once."""
        request = _parsed(message)
        if self._conversation is None:  # it is being closed
            return
        if request is None:
            self.close(1008, "no request")
        elif len(self._answering) >= REQUESTS_LIMIT:
            await self._refuse(request, "Too many requests at a time.")
        else:
            task = asyncio.create_task(self._answer(request))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)

    async def _answer(self, request: Message) -> None:
        assert self._conversation is not None
        try:
            if request.get("type") in _STEERING and not await self._may("execute", "kernels"):
                await self._refuse(request, "You may look at this run, not steer it.")
            else:
                async with self._turns:
                    await self._extension.threads.run(self._conversation.handle, request)
        except TooBusyError:
            await self._refuse(request, "The server is busy with other runs.")
        except (websocket.WebSocketClosedError, TimeoutError):
            self._note_gone()

    async def _refuse(self, request: Message, why: str) -> None:
        try:
            await self._write(wire_text(error_message(str(request.get("id"))[:100], why)))
        except websocket.WebSocketClosedError:
            self._note_gone()

    def _note_gone(self) -> None:
        self.log.debug("lagom: the page of %s left before its answer", self._run_dir)

    def on_close(self) -> None:
        """Ends the conversation."""
        if self._conversation is not None:
            self._extension.n_sockets -= 1
            try:  # on a thread: it waits for whoever reads the run just now
                self._extension.threads.submit(self._conversation.hang_up)
            except TooBusyError:
                self._conversation.hang_up()

    async def _may(self, action: str, resource: str) -> bool:
        allowed = self.authorizer.is_authorized(self, self.current_user, action, resource)
        return bool(await ensure_async(allowed))

    def _send(self, message: Message) -> None:
        """On other threads: writes, and waits until the page has taken it."""
        written = asyncio.run_coroutine_threadsafe(self._write(wire_text(message)), self._loop)
        try:
            written.result(_WRITE_TIMEOUT_S)
        except TimeoutError:
            written.cancel()
            self._loop.call_soon_threadsafe(self.close, 1008, "too slow")
            raise

    async def _write(self, text: str) -> None:
        await self.write_message(text)


def _parsed(message: str | bytes) -> dict[str, Any] | None:
    if len(message) > MESSAGE_LIMIT_BYTES:
        return None
    try:
        request = json.loads(message)
    except (ValueError, RecursionError):
        return None
    return request if isinstance(request, dict) else None
