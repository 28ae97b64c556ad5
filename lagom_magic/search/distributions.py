"""Our domains in Optuna's words, both ways."""

from __future__ import annotations

from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from lagom_magic.search.scale import n_values, stepped
from lagom_magic.spec.space import Categorical, Domain, Float, Int, Ordinal


def distribution_of(domain: Domain) -> BaseDistribution:
    """The distribution that a sampler draws from: choices with an order become an index, so they are a scale."""
    if isinstance(domain, Categorical):
        if _is_indexed(domain):
            indices = range(len(domain.choices))
            return IntDistribution(0, len(indices) - 1) if _is_scale(domain) else CategoricalDistribution(indices)
        return CategoricalDistribution(domain.choices)
    return _numeric(domain)


def shown_distribution_of(domain: Domain) -> BaseDistribution:
    """The distribution that a person reads in a study: choices are themselves."""
    return CategoricalDistribution(domain.choices) if isinstance(domain, Categorical) else _numeric(domain)


def value_of(domain: Domain, drawn: Any) -> Any:
    """The domain's value for what was drawn from `distribution_of`."""
    match domain:
        case Categorical(choices=choices) if _is_indexed(domain):
            return choices[drawn]
        case Float(step=float() | int() as step):
            return stepped(domain, round((drawn - domain.low) / step))
    return drawn


def drawn_of(domain: Domain, value: Any) -> Any:
    """What `value_of` makes this value of; the value is one of the domain's."""
    if isinstance(domain, Categorical):
        at = next(i for i, choice in enumerate(domain.choices) if choice == value and type(choice) is type(value))
        return at if _is_indexed(domain) else domain.choices[at]
    return value


def _is_scale(domain: Categorical) -> bool:
    return isinstance(domain, Ordinal)


def _is_indexed(domain: Categorical) -> bool:
    """Ordinals, and choices that are equal in Python though the user tells them apart (1, True, 1.0)."""
    return _is_scale(domain) or len(set(domain.choices)) < len(domain.choices)


def _numeric(domain: Domain) -> BaseDistribution:
    match domain:
        case Int(log=True):
            return IntDistribution(domain.low, domain.high, log=True)
        case Int():
            # Optuna warns when the range is no multiple of the step, so the range ends at the last value.
            return IntDistribution(domain.low, domain.high - (domain.high - domain.low) % domain.step, step=domain.step)
        case Float(step=float() | int()):
            return FloatDistribution(domain.low, stepped(domain, (n_values(domain) or 1) - 1), step=domain.step)
        case Float():
            return FloatDistribution(domain.low, domain.high, log=domain.log)
    raise TypeError(f"no distribution for {domain!r}")
