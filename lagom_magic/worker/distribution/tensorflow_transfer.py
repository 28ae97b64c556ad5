"""What one rank of TensorFlow's sends to and receives from another in one exchange, as far as it goes at once."""

from __future__ import annotations

import select
import socket
import struct

#: Before the bytes of each exchange: how many exchanges came before, what this one is for, bytes that follow.
HEADER = struct.Struct("!QBQ")


class Transfer:
    """What goes to and comes from one peer in one exchange."""

    def __init__(
        self, rank: int, peer: socket.socket, outgoing: memoryview | None, incoming: memoryview | None
    ) -> None:
        self.rank = rank
        self.peer = peer
        self.n_bytes_expected = incoming.nbytes if incoming is not None else 0
        self._header = bytearray(HEADER.size)
        self.outgoing = [] if outgoing is None else [_as_bytes(outgoing)]
        self._incoming = [] if incoming is None else [memoryview(self._header), _as_bytes(incoming)]

    def begin(self, header: bytes) -> None:
        if self.outgoing:
            self.outgoing.insert(0, memoryview(header))

    @property
    def events(self) -> int:
        """What to wait for; 0 when all is done."""
        return (select.POLLOUT if self.outgoing else 0) | (select.POLLIN if self._incoming else 0)

    def go_on(self, events: int) -> tuple[int, int, int] | None:
        """Sends and receives what goes without waiting; the peer's header when it has just become complete."""
        header = None
        if self._incoming and events & ~select.POLLOUT:
            header = self._receive()
        if self.outgoing and events & ~select.POLLIN:
            self._send()
        return header

    def _send(self) -> None:
        n_sent = self.peer.sendmsg(self.outgoing)
        while self.outgoing and n_sent >= self.outgoing[0].nbytes:
            n_sent -= self.outgoing.pop(0).nbytes
        if self.outgoing:
            self.outgoing[0] = self.outgoing[0][n_sent:]

    def _receive(self) -> tuple[int, int, int] | None:
        n_read = self.peer.recv_into(self._incoming[0])
        if n_read == 0:
            raise ConnectionResetError("its connection was closed")
        self._incoming[0] = self._incoming[0][n_read:]
        if self._incoming[0].nbytes:
            return None
        del self._incoming[0]
        if not self._incoming:
            return None
        if not self._incoming[0].nbytes:
            self._incoming.clear()
        count, purpose, n_bytes = HEADER.unpack(self._header)
        return count, purpose, n_bytes


def _as_bytes(data: memoryview) -> memoryview:
    return data.cast("B") if data.nbytes else memoryview(b"")  # an empty one cannot be cast
