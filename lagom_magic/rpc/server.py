"""The driver's end of the channel: accepts workers that know the token, and nobody else.

Runs in the driver's asyncio loop. A stranger costs one socket for at most ten seconds, and at most 64 of
them are held at a time; none of what they send is parsed.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import socket
from typing import Any, Protocol, cast

from lagom_magic.rpc.codec import (
    BlobFrame,
    Decoder,
    Message,
    MessagesFrame,
    ProtocolError,
    TokenFrame,
    encode_blob,
    encode_messages,
)
from lagom_magic.rpc.tls import server_context

MAX_UNAUTHENTICATED = 64
AUTHENTICATION_TIMEOUT_S = 10.0
_ACCEPT_RETRY_S = 1.0
_CLOSE_TIMEOUT_S = 0.2

logger = logging.getLogger("lagom_magic.rpc")


class ServerHandler(Protocol):
    """Whoever owns the server."""

    def on_messages(self, connection: Connection, messages: list[dict[str, Any]]) -> None:
        """Messages of an authenticated worker, in order."""

    def on_blob(self, connection: Connection, header: dict[str, Any], data: bytes) -> None:
        """Raw bytes of an authenticated worker."""

    def on_closed(self, connection: Connection, reason: str) -> None:
        """An authenticated worker's connection is gone; called once."""


class Connection(asyncio.Protocol):
    """One accepted connection; strangers are dropped here and never reach the handler."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._decoder = Decoder(authenticated=False)
        self._transport: asyncio.Transport | None = None
        self._close_reason = ""
        loop = asyncio.get_running_loop()
        #: Done once the token was shown or the connection is gone.
        self.greeted: asyncio.Future[None] = loop.create_future()
        #: Done once the connection is gone.
        self.gone: asyncio.Future[None] = loop.create_future()
        #: Set by the handler once the worker has said who it is.
        self.worker: Any = None

    @property
    def is_authenticated(self) -> bool:
        return self._decoder.authenticated

    def send(self, message: Message) -> None:
        """Sends one message at once; on a closed connection it is dropped."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(encode_messages([message]))

    def send_blob(self, header: Message, data: bytes) -> None:
        """Sends at most 1 MiB of raw bytes; on a closed connection they are dropped."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(encode_blob(header, data))

    def pause_reading(self) -> None:
        """Lets the worker wait until `resume_reading`: the store cannot keep up."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Undoes `pause_reading`."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self, reason: str = "") -> None:
        """Closes after what was sent has left."""
        self._close_reason = self._close_reason or reason
        if self._transport is not None:
            self._transport.close()

    def abort(self, reason: str) -> None:
        """Closes now."""
        self._close_reason = self._close_reason or reason
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            frames = self._decoder.feed(data)
            if frames and isinstance(frames[0], TokenFrame):
                self._authenticate(frames[0])
                frames = self._decoder.feed(b"")
            for frame in frames:
                if isinstance(frame, MessagesFrame):
                    self._server.handler.on_messages(self, frame.messages)
                elif isinstance(frame, BlobFrame):
                    self._server.handler.on_blob(self, frame.header, frame.data)
        except ProtocolError as error:
            self.abort(str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        reason = self._close_reason or (str(exc) if exc else "the connection was closed")
        self._server.forget(self)
        self.gone.set_result(None)
        if not self.greeted.done():
            self.greeted.set_result(None)
        if self.is_authenticated:
            self._server.handler.on_closed(self, reason)
        else:
            logger.info("a connection ended before it showed the token: %s", reason)

    def _authenticate(self, frame: TokenFrame) -> None:
        if not hmac.compare_digest(frame.token, self._server.token):
            raise ProtocolError("wrong token")
        self._decoder.authenticated = True
        self._server.admit(self)
        self.greeted.set_result(None)


class Server:
    """Listens for the workers of one run."""

    def __init__(self, handler: ServerHandler, token: bytes, certificate: str, private_key: str) -> None:
        self.handler = handler
        self.token = token
        self._tls = server_context(certificate, private_key)
        self._listener: socket.socket | None = None
        self._pausing: asyncio.TimerHandle | None = None
        #: Those that have not shown the token yet, at most MAX_UNAUTHENTICATED.
        self._greeting: dict[asyncio.Task[None], socket.socket] = {}
        self._connections: set[Connection] = set()

    def listen(self, address: str) -> int:
        """Binds a free port of `address` and begins to accept; returns the port."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.create_server((address, 0), family=family, backlog=256)
        self._listener.setblocking(False)
        asyncio.get_running_loop().add_reader(self._listener, self._accept, self._listener)
        return int(self._listener.getsockname()[1])

    def admit(self, connection: Connection) -> None:
        """A connection has shown the token."""
        self._connections.add(connection)

    def forget(self, connection: Connection) -> None:
        """A connection is gone."""
        self._connections.discard(connection)

    async def close(self) -> None:
        """Stops accepting and closes every connection."""
        if self._pausing is not None:
            self._pausing.cancel()
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
        greeting = dict(self._greeting)
        for sock in greeting.values():  # ends the handshake from below: asyncio leaks one that is cancelled early
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        if greeting:
            await asyncio.wait(greeting, timeout=_CLOSE_TIMEOUT_S)
        connections = list(self._connections)
        for connection in connections:
            connection.close()
        if connections:
            await asyncio.wait([connection.gone for connection in connections], timeout=_CLOSE_TIMEOUT_S)
        for connection in list(self._connections):  # a peer that does not answer TLS's goodbye
            connection.abort("the driver has ended")
            await connection.gone

    def _accept(self, listener: socket.socket) -> None:
        """Takes the connections that wait. A callback: a task that is cancelled may lose one that it just took."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                sock, _ = listener.accept()
                if len(self._greeting) >= MAX_UNAUTHENTICATED:
                    sock.close()
                    continue
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                task = loop.create_task(self._greet(sock), name="lagom-greet")
                self._greeting[task] = sock
                task.add_done_callback(self._greeting.pop)
        except BlockingIOError:
            return
        except ConnectionAbortedError:
            return  # it has gone while it waited
        except OSError as error:  # out of file descriptors: the workers that are there go on
            logger.warning("cannot accept a connection: %s", error)
            loop.remove_reader(listener)
            self._pausing = loop.call_later(_ACCEPT_RETRY_S, loop.add_reader, listener, self._accept, listener)

    async def _greet(self, sock: socket.socket) -> None:
        """Handshake and token, both within the time limit."""
        connection = Connection(self)
        try:
            async with asyncio.timeout(AUTHENTICATION_TIMEOUT_S):
                await asyncio.get_running_loop().connect_accepted_socket(
                    lambda: connection, sock, ssl=self._tls, ssl_shutdown_timeout=_CLOSE_TIMEOUT_S
                )
                await connection.greeted
        except TimeoutError:
            connection.abort("no token in time")
        except OSError as error:
            logger.info("a connection was refused: %s", error)
        except asyncio.CancelledError:
            connection.abort("closed")
            raise
