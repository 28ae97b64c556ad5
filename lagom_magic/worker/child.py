"""The supervisor's handle on one trial process: its control socket, its pid and how to end it."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import Callable
from typing import Any

from lagom_magic.worker.processes import kill_tree, send_signal

Message = dict[str, Any]
#: Called with the process, its message, and whether more of its messages follow at once.
OnMessage = Callable[["Child", Message, bool], None]
_encode = json.JSONEncoder(separators=(",", ":")).encode


class Child:
    """A trial process. A fork has no pid until the template has told it; signals wait for that."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        on_message: OnMessage,
        pid: int | None,
    ) -> None:
        self._loop = loop
        self._socket = sock
        self._on_message = on_message
        self._pid = pid
        self._received = b""
        self._unsent = b""
        self._is_waiting_to_write = False
        self._has_exited = False
        self._waiting_signals: list[int] = []
        sock.setblocking(False)
        loop.add_reader(sock, self._on_readable)

    @property
    def pid(self) -> int | None:
        return self._pid

    def is_forked_as(self, pid: int) -> None:
        """The template has forked it."""
        self._pid = pid
        for number in self._waiting_signals:
            self.signal(number)

    def send(self, message: Message) -> None:
        """Sends one message, as soon as the process takes it."""
        data = _encode(message).encode() + b"\n"
        if self._unsent:
            self._unsent += data
            return
        self._unsent = data
        self._on_writable()

    def signal(self, number: int) -> None:
        """Signals the process; SIGKILL takes everything below it along."""
        if self._has_exited:
            return
        if self._pid is None:
            self._waiting_signals.append(number)
        elif number == signal.SIGKILL:
            kill_tree(self._pid)
        else:
            send_signal(self._pid, number)

    def exited(self) -> None:
        """It was reaped: takes what it said before, and signals its pid no more."""
        self._has_exited = True
        while self._socket.fileno() >= 0 and self._on_readable():
            pass
        self.close()

    def close(self) -> None:
        """Forgets the process, which ends if it waits for a command."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket.close()

    def _on_readable(self) -> bool:
        try:
            data = self._socket.recv(1 << 16)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            data = b""
        if not data:  # it has ended, or the user's code has closed what it does not know
            self.close()
            self.signal(signal.SIGKILL)
            return False
        *lines, self._received = (self._received + data).split(b"\n")
        for n_more, line in zip(range(len(lines) - 1, -1, -1), lines, strict=True):
            self._on_message(self, json.loads(line), n_more > 0)
        return True

    def _on_writable(self) -> None:
        try:
            n_sent = self._socket.send(self._unsent)
        except BlockingIOError:
            n_sent = 0
        except OSError:  # its end is reported by its parent
            self._unsent = b""
            return
        self._unsent = self._unsent[n_sent:]
        if self._unsent:
            self._loop.add_writer(self._socket, self._on_writable)
            self._is_waiting_to_write = True
        elif self._is_waiting_to_write:
            self._loop.remove_writer(self._socket)
            self._is_waiting_to_write = False
