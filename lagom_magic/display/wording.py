"""How numbers, durations and foreign text are written in every face of a run.

Used by the text and HTML faces. Text that workers made (names, messages, values) passes `one_line` before it is
shown anywhere, so no escape sequence, line break or change of writing direction reaches a table.
"""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from typing import Any

#: Terminal escape sequences: CSI, OSC and other strings (with their terminator), and the short ones.
_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])|\x9b[0-?]*[ -/]*[@-~]"
)
_SPACES = re.compile(r"[ \t\r\n\v\f]+")
#: Control characters, line separators, invisible and direction-changing ones, and halves of surrogate pairs.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")

NOTHING = "–"
_UNITS = ("kB", "MB", "GB", "TB", "PB", "EB")


def one_line(text: str, limit: int) -> str:
    """The text as one harmless line of at most `limit` characters, ending in '…' when cut."""
    head = _ESCAPES.sub("", text[: limit * 8 + 256])
    line = _UNSAFE.sub("\ufffd", _SPACES.sub(" ", head)).strip()
    return line if len(line) <= limit and len(text) <= limit * 8 + 256 else line[: limit - 1].rstrip() + "…"


def number(value: float | None, digits: int = 4) -> str:
    """A number with that many significant digits: '0.9833', '3.1e-4', '12346', '–' for None."""
    if value is None:
        return NOTHING
    if not isinstance(value, int) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int):  # of any size, so beyond what a float holds too
        return str(value) if abs(value) < 10**7 else _exponent(f"{Decimal(value):.{digits - 1}e}")
    if 1e4 <= abs(value) < 1e7:
        return f"{value:.0f}"
    if 0 < abs(value) < 1e-3 or abs(value) >= 1e7:
        return _exponent(f"{value:.{digits - 1}e}")
    return f"{value:.{digits}g}"


def metric(value: float | None) -> str:
    """A metric's number: as `number`, with trailing zeros, so a column of them lines up."""
    if value is None or not math.isfinite(value) or not 1e-3 <= abs(value) < 1e4:
        return number(value)
    return f"{value:#.4g}".rstrip(".")


def hparam(value: Any, limit: int = 24) -> str:
    """A hyperparameter's value: numbers compact, text as it is, the rest as JSON."""
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, (int, float)):
        return number(value, 3)
    return one_line(value if isinstance(value, str) else json.dumps(value, default=repr, ensure_ascii=False), limit)


def duration(seconds: float | None) -> str:
    """A time span by its two largest units: '40 ms', '9.1 s', '38 s', '1m 12s', '2h 05m', '3d 04h'."""
    if seconds is None:
        return NOTHING
    if seconds < 0.0995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    minutes = whole // 60
    if minutes < 24 * 60:
        return f"{minutes // 60}h {minutes % 60:02d}m"
    return f"{minutes // 1440}d {minutes // 60 % 24:02d}h"


def percent(fraction: float) -> str:
    """A share of one: '41 %'."""
    return f"{100 * fraction:.0f} %"


def size(n_bytes: Any) -> str:
    """How much a file holds: '1 byte', '944 bytes', '48.1 kB', '1.2 GB'; '' for what cannot be a number of bytes."""
    if type(n_bytes) is not int or not 0 <= n_bytes < 1 << 63:
        return ""
    value, power = float(n_bytes), 0
    while value >= 999.5:
        value, power = value / 1000, power + 1
    return f"{value:.3g} {_UNITS[power - 1]}" if power else count(n_bytes, "byte")


def count(n: int, noun: str) -> str:
    """A number of things: '1 trial', '1,204 trials'."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _exponent(text: str) -> str:
    mantissa, _, power = text.partition("e")
    return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}e{int(power)}"
