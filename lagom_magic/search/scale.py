"""From a number in [0, 1) to a value of a domain, and the list of values where it is finite.

Random search and Sobol points draw through `value_at`; the grid lists through `finite_values`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from lagom_magic.spec.space import Categorical, Domain, Float, Int


def value_at(domain: Domain, position: float) -> Any:
    """The domain's value at a position in [0, 1): uniform on its scale, each choice as likely as the other."""
    match domain:
        case Categorical(choices=choices):
            return choices[_index(position, len(choices))]
        case Int(log=True):
            value = _log_interpolate(domain.low - 0.5, domain.high + 0.5, position)
            return min(max(round(value), domain.low), domain.high)
        case Int():
            return domain.low + domain.step * _index(position, n_values(domain) or 1)
        case Float(step=float() | int()):
            return stepped(domain, _index(position, n_values(domain) or 1))
        case Float(log=True):
            return min(max(_log_interpolate(domain.low, domain.high, position), domain.low), domain.high)
        case Float():
            return min(domain.low + position * (domain.high - domain.low), float(domain.high))
    raise TypeError(f"no scale for {domain!r}")


def n_values(domain: Domain) -> int | None:
    """How many values the domain has; None when they are not finite."""
    match domain:
        case Categorical(choices=choices):
            return len(choices)
        case Int():
            return (domain.high - domain.low) // domain.step + 1
        case Float(step=float() | int() as step):
            return int((_decimal(domain.high) - _decimal(domain.low)) / _decimal(step)) + 1
        case Float() if domain.low == domain.high:
            return 1
    return None


def finite_values(domain: Domain) -> Sequence[Any]:
    """All values of a domain in order, without building them when they are a range.

    Raises:
        ValueError: when the domain is not finite.
    """
    match domain:
        case Categorical(choices=choices):
            return choices
        case Int():
            return range(domain.low, domain.high + 1, domain.step)
        case Float(step=None) if domain.low == domain.high:
            return [float(domain.low)]
        case Float(step=float() | int()):
            return [stepped(domain, index) for index in range(n_values(domain) or 0)]
    raise ValueError(f"{domain.describe()} has no finite list of values")


def stepped(domain: Float, index: int) -> float:
    """The value `low + index * step` as a person writes it: 0.3, not 0.30000000000000004."""
    assert domain.step is not None
    return float(_decimal(domain.low) + index * _decimal(domain.step))


def _decimal(number: float) -> Decimal:
    return Decimal(repr(number))


def _index(position: float, n: int) -> int:
    return min(int(position * n), n - 1)


def _log_interpolate(low: float, high: float, position: float) -> float:
    return math.exp(math.log(low) + position * (math.log(high) - math.log(low)))
