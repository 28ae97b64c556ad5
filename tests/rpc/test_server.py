"""The channel over real sockets: workers get in, strangers do not, and cost nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from lagom_magic.rpc import server as server_module
from lagom_magic.rpc.client import Channel, dial
from lagom_magic.rpc.codec import MAX_CHUNK_BYTES, encode_token
from lagom_magic.rpc.server import Connection, Server
from lagom_magic.rpc.tls import make_certificate

CERTIFICATE, PRIVATE_KEY = make_certificate()
TOKEN = b"0123456789abcdef0123456789abcdef"


class Recorder:
    """Both handlers at once; a future resolves when something of a kind has come."""

    def __init__(self) -> None:
        self.seen: dict[str, list[Any]] = {"messages": [], "blob": [], "closed": [], "message": []}
        self._changed = asyncio.Event()

    def _note(self, kind: str, value: Any) -> None:
        self.seen[kind].append(value)
        self._changed.set()

    async def wait_for(self, kind: str, count: int = 1) -> list[Any]:
        async with asyncio.timeout(15):
            while len(self.seen[kind]) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.seen[kind]

    def on_messages(self, connection: Connection, messages: list[dict[str, Any]]) -> None:
        for message in messages:
            self._note("messages", (connection, message))

    def on_blob(self, connection: Connection, header: dict[str, Any], data: bytes) -> None:
        self._note("blob", (header, data))

    def on_closed(self, *arguments: Any) -> None:
        self._note("closed", arguments[-1])

    def on_message(self, message: dict[str, Any]) -> None:
        self._note("message", message)


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[tuple[Recorder, int]]:
    recorder = Recorder()
    server = Server(recorder, TOKEN, CERTIFICATE, PRIVATE_KEY)
    port = server.listen("127.0.0.1")
    try:
        yield recorder, port
    finally:
        await server.close()
        await asyncio.sleep(0)


async def join(port: int, token: bytes = TOKEN) -> tuple[Channel, Recorder]:
    recorder = Recorder()
    return await dial("127.0.0.1", port, CERTIFICATE, token, recorder, 5.0), recorder


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


def test_messages_and_blobs_arrive_in_order_and_answers_come_back() -> None:
    async def main() -> None:
        async with serving() as (driver, port):
            channel, worker = await join(port)
            channel.send({"type": "a"}, at_once=False)
            channel.send({"type": "b"})
            channel.send_blob({"type": "file"}, b"x" * MAX_CHUNK_BYTES)
            await driver.wait_for("blob")
            seen = await driver.wait_for("messages", 2)
            assert [message["type"] for _, message in seen] == ["a", "b"]
            seen[0][0].send({"type": "welcome"})
            assert await worker.wait_for("message") == [{"type": "welcome"}]
            await channel.close()
            await driver.wait_for("closed")

    run(main)


def test_messages_that_are_not_urgent_leave_within_the_batch_interval() -> None:
    async def main() -> None:
        async with serving() as (driver, port):
            channel, _ = await join(port)
            for step in range(100):
                channel.send({"step": step}, at_once=False)
            assert [message["step"] for _, message in await driver.wait_for("messages", 100)] == list(range(100))
            await channel.close()

    run(main)


def test_congestion_shows_and_ends_when_the_driver_reads_again() -> None:
    async def main() -> None:
        async with serving() as (driver, port):
            channel, _ = await join(port)
            channel.send({"type": "hello"})
            connection = (await driver.wait_for("messages"))[0][0]
            connection.pause_reading()
            for _ in range(16):
                channel.send_blob({"type": "output"}, bytes(MAX_CHUNK_BYTES))
            assert channel.is_congested
            connection.resume_reading()
            async with asyncio.timeout(10):
                await channel.drained()
            await driver.wait_for("blob", 16)
            await channel.close()

    run(main)


def test_a_wrong_token_is_closed_at_once_and_reaches_nobody() -> None:
    async def main() -> None:
        async with serving() as (driver, port):
            begin = time.monotonic()
            channel, stranger = await join(port, b"x" * 32)
            channel.send({"type": "hello"})
            await stranger.wait_for("closed")
            assert time.monotonic() - begin < 1.0
            assert driver.seen["messages"] == []

    run(main)


def test_a_worker_refuses_a_driver_with_another_certificate() -> None:
    async def main() -> None:
        async with serving() as (_, port):
            other, _ = make_certificate()
            with pytest.raises(ssl.SSLError):
                await dial("127.0.0.1", port, other, TOKEN, Recorder(), 5.0)

    run(main)


def _tls_socket(port: int) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=5))


def _closed_within(sock: socket.socket, data: bytes, limit_s: float) -> bool:
    with sock:
        begin = time.monotonic()
        sock.settimeout(limit_s)
        try:
            sock.sendall(data)
            while sock.recv(4096):
                pass
        except TimeoutError:
            return False
        except OSError:
            pass
        return time.monotonic() - begin < limit_s


GARBAGE = {
    "plain http": (False, b"GET / HTTP/1.1\r\n\r\n"),
    "plain random bytes": (False, os.urandom(512)),
    "plain token frame": (False, encode_token(TOKEN)),
    "tls random bytes": (True, b"\x00" + os.urandom(512)),
    "tls giant length": (True, b"T" + struct.pack("!I", 0xFFFFFFFF)),
    "tls messages before the token": (True, b"J" + struct.pack("!I", 2) + b"[]"),
    "tls token and then a giant frame": (True, encode_token(TOKEN) + b"J" + struct.pack("!I", 0xFFFFFFFF)),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_closed_within_a_second(name: str) -> None:
    is_tls, data = GARBAGE[name]

    async def main() -> None:
        async with serving() as (_, port):
            sock = await asyncio.to_thread(_tls_socket if is_tls else _plain_socket, port)
            assert await asyncio.to_thread(_closed_within, sock, data, 1.0)

    run(main)


def _plain_socket(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=5)


def test_silence_is_closed_after_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "AUTHENTICATION_TIMEOUT_S", 0.3)

    async def main() -> None:
        async with serving() as (_, port):
            for connect in (_plain_socket, _tls_socket):
                sock = await asyncio.to_thread(connect, port)
                assert await asyncio.to_thread(_closed_within, sock, b"", 1.3)

    run(main)


def test_a_thousand_silent_connections_leave_a_worker_unharmed() -> None:
    async def main() -> None:
        async with serving() as (driver, port):
            channel, _ = await join(port)
            silent = []
            for _ in range(1000):
                sock = socket.socket()
                sock.setblocking(False)
                await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
                silent.append(sock)
            channel.send({"type": "still here"})
            await driver.wait_for("messages")
            greeting = [task for task in asyncio.all_tasks() if task.get_name() == "lagom-greet"]
            assert len(greeting) <= server_module.MAX_UNAUTHENTICATED
            for sock in silent:
                sock.close()
            await channel.close()

    run(main)
