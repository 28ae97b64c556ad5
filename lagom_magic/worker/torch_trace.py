"""What PyTorch's profiler has seen, as TensorBoard's Profile tab reads it; for `tensorboard.torch_trace_handler`.

PyTorch exports Chrome's JSON and the tab reads XSpace, a protocol buffer; it is encoded by hand here, so that a worker
needs neither TensorFlow nor the plugin. Arrows between events and marks without a duration are left out.

Source: tsl/profiler/protobuf/xplane.proto, which the numbers of the fields are from.
"""

from __future__ import annotations

import json
import os
import socket
import tempfile
import time
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

#: What counts events within a trace and says nothing to a person.
_INTERNAL = frozenset({"External id", "Record function id", "Ev Idx"})
#: Of an event's detail, such as a call stack.
_MAX_CHARACTERS = 2000

Event = Mapping[str, Any]


class Profiler(Protocol):
    """`torch.profiler.profile`, as far as it is used here."""

    def export_chrome_trace(self, path: str) -> Any: ...


def write_trace(profiler: Profiler, logdir: str) -> str:
    """Write the profiler's present cycle to a folder of its own below a logdir; the file's path.

    Raises:
        OSError: as the file system reports it.
    """
    with tempfile.TemporaryDirectory(prefix="lagom-trace-") as folder:
        exported = os.path.join(folder, "trace.json")
        profiler.export_chrome_trace(exported)
        with open(exported, "rb") as file:
            trace = json.load(file)
    path = os.path.join(_new_session(os.path.join(logdir, "plugins", "profile")), f"{socket.gethostname()}.xplane.pb")
    with open(f"{path}.part", "wb") as file:
        file.write(xspace(trace))
    os.replace(f"{path}.part", path)
    return path


def _new_session(above: str) -> str:
    """A new folder, named by the time as TensorFlow does it."""
    stem, number = os.path.join(above, time.strftime("%Y_%m_%d_%H_%M_%S")), 1
    while True:
        folder = stem if number == 1 else f"{stem}_{number}"
        try:
            os.makedirs(folder)
        except FileExistsError:  # of the cycle before, in the same second
            number += 1
            continue
        return folder


def xspace(trace: Mapping[str, Any]) -> bytes:
    """A serialised XSpace with a plane for the host and one for each device.

    Args:
        trace: what `export_chrome_trace` wrote.
    """
    events = trace["traceEvents"]
    labels = {event["pid"]: str(event["args"]["labels"]) for event in _told(events, "process_labels")}
    names = {(event["pid"], event["tid"]): str(event["args"]["name"]) for event in _told(events, "thread_name")}
    #: {plane: {(process or device, thread or stream): its events}}
    planes: dict[str, dict[tuple[int, Any], list[Event]]] = {}
    for event in events:
        pid = event.get("pid")
        if event.get("ph") == "X" and isinstance(pid, int):  # of the profiler's own marks it is a text
            lines = planes.setdefault(_plane_name(labels.get(pid, "")), {})
            lines.setdefault((pid, event["tid"]), []).append(event)
    begin_us = min((event["ts"] for lines in planes.values() for own in lines.values() for event in own), default=0.0)
    begin_ns = int(trace.get("baseTimeNanoseconds", 0)) + round(begin_us * 1000)
    return b"".join(
        _message(1, _number(1, number) + _plane(name, lines, names, begin_us, begin_ns))
        for number, (name, lines) in enumerate(planes.items())
    )


def _told(events: Iterable[Event], what: str) -> list[Event]:
    """The trace's remarks of one kind."""
    return [event for event in events if event.get("ph") == "M" and event.get("name") == what]


def _plane(
    plane_name: str,
    lines: Mapping[tuple[int, Any], list[Event]],
    line_names: Mapping[tuple[int, Any], str],
    begin_us: float,
    begin_ns: int,
) -> bytes:
    names, details = _Numbers(), _Numbers()
    parts = [_message(2, _text(plane_name))]
    for position, ((pid, tid), own) in enumerate(lines.items(), start=1):
        line_id = tid if isinstance(tid, int) and tid > 0 else position
        head = [_number(1, line_id), _message(2, _text(line_names.get((pid, tid), str(tid)))), _number(3, begin_ns)]
        events = [
            _event(event, names, details, begin_us) for event in sorted(own, key=lambda event: float(event["ts"]))
        ]
        parts.append(_message(3, b"".join([*head, *events])))
    return b"".join([*parts, *names.table(4), *details.table(5)])


def _plane_name(label: str) -> str:
    """As TensorBoard's plugin knows processor and devices apart: '/host:CPU', '/device:GPU:0'."""
    kind, _, index = label.partition(" ")
    return f"/device:{kind}:{index}" if index.isdecimal() else "/host:CPU"


def _event(event: Event, names: _Numbers, details: _Numbers, begin_us: float) -> bytes:
    """As a field of its line."""
    offset_ps, duration_ps = round((event["ts"] - begin_us) * 1e6), round(event.get("dur", 0) * 1e6)
    stats = [
        _message(4, _number(1, details.of(name)) + _message(5, _text(_shown(value))))
        for name, value in event.get("args", {}).items()
        if name not in _INTERNAL
    ]
    return _message(
        4, b"".join([_number(1, names.of(event["name"])), _number(2, offset_ps), _number(3, duration_ps), *stats])
    )


def _shown(value: Any) -> str:
    return (value if isinstance(value, str) else json.dumps(value))[:_MAX_CHARACTERS]


class _Numbers:
    """Texts that stand once in a plane, each with the number that events name it by."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def of(self, text: str) -> int:
        return self._numbers.setdefault(text, len(self._numbers) + 1)

    def table(self, field: int) -> list[bytes]:
        """A map<int64, metadata> as the plane's field."""
        return [
            _message(field, _number(1, number) + _message(2, _number(1, number) + _message(2, _text(text))))
            for text, number in self._numbers.items()
        ]


def _text(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _message(field: int, content: bytes) -> bytes:
    """A field of text or a message; fields below 16 only, as all of them are."""
    return bytes((field << 3 | 2,)) + _varint(len(content)) + content


def _number(field: int, value: int) -> bytes:
    return bytes((field << 3,)) + _varint(value)


def _varint(value: int) -> bytes:
    groups = bytearray()
    while value >= 0x80:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)
