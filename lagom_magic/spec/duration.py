"""Times as people write them: `90`, `"90s"`, `"30m"`, `"1h30m"`; read by the configs and the magics."""

from __future__ import annotations

import math
import re

_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_PARTS = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([dhms])\s*")
#: For messages: what `seconds` takes.
ALLOWED = "a number of seconds > 0, or text such as '90s', '30m' or '1h30m'"


def seconds(value: object) -> float | None:
    """The duration in seconds, > 0; None when `value` is no duration."""
    if isinstance(value, str):
        value = _from_text(value.lower())
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) and value > 0 else None


def _from_text(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        parts = _PARTS.findall(text)
    if not parts or _PARTS.sub("", text):
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)
