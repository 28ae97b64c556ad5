"""The records of TensorBoard's event files that a trial writes again and again, as bytes; used by the store's thread.

Encoded by hand: building the protocol buffer objects took two thirds of the time of a trial's event file, under the
GIL that the driver needs. What is written once a run is left to the library, and so is reading, in the tests.

Source: tensorboard/compat/proto/{event,summary}.proto, plugins/hparams/plugin_data.proto, and the TFRecord format.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from lagom_magic.events.facts import Metrics

_double = struct.Struct("<d").pack
_float = struct.Struct("<f").pack
_checksum_bytes = struct.Struct("<I").pack
_length_bytes = struct.Struct("<Q").pack

#: What the last record of a trial's file is known by.
SESSION_END = b"_hparams_/session_end_info"

#: The type of a field of bytes, in its tag's low bits; tags of other types stand as literals where they are used.
_BYTES = 2


class RecordEncoder:
    """Makes framed events.

    Args:
        crc32c: the checksum of bytes.
        empty_tensor: a serialised TensorProto of no values, which HParams summaries carry.
    """

    def __init__(self, crc32c: Callable[[bytes], int], empty_tensor: bytes) -> None:
        self._crc32c = crc32c
        self._empty_tensor = _message(8, empty_tensor)
        #: length of a record → its frame's head; a run's records have few lengths.
        self._heads: dict[int, bytes] = {}

    def framed(self, event: bytes) -> bytes:
        """A serialised Event as a TFRecord: length, its checksum, data, its checksum."""
        head = self._heads.get(len(event))
        if head is None:
            length = _length_bytes(len(event))
            head = self._heads[len(event)] = length + self._checksum(length)
        return head + event + self._checksum(event)

    def file_start(self, time: float) -> bytes:
        """The first record of every file; `time` in seconds since the epoch, as everywhere here."""
        return self.framed(_wall_time(time) + _message(3, b"brain.Event:2"))

    def scalars(self, metrics: Metrics, step: int, time: float) -> bytes:
        """One event with a value for each metric."""
        values = [
            _message(1, _message(1, _text(name)) + b"\x15" + _as_float(number)) for name, number in metrics.items()
        ]
        return self.framed(_wall_time(time) + b"\x10" + _varint(step) + _message(5, b"".join(values)))

    def session_start(self, hparams: dict[str, bool | float | str], time: float) -> bytes:
        """The hyperparameters of a trial.

        Without the name of a group, so that the trial is a group by itself, by its folder's name: a name of ours would
        be another run's, too, and one TensorBoard of several runs puts together what has one name.
        """
        entries = [_message(1, _message(1, _text(key)) + _message(2, _value(value))) for key, value in hparams.items()]
        info = b"".join(entries) + b"\x29" + _double(time)
        return self.hparams("session_start_info", _message(3, info), time)

    def session_end(self, status: int, time: float) -> bytes:
        """The end of a trial; `status` as HParams' enum has it."""
        info = (b"\x08" + _varint(status) if status else b"") + b"\x11" + _double(time)
        return self.hparams("session_end_info", _message(4, info), time)

    def hparams(self, tag: str, plugin_data: bytes, time: float) -> bytes:
        """An event of the HParams plugin; `plugin_data` is a serialised HParamsPluginData."""
        plugin = _message(1, b"hparams") + _message(2, plugin_data)
        value = _message(1, f"_hparams_/{tag}".encode()) + self._empty_tensor + _message(9, _message(1, plugin))
        return self.framed(_wall_time(time) + _message(5, _message(1, value)))

    def _checksum(self, data: bytes) -> bytes:
        crc = self._crc32c(data)
        return _checksum_bytes(((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _message(number: int, content: bytes) -> bytes:
    """A field of text, bytes or a message; numbers below 16 only, whose tag is one byte."""
    return bytes((number << 3 | _BYTES,)) + _varint(len(content)) + content


def encodable(text: str) -> str:
    """The text as records hold it: half a surrogate pair, which UTF-8 lacks, is spelled out."""
    return _text(text).decode()


def _text(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _wall_time(time: float) -> bytes:
    return b"\x09" + _double(time)


def _value(value: bool | float | str) -> bytes:
    """A google.protobuf.Value."""
    if isinstance(value, bool):
        return b"\x20\x01" if value else b"\x20\x00"
    if isinstance(value, str):
        return _message(3, _text(value))
    return b"\x11" + _double(value)


def _as_float(number: float) -> bytes:
    try:
        return _float(number)
    except OverflowError:  # beyond 3.4e38
        return _float(float("inf") if number > 0 else float("-inf"))


def _varint(number: int) -> bytes:
    """An integer as protocol buffers write it; a negative one as its 64-bit complement."""
    if 0 <= number < 0x80:
        return bytes((number,))
    number &= 0xFFFFFFFFFFFFFFFF
    groups = bytearray()
    while number >= 0x80:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)
