"""JSON text of anything: what the journal, run.json, trial.json and result.json are written with."""

from __future__ import annotations

import json
import math
from typing import Any

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
_encode_leniently = json.JSONEncoder(separators=(",", ":"), default=repr).encode


def json_line(value: Any) -> str:
    """The value as JSON on one line; nan and ±inf become "nan", "inf", "-inf", and what JSON lacks its repr."""
    try:
        return _encode(value)
    except (TypeError, ValueError):
        return _encode_leniently(_plain(value))


def json_text(document: dict[str, Any]) -> str:
    """The same with one line a key, for a person."""
    return "{\n" + ",\n".join([f'  "{key}": {json_line(value)}' for key, value in document.items()]) + "\n}\n"


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(float(value))
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    return value
