"""The search space: what values each hyperparameter may take, and when it is there at all."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lagom_magic.errors import ConfigError, nearest

#: `when={"optimizer": "sgd"}` or `when={"optimizer": ["sgd", "rmsprop"]}`: all must hold.
Condition = Mapping[str, Any]


@dataclass(frozen=True)
class Domain:
    """Values of one hyperparameter; `when` names the values of others under which it exists."""

    when: Condition | None = field(default=None, kw_only=True)

    def is_active(self, chosen: Mapping[str, Any]) -> bool:
        """Whether the hyperparameter exists beside the `chosen` others."""
        return all(
            name in chosen and chosen[name] in (allowed if isinstance(allowed, (list, tuple, set)) else [allowed])
            for name, allowed in (self.when or {}).items()
        )

    def contains(self, value: Any) -> bool:
        """Whether `value` is one of the domain's."""
        raise NotImplementedError

    def describe(self) -> str:
        """The domain as the user writes it."""
        raise NotImplementedError


def _check_range(kind: str, low: Any, high: Any, log: bool, step: float | None) -> None:
    for name, bound in (("low", low), ("high", high)):
        if isinstance(bound, bool) or not isinstance(bound, (int, float)) or not math.isfinite(bound):
            raise ConfigError(f"{kind}({low!r}, {high!r}): {name} must be a finite number, got {bound!r}.")
    if low > high:
        raise ConfigError(f"{kind}({low}, {high}) is an empty range: low must be <= high. Swap the two?")
    if log and low <= 0:
        raise ConfigError(f"{kind}({low}, {high}, log=True): a log scale needs low > 0.")
    if step is not None and step <= 0:
        raise ConfigError(f"{kind}({low}, {high}, step={step}): step must be > 0.")
    if log and step is not None and not (kind == "Int" and step == 1):
        raise ConfigError(f"{kind}({low}, {high}, log=True, step={step}): use log or step, not both.")


@dataclass(frozen=True)
class Float(Domain):
    """A real number in [low, high]; on a log scale, or on the grid low, low + step, …"""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def __post_init__(self) -> None:
        _check_range("Float", self.low, self.high, self.log, self.step)

    def contains(self, value: Any) -> bool:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and self.low <= value <= self.high

    def describe(self) -> str:
        step = f", step={self.step:g}" if self.step else ""
        return f"Float({self.low:g}, {self.high:g}{', log=True' if self.log else ''}{step})"


@dataclass(frozen=True)
class Int(Domain):
    """A whole number in [low, high], both ends included."""

    low: int
    high: int
    log: bool = False
    step: int = 1

    def __post_init__(self) -> None:
        _check_range("Int", self.low, self.high, self.log, self.step)
        for name in ("low", "high", "step"):
            if not isinstance(getattr(self, name), int):
                raise ConfigError(f"Int: {name} must be a whole number, got {getattr(self, name)!r}. Use Float?")

    def contains(self, value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high

    def describe(self) -> str:
        step = f", step={self.step}" if self.step != 1 else ""
        return f"Int({self.low}, {self.high}{', log=True' if self.log else ''}{step})"


@dataclass(frozen=True)
class Categorical(Domain):
    """One of several values without an order. Values may be anything JSON holds: None, bool, number, text."""

    choices: Sequence[Any]

    def __post_init__(self) -> None:
        _check_choices(type(self).__name__, self.choices)
        object.__setattr__(self, "choices", tuple(self.choices))

    def contains(self, value: Any) -> bool:
        return value in self.choices

    def describe(self) -> str:
        return f"{type(self).__name__}({list(self.choices)!r})"


@dataclass(frozen=True)
class Ordinal(Categorical):
    """One of several values whose order means something (16, 32, 64); samplers treat them as a scale."""


def _check_choices(kind: str, choices: Any) -> None:
    if isinstance(choices, (str, bytes)) or not isinstance(choices, Sequence):
        raise ConfigError(f"{kind}({choices!r}): give a list of values, such as {kind}(['a', 'b']).")
    if not choices:
        raise ConfigError(f"{kind}([]) has no value: give at least one.")
    for value in choices:
        if value is not None and not isinstance(value, (bool, int, float, str)):
            raise ConfigError(
                f"{kind}: the value {value!r} is a {type(value).__name__}; allowed: None, bool, int, float, str. "
                "Use a name for it and look the object up inside the training function."
            )
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(
                f"{kind}: the value {value!r} is not finite, and JSON cannot hold it; allowed: None, bool, int, finite "
                f"float, str. Use a name such as {str(value)!r} and convert it inside the training function."
            )
    if len({(type(value), value) for value in choices}) < len(choices):
        raise ConfigError(f"{kind}({list(choices)!r}) names a value twice.")


_MAGGY_KINDS = ("DOUBLE", "INTEGER", "CATEGORICAL", "DISCRETE")


class Searchspace(Mapping[str, Domain]):
    """Named domains in an order where a condition's parent comes first.

    Accepts our domains, and Maggy's pairs: `Searchspace(lr=("DOUBLE", [1e-4, 1e-1]), n=("INTEGER", [2, 8]),
    act=("CATEGORICAL", ["relu", "tanh"]), batch=("DISCRETE", [16, 32]))`.

    Raises:
        ConfigError: for an unknown kind, a condition on an unknown name or impossible value, or a cycle.
    """

    def __init__(self, **domains: Domain | tuple[str, Sequence[Any]]) -> None:
        given = {name: _as_domain(name, value) for name, value in domains.items()}
        self._domains = _parents_first(given)

    def __getitem__(self, name: str) -> Domain:
        return self._domains[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._domains)

    def __len__(self) -> int:
        return len(self._domains)

    def __repr__(self) -> str:
        return f"Searchspace({', '.join(f'{name}={domain.describe()}' for name, domain in self.items())})"


def _as_domain(name: str, value: Any) -> Domain:
    if isinstance(value, Domain):
        return value
    if isinstance(value, (tuple, list)) and len(value) == 2 and isinstance(value[0], str):
        kind, values = value[0].upper(), list(value[1])
        if kind in ("DOUBLE", "INTEGER") and len(values) == 2:
            return Float(*values) if kind == "DOUBLE" else Int(*values)
        if kind in ("CATEGORICAL", "DISCRETE"):
            return Categorical(values) if kind == "CATEGORICAL" else Ordinal(values)
        if kind in _MAGGY_KINDS:
            raise ConfigError(f"{name}=({kind!r}, {values!r}): {kind} takes [low, high].")
        raise ConfigError(
            f"{name}=({value[0]!r}, …): unknown kind; known: {', '.join(_MAGGY_KINDS)}.{nearest(kind, _MAGGY_KINDS)}"
        )
    raise ConfigError(
        f"{name}={value!r} is no domain. Use Float(low, high), Int(low, high), Categorical([…]) or Ordinal([…])."
    )


def _parents_first(given: dict[str, Domain]) -> dict[str, Domain]:
    for name, domain in given.items():
        for parent, allowed in (domain.when or {}).items():
            if parent not in given:
                raise ConfigError(
                    f"{name}: when={dict(domain.when or {})!r} names {parent!r}, which is not in the search space "
                    f"({', '.join(given)}).{nearest(parent, given)}"
                )
            for value in allowed if isinstance(allowed, (list, tuple, set)) else [allowed]:
                if not given[parent].contains(value):
                    raise ConfigError(
                        f"{name}: when={parent!r}: {value!r} can never hold; {parent} is {given[parent].describe()}."
                    )
    ordered: dict[str, Domain] = {}
    while len(ordered) < len(given):
        ready = [n for n, d in given.items() if n not in ordered and all(p in ordered for p in d.when or {})]
        if not ready:
            raise ConfigError(f"The conditions of {', '.join(n for n in given if n not in ordered)} form a circle.")
        ordered.update({name: given[name] for name in ready})
    return ordered
