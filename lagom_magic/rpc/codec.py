"""Frames on the wire, without a socket: runs on both ends of the channel.

A frame is one type byte, a 4-byte big-endian length and that many bytes:

    T   the run's 32-byte token, once, first
    J   a JSON array of messages (objects with a "type")
    B   a 4-byte header length, a JSON header, and raw bytes: captured output or a chunk of a file

Nothing here can execute anything: JSON is the only parser, `nan` and `inf` are refused, lengths are capped.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any, NoReturn

TOKEN_BYTES = 32
#: Raw bytes in one `B` frame.
MAX_CHUNK_BYTES = 1 << 20
_MAX_HEADER_BYTES = 1 << 16
#: Longest payload by frame type.
MAX_PAYLOAD_BYTES = {b"T": TOKEN_BYTES, b"J": 16 << 20, b"B": 4 + _MAX_HEADER_BYTES + MAX_CHUNK_BYTES}
_PREFIX = struct.Struct("!cI")
_LENGTH = struct.Struct("!I")

Message = dict[str, Any]


class ProtocolError(Exception):
    """Bytes that are no frame of ours; the connection they came from must be closed."""


@dataclass(frozen=True, slots=True)
class TokenFrame:
    """What a worker proves itself with."""

    token: bytes

    def __repr__(self) -> str:
        return "TokenFrame(***)"


@dataclass(frozen=True, slots=True)
class MessagesFrame:
    """Several messages, in order."""

    messages: list[Message]


@dataclass(frozen=True, slots=True)
class BlobFrame:
    """Raw bytes and what they are."""

    header: Message
    data: bytes


Frame = TokenFrame | MessagesFrame | BlobFrame

_encode_json = json.JSONEncoder(allow_nan=False, separators=(",", ":"), ensure_ascii=False).encode


def encode_token(token: bytes) -> bytes:
    """The frame of a 32-byte token."""
    if len(token) != TOKEN_BYTES:
        raise ValueError(f"a token has {TOKEN_BYTES} bytes, not {len(token)}")
    return _PREFIX.pack(b"T", TOKEN_BYTES) + token


def encode_messages(messages: list[Message]) -> bytes:
    """The frame of several messages.

    Raises:
        ValueError: for nan or inf (spell them as text), or more than `MAX_PAYLOAD_BYTES`.
    """
    # Lone surrogates (undecodable file names) cannot be UTF-8; they travel as visible escapes.
    payload = _encode_json(messages).encode("utf-8", "backslashreplace")
    if len(payload) > MAX_PAYLOAD_BYTES[b"J"]:
        raise ValueError(f"messages of {len(payload):,} bytes; allowed: {MAX_PAYLOAD_BYTES[b'J']:,}")
    return _PREFIX.pack(b"J", len(payload)) + payload


def encode_blob(header: Message, data: bytes) -> bytes:
    """The frame of at most `MAX_CHUNK_BYTES` raw bytes with their header."""
    head = _encode_json(header).encode("utf-8", "backslashreplace")
    if len(data) > MAX_CHUNK_BYTES or len(head) > _MAX_HEADER_BYTES:
        raise ValueError(f"a chunk of {len(data):,} bytes with {len(head):,} of header; allowed: {MAX_CHUNK_BYTES:,}")
    return b"".join((_PREFIX.pack(b"B", 4 + len(head) + len(data)), _LENGTH.pack(len(head)), head, data))


class Decoder:
    """Turns bytes, cut anywhere, into frames.

    Until `authenticated` is set only a token frame is accepted, so that nothing of a stranger is parsed.
    """

    def __init__(self, *, authenticated: bool) -> None:
        self.authenticated = authenticated
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes.

        Raises:
            ProtocolError: at the first byte that cannot belong to a frame; the decoder is unusable then.
        """
        self._buffer += data
        frames: list[Frame] = []
        while (frame := self._next()) is not None:
            frames.append(frame)
            if isinstance(frame, TokenFrame):  # the owner decides whether to go on
                break
        return frames

    def _next(self) -> Frame | None:
        buffer = self._buffer
        if not buffer:
            return None
        kind = bytes(buffer[:1])
        if kind not in MAX_PAYLOAD_BYTES or (kind != b"T") != self.authenticated:
            raise ProtocolError(f"unexpected frame type {kind!r}")
        if len(buffer) < _PREFIX.size:
            return None
        (length,) = _LENGTH.unpack_from(buffer, 1)
        if length > MAX_PAYLOAD_BYTES[kind]:
            raise ProtocolError(f"frame {kind!r} of {length:,} bytes; allowed: {MAX_PAYLOAD_BYTES[kind]:,}")
        end = _PREFIX.size + length
        if len(buffer) < end:
            return None
        payload = bytes(buffer[_PREFIX.size : end])
        del buffer[:end]
        return _parse(kind, payload)


def _parse(kind: bytes, payload: bytes) -> Frame:
    if kind == b"T":
        if len(payload) != TOKEN_BYTES:
            raise ProtocolError("a token frame of the wrong length")
        return TokenFrame(payload)
    if kind == b"J":
        messages = _parse_json(payload)
        if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
            raise ProtocolError("a J frame holds an array of objects")
        return MessagesFrame(messages)
    if len(payload) < _LENGTH.size:
        raise ProtocolError("a B frame without a header length")
    end = _LENGTH.size + _LENGTH.unpack_from(payload)[0]
    if end > len(payload) or end > _LENGTH.size + _MAX_HEADER_BYTES:
        raise ProtocolError("a B frame whose header is longer than itself")
    if len(payload) - end > MAX_CHUNK_BYTES:
        raise ProtocolError("a B frame with too much data")
    header = _parse_json(payload[_LENGTH.size : end])
    if not isinstance(header, dict):
        raise ProtocolError("the header of a B frame is an object")
    return BlobFrame(header, payload[end:])


def _refuse_constant(name: str) -> NoReturn:
    raise ProtocolError(f"{name} is not JSON")


def _parse_json(payload: bytes) -> Any:
    try:
        return json.loads(payload.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"not JSON: {error}") from error
