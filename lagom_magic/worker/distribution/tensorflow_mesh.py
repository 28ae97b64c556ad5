"""Connections from each rank to each other, over which TensorFlow's ranks exchange plain bytes.

Standard library only. A rank listens on a port of the system's choice before it tells anybody of it, so no port can be
taken in between. A peer proves that it knows what the driver has told the ranks alone, before anything else that it
sends is looked at. Everything exchanged has a length that both sides know beforehand; nothing is ever unpickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import select
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from typing import NoReturn

from lagom_magic.worker.distribution.base import Place
from lagom_magic.worker.distribution.tensorflow_transfer import HEADER, Transfer

_GREETING = struct.Struct("!I32s")  # rank, proof
_NONCE_BYTES = 32
#: A peer that does not prove itself within this time is dropped; others may be waiting behind it.
_GREETING_TIMEOUT_S = 2.0
_BUFFER_BYTES = 4 * 2**20
#: In place of a purpose: what follows is why the sender gives up.
_FAREWELL = 255
_MAX_FAREWELL_BYTES = 2_000


class CollectiveError(ConnectionError):
    """Ranks that should act together do not: one is gone, is late, or is at another place of the program."""


class Mesh:
    """One rank's connections to all others; used by one thread at a time.

    `exchange` is the only way to speak: all ranks call it in the same order for the same purposes.
    """

    def __init__(self, place: Place, *, timeout_s: float, purposes: Sequence[str]) -> None:
        """Listens.

        Args:
            place: this rank; its host is what the others dial.
            timeout_s: how long to wait for the others, in each exchange.
            purposes: what exchanges are for, as verbs with their objects; `exchange` is given a position in it.
        """
        self.rank = place.rank
        self.world_size = place.world_size
        self.timeout_s = timeout_s
        #: The first error, which is what later ones follow from.
        self.failure: CollectiveError | None = None
        self._host = place.host
        self._purposes = purposes
        self._count = 0
        self._secret = os.urandom(16).hex()
        self._peers: dict[int, socket.socket] = {}
        self._listener: socket.socket | None = _listen(place.host, place.world_size)

    @property
    def others(self) -> list[int]:
        """All ranks but this one, in order."""
        return [rank for rank in range(self.world_size) if rank != self.rank]

    @property
    def address(self) -> str:
        """What the other ranks must know: host, port, and a share of the secret."""
        assert self._listener is not None
        return f"{self._host}:{self._listener.getsockname()[1]}/{self._secret}"

    def connect(self, addresses: Sequence[str]) -> None:
        """Meets all others: dials those before this rank, is dialled by those after it.

        Args:
            addresses: of all ranks, by rank.

        Raises:
            CollectiveError: names the ranks that could not be reached, or did not come in time.
        """
        key = hashlib.sha256("\n".join(addresses).encode()).digest()
        deadline = time.monotonic() + self.timeout_s
        for rank in range(self.rank):
            self._peers[rank] = self._dial(rank, addresses[rank], key, deadline)
        while len(self._peers) < self.world_size - 1:
            self._admit_one(key, deadline)
        self._stop_listening()
        for peer in self._peers.values():
            peer.setblocking(False)
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                peer.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)

    def _dial(self, rank: int, address: str, key: bytes, deadline: float) -> socket.socket:
        place = address.partition("/")[0]
        host, _, port = place.rpartition(":")
        try:
            peer = socket.create_connection((host, int(port)), timeout=max(deadline - time.monotonic(), 0.01))
        except OSError as error:
            self._fail(f"rank {rank} cannot be reached at {place}: {error}", error)
        try:
            nonce = _read(peer, _NONCE_BYTES)
            peer.sendall(_GREETING.pack(self.rank, _proof(key, nonce, b"dials", self.rank)))
            if not hmac.compare_digest(_read(peer, 32), _proof(key, nonce, b"answers", self.rank)):
                raise ConnectionError("who answers there does not belong to this run")
        except OSError as error:
            peer.close()
            self._fail(f"rank {rank} at {place}: {error}", error)
        return peer

    def _admit_one(self, key: bytes, deadline: float) -> None:
        """Takes in a rank that dials, if it proves itself; everybody else is dropped."""
        assert self._listener is not None
        missing = [rank for rank in self.others if rank not in self._peers]
        try:
            left_s = deadline - time.monotonic()
            if left_s <= 0:  # strangers may dial for ever
                raise TimeoutError
            self._listener.settimeout(left_s)
            peer, _ = self._listener.accept()
        except TimeoutError as error:
            self._fail(f"{_ranks(missing)} did not connect within {self.timeout_s:g} s", error)
        nonce = os.urandom(_NONCE_BYTES)
        try:
            peer.sendall(nonce)
            rank, proof = _GREETING.unpack(_read(peer, _GREETING.size, time.monotonic() + _GREETING_TIMEOUT_S))
            if not hmac.compare_digest(proof, _proof(key, nonce, b"dials", rank)) or rank not in missing:
                raise ConnectionError("a stranger")
            peer.sendall(_proof(key, nonce, b"answers", rank))
        except OSError:
            peer.close()
        else:
            self._peers[rank] = peer

    def exchange(self, purpose: int, sends: Mapping[int, memoryview], receives: Mapping[int, memoryview]) -> None:
        """Sends and receives at once, to and from the ranks named.

        Args:
            purpose: position in `purposes`; must be the same on both sides.
            sends: {rank: bytes to send}.
            receives: {rank: where to put what it sends, of exactly that many bytes}.

        Raises:
            CollectiveError: names the ranks that are gone or late, or says that they do something else.
        """
        if self.failure is not None:
            raise self.failure
        transfers = {
            self._peers[rank].fileno(): Transfer(rank, self._peers[rank], sends.get(rank), receives.get(rank))
            for rank in sends.keys() | receives.keys()
        }
        poll = select.poll()
        for fileno, transfer in transfers.items():
            transfer.begin(HEADER.pack(self._count, purpose, sends[transfer.rank].nbytes if transfer.outgoing else 0))
            poll.register(fileno, transfer.events)
        deadline = time.monotonic() + self.timeout_s
        unfinished = set(transfers)
        while unfinished:
            ready = poll.poll(max(deadline - time.monotonic(), 0) * 1000)
            if not ready:
                late = sorted(transfers[fileno].rank for fileno in unfinished)
                self._fail(f"{_ranks(late)} did not come to {self._purposes[purpose]} within {self.timeout_s:g} s")
            for fileno, events in ready:
                transfer = transfers[fileno]
                try:
                    header = transfer.go_on(events)
                except OSError as error:
                    self._fail(
                        f"rank {transfer.rank} has gone while it was to {self._purposes[purpose]}: {error}", error
                    )
                if header is not None:
                    self._check(transfer, purpose, *header)
                if transfer.events:
                    poll.modify(fileno, transfer.events)
                else:
                    poll.unregister(fileno)
                    unfinished.discard(fileno)
        self._count += 1

    def _check(self, transfer: Transfer, purpose: int, count: int, theirs: int, n_bytes: int) -> None:
        """Compares what a peer announces with what this rank expects."""
        if theirs == _FAREWELL:
            transfer.peer.settimeout(_GREETING_TIMEOUT_S)
            self._fail(_read(transfer.peer, min(n_bytes, _MAX_FAREWELL_BYTES)).decode(errors="replace"))
        if (count, theirs, n_bytes) != (self._count, purpose, transfer.n_bytes_expected):
            their_purpose = self._purposes[theirs] if theirs < len(self._purposes) else "do something unknown"
            self._fail(
                f"ranks are at different places of the program: rank {self.rank} is to {self._purposes[purpose]} "
                f"(exchange {self._count}, {transfer.n_bytes_expected} bytes), rank {transfer.rank} is to "
                f"{their_purpose} (exchange {count}, {n_bytes} bytes). "
                "All ranks must train the same model in the same number of steps"
            )

    def _fail(self, what: str, cause: BaseException | None = None) -> NoReturn:
        """Raises, and keeps the error as the first; tells the others why, and closes."""
        text = what.encode()[:_MAX_FAREWELL_BYTES]
        for peer in self._peers.values():
            with contextlib.suppress(OSError):  # gone, or its buffer is full: then the closed connection must do
                peer.setblocking(False)
                peer.sendall(HEADER.pack(self._count, _FAREWELL, len(text)) + text)
        self.failure = CollectiveError(what)
        self.close()
        raise self.failure from cause

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def close(self) -> None:
        """Lets go of all sockets."""
        self._stop_listening()
        for peer in self._peers.values():
            peer.close()
        self._peers.clear()


def _listen(host: str, backlog: int) -> socket.socket:
    """A listening socket on a free port: of the host's own address, or of all where that is not this machine's."""
    family, *_, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
    try:
        return socket.create_server((address[0], 0), family=family, backlog=backlog)
    except OSError:  # an address that somebody translates
        return socket.create_server(("::" if family == socket.AF_INET6 else "", 0), family=family, backlog=backlog)


def _ranks(ranks: Sequence[int]) -> str:
    return f"rank{'s' if len(ranks) > 1 else ''} {', '.join(map(str, ranks))}"


def _proof(key: bytes, nonce: bytes, role: bytes, rank: int) -> bytes:
    return hmac.digest(key, nonce + role + struct.pack("!I", rank), "sha256")


def _read(peer: socket.socket, n_bytes: int, deadline: float | None = None) -> bytes:
    """So many bytes, all of them before the deadline."""
    data = b""
    while len(data) < n_bytes:
        if deadline is not None:
            peer.settimeout(max(deadline - time.monotonic(), 0.001))
        part = peer.recv(n_bytes - len(data))
        if not part:
            raise ConnectionResetError("its connection was closed")
        data += part
    return data
