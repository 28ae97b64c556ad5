"""Messages between kernel, server and page as they travel: their JSON text, its size, and long replies in parts.

Used by whatever talks to a page: the widget, and the server extension's socket. docs/live-view.md has the messages.
"""

from __future__ import annotations

import json
from typing import Any

Message = dict[str, Any]

MESSAGE_LIMIT_BYTES = 64 * 1024
#: Characters of a part: its JSON text is at most twice as long, for a value's text is ASCII.
_PART_CHARACTERS = 30_000


def wire_text(message: Any) -> str:
    """The message as JSON text that UTF-8 can hold: halves of surrogate pairs become '?'."""
    text = json.dumps(message, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8", "replace").decode("utf-8")


def wire_size(message: Any) -> int:
    """Bytes of the message's text."""
    return len(wire_text(message).encode("utf-8"))


def reply_messages(request_id: str, value: Any) -> list[Message]:
    """The reply to a request: one message, or its parts when it is too long for one."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    if len(text) <= MESSAGE_LIMIT_BYTES - 1024:
        return [{"type": "reply", "id": request_id, "ok": True, "value": value}]
    pieces = [text[start : start + _PART_CHARACTERS] for start in range(0, len(text), _PART_CHARACTERS)]
    return [
        {"type": "part", "id": request_id, "index": index, "n_parts": len(pieces), "data": piece}
        for index, piece in enumerate(pieces)
    ]


def error_message(request_id: str, error: str) -> Message:
    """The reply to a request that cannot be answered."""
    return {"type": "reply", "id": request_id, "ok": False, "error": error}
