"""How good a value is, so that samplers and pruners compare without knowing the direction."""

from __future__ import annotations

import math

from lagom_magic.search.base import Direction

WORST = -math.inf


def score(value: float, direction: Direction) -> float:
    """The value on a scale where more is better; nan and an infinite best are the worst there is."""
    signed = value if direction == "max" else -value
    return signed if signed < math.inf else WORST
