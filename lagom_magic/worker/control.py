"""The trial process's end of the socket to its supervisor: JSON messages, one a line, both ways.

Sending never blocks, so that `reporter.broadcast` never does: what the socket does not take at once waits here.
"""

from __future__ import annotations

import json
import socket
from collections import deque
from threading import Lock
from typing import Any

_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


class Control:
    """Owns the socket. Senders may be any thread of the process; only one thread receives at a time."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._socket.settimeout(None)
        self._received = b""
        self._unsent: deque[bytes] = deque()
        self._lock = Lock()

    @property
    def is_sending(self) -> bool:
        """Whether a message is half written just now; a signal handler must not raise then."""
        return self._lock.locked()

    def send(self, message: dict[str, Any]) -> None:
        """Sends as much as the socket takes now; the rest goes with the next call or `flush`."""
        data = _encode(message).encode() + b"\n"
        with self._lock:
            self._unsent.append(data)
            self._send_unsent(socket.MSG_DONTWAIT)

    def flush(self) -> None:
        """Blocks until everything is sent."""
        with self._lock:
            self._send_unsent(0)

    def _send_unsent(self, flags: int) -> None:
        while self._unsent:
            data = self._unsent[0]
            try:
                n_sent = self._socket.send(data, flags)
            except BlockingIOError:
                return
            if n_sent < len(data):
                self._unsent[0] = data[n_sent:]
            else:
                self._unsent.popleft()

    def receive(self) -> dict[str, Any] | None:
        """The next message, waiting for it; None when the supervisor is gone."""
        while b"\n" not in self._received:
            data = self._socket.recv(1 << 16)
            if not data:
                return None
            self._received += data
        return self._next()

    def poll(self) -> dict[str, Any] | None:
        """The next message if one is there."""
        if b"\n" not in self._received:
            try:
                self._received += self._socket.recv(1 << 16, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return None
        return self._next() if b"\n" in self._received else None

    def _next(self) -> dict[str, Any]:
        line, self._received = self._received.split(b"\n", 1)
        message: dict[str, Any] = json.loads(line)
        return message
