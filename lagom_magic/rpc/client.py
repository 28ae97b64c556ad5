"""A worker's end of the channel: dials the driver, proves itself, then sends and receives.

Runs in the supervisor's asyncio loop, with the standard library alone.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol, cast

from lagom_magic.rpc.codec import (
    BlobFrame,
    Decoder,
    Message,
    MessagesFrame,
    ProtocolError,
    encode_blob,
    encode_messages,
    encode_token,
)
from lagom_magic.rpc.tls import client_context

#: Messages that are not urgent leave together, at most this much later.
BATCH_INTERVAL_S = 0.05
_HIGH_WATER_BYTES = 1 << 18
_SHUTDOWN_TIMEOUT_S = 1.0


class ChannelHandler(Protocol):
    """Whoever owns the channel."""

    def on_message(self, message: dict[str, Any]) -> None:
        """One message of the driver."""

    def on_blob(self, header: dict[str, Any], data: bytes) -> None:
        """Raw bytes of the driver."""

    def on_closed(self, reason: str) -> None:
        """The connection is gone; called once, nothing comes after."""


class Channel(asyncio.Protocol):
    """An authenticated connection to the driver; used from its event loop only."""

    def __init__(self, handler: ChannelHandler, token: bytes) -> None:
        self._handler = handler
        self._token = token
        self._decoder = Decoder(authenticated=True)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._waiting: list[Message] = []
        self._flush_later: asyncio.TimerHandle | None = None
        self._uncongested = asyncio.Event()
        self._uncongested.set()
        self._closed = asyncio.Event()
        self._close_reason = ""

    @property
    def is_congested(self) -> bool:
        """Whether more waits to be sent than should; do not add blobs now."""
        return not self._uncongested.is_set()

    @property
    def own_address(self) -> str:
        """The address of this machine from which the driver is reached."""
        assert self._transport is not None
        return str(self._transport.get_extra_info("sockname")[0])

    async def drained(self) -> None:
        """Returns when the channel is no longer congested, or closed."""
        await self._uncongested.wait()

    def send(self, message: Message, *, at_once: bool = True) -> None:
        """Sends one message; with `at_once=False` together with others, within 50 ms. Order is kept."""
        self._waiting.append(message)
        if at_once:
            self._flush()
        elif self._flush_later is None:
            self._flush_later = self._loop.call_later(BATCH_INTERVAL_S, self._flush)

    def send_blob(self, header: Message, data: bytes) -> None:
        """Sends at most 1 MiB of raw bytes, after every message sent so far."""
        self._flush()
        self._write(encode_blob(header, data))

    async def close(self) -> None:
        """Sends what waits, then closes."""
        self._flush()
        if self._transport is not None:
            self._transport.close()
            await self._closed.wait()

    def _flush(self) -> None:
        if self._flush_later is not None:
            self._flush_later.cancel()
            self._flush_later = None
        if self._waiting:
            messages, self._waiting = self._waiting, []
            self._write(encode_messages(messages))

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_HIGH_WATER_BYTES)
        self._transport.write(encode_token(self._token))

    def data_received(self, data: bytes) -> None:
        try:
            frames = self._decoder.feed(data)
        except ProtocolError as error:
            self._close_reason = str(error)
            if self._transport is not None:
                self._transport.abort()
            return
        for frame in frames:
            if isinstance(frame, MessagesFrame):
                for message in frame.messages:
                    self._handler.on_message(message)
            elif isinstance(frame, BlobFrame):
                self._handler.on_blob(frame.header, frame.data)

    def pause_writing(self) -> None:
        self._uncongested.clear()

    def resume_writing(self) -> None:
        self._uncongested.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._uncongested.set()
        self._closed.set()
        self._handler.on_closed(self._close_reason or (str(exc) if exc else "the driver closed the connection"))


async def dial(
    host: str, port: int, certificate_pem: str, token: bytes, handler: ChannelHandler, timeout_s: float
) -> Channel:
    """Connects to the driver and sends the token.

    Args:
        host: where the driver listens.
        port: its TCP port.
        certificate_pem: the only certificate to trust.
        token: the run's 32 bytes.
        handler: told of messages and of the end.
        timeout_s: for connection and handshake together.

    Raises:
        OSError: when it cannot be reached in time, or is not the one (`ssl.SSLError` is an OSError).
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(timeout_s):
        _, channel = await loop.create_connection(
            lambda: Channel(handler, token),
            host,
            port,
            ssl=client_context(certificate_pem),
            server_hostname="lagom",
            ssl_shutdown_timeout=_SHUTDOWN_TIMEOUT_S,
        )
    return channel
