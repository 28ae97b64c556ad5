"""The search space as it stands in `run.json`, and back: `Run.study`, resume and TensorBoard read it there.

`{"lr": {"kind": "Float", "low": 1e-4, "high": 0.1, "log": true, "step": null, "when": null}, …}`
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from lagom_magic.errors import ConfigError
from lagom_magic.spec.space import Categorical, Domain, Float, Int, Ordinal, Searchspace

_KINDS: dict[str, type[Domain]] = {kind.__name__: kind for kind in (Float, Int, Categorical, Ordinal)}


def space_to_json(space: Mapping[str, Domain]) -> dict[str, dict[str, Any]]:
    """The space as JSON-able dicts, in its own order."""
    return {name: _domain_to_json(domain) for name, domain in space.items()}


def space_from_json(document: Mapping[str, Mapping[str, Any]]) -> Searchspace:
    """The space that `space_to_json` wrote.

    Raises:
        ConfigError: for an unknown kind, or fields that make no domain.
    """
    return Searchspace(**{name: _domain_from_json(name, entry) for name, entry in document.items()})


def _domain_to_json(domain: Domain) -> dict[str, Any]:
    entry: dict[str, Any] = {"kind": type(domain).__name__}
    for item in fields(domain):
        value = getattr(domain, item.name)
        entry[item.name] = list(value) if isinstance(value, tuple) else value
    entry["when"] = None if domain.when is None else {name: _as_list(value) for name, value in domain.when.items()}
    return entry


def _as_list(value: Any) -> Any:
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=repr)
    return list(value) if isinstance(value, tuple) else value


def _domain_from_json(name: str, entry: Mapping[str, Any]) -> Domain:
    kind = _KINDS.get(str(entry.get("kind")))
    if kind is None:
        raise ConfigError(f"{name}: unknown kind {entry.get('kind')!r} in run.json; known: {', '.join(_KINDS)}.")
    known = {item.name for item in fields(kind)}
    try:
        return kind(**{key: value for key, value in entry.items() if key in known})
    except TypeError as error:
        raise ConfigError(f"{name}: {dict(entry)!r} makes no {kind.__name__}: {error}.") from error
