"""How `process_data` is called, and which arguments of the training function get what it returns.

Decided before Spark starts, from signatures alone; called on the driver, where the notebook's `spark` is.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lagom_magic.errors import ConfigError, nearest

#: {parameter of process_data: the field of the config that fills it}; Maggy's names first.
_SOURCES = {
    "train_path": "train_set",
    "test_path": "test_set",
    "train_set": "train_set",
    "test_set": "test_set",
    "dataset": "dataset",
}
_P = inspect.Parameter


@dataclass(frozen=True, slots=True)
class Processing:
    """One call of `process_data`.

    Attributes:
        function: the user's.
        label: it, for messages, as `process_data(train_path, test_path)`.
        takes: {its parameter: the field of the config that fills it}.
        gives: arguments of the training function that it fills; several = it returns as many values.
        wanted: {data that the training function takes: whether it must get them}.
    """

    function: Callable[..., Any]
    label: str
    takes: Mapping[str, str]
    gives: tuple[str, ...]
    wanted: Mapping[str, bool]

    def call(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """{argument: value} for the training function.

        Args:
            given: the config's fields, by name.

        Raises:
            ConfigError: it returned something else than is needed; what it raises itself goes through.
        """
        returned = self.function(**{name: given[field] for name, field in self.takes.items()})
        names = ", ".join(self.gives)
        if returned is None:
            raise ConfigError(f"{self.label} returned None; it is to return {names}. Is there a `return`?")
        if len(self.gives) == 1:
            return {self.gives[0]: returned}
        if not isinstance(returned, (tuple, list)) or len(returned) != len(self.gives):
            size = f" of {len(returned)}" if isinstance(returned, (tuple, list)) else ""
            raise ConfigError(
                f"{self.label} returned a {type(returned).__name__}{size}; it is to return ({names}). "
                f"Write `return {names}`."
            )
        values = {name: value for name, value in zip(self.gives, returned, strict=True) if name in self.wanted}
        for name, value in values.items():
            if value is None and self.wanted[name]:
                raise ConfigError(f"{self.label} returned None for {name}; it is to return ({names}).")
        return {name: value for name, value in values.items() if value is not None}


def plan_processing(
    function: Callable[..., Any], given: Mapping[str, Any], wanted: Mapping[str, bool], train_label: str
) -> Processing:
    """How to call `process_data`.

    Args:
        function: the user's.
        given: those of `dataset`, `train_set` and `test_set` that the config has.
        wanted: {those that the training function takes: whether it must get it}, in that order.
        train_label: of the training function, for messages.

    Raises:
        ConfigError: something would fill none of its parameters, or nothing needs what it returns.
    """
    name = getattr(function, "__name__", type(function).__name__)
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"process_data (--process-data): the arguments of {name} cannot be seen: {error}. Wrap it in a function."
        ) from error
    label = f"{name}({', '.join(parameters)})"
    takes = _sources(parameters, given, label)
    gives = _targets(takes, given, wanted)
    if not gives:
        raise ConfigError(
            f"process_data (--process-data) is given, but {train_label} has no argument for what {label} returns: "
            "none of dataset, train_set and test_set that is not given already. Add it, or drop the option."
        )
    return Processing(function, label, takes, gives, wanted)


def _sources(parameters: Mapping[str, inspect.Parameter], given: Mapping[str, Any], label: str) -> dict[str, str]:
    takes: dict[str, str] = {}
    others = []
    for name, parameter in parameters.items():
        if parameter.kind in (_P.VAR_POSITIONAL, _P.VAR_KEYWORD):
            continue
        if parameter.kind is _P.POSITIONAL_ONLY:
            raise ConfigError(f"{label}: {name!r} is positional-only, but arguments are filled by name. Drop the '/'.")
        is_required = parameter.default is _P.empty
        if name not in _SOURCES:
            if is_required:
                others.append(name)
        elif _SOURCES[name] in given:
            takes[name] = _SOURCES[name]
        elif is_required:
            option = "--" + _SOURCES[name].replace("_", "-")
            raise ConfigError(
                f"{label} takes {name}, and {_SOURCES[name]} ({option}) is not given. Give it, or a default."
            )
    left = [field for field in given if field not in takes.values()]
    if len(others) == 1 and len(left) == 1:
        takes[others[0]] = left[0]
    elif others:
        raise ConfigError(
            f"Nothing fills argument {others[0]!r} of {label}. Arguments are filled by name: train_path and test_path "
            f"from train_set and test_set (--train-set, --test-set), dataset from --dataset; a single argument may "
            f"have any name where one of them is given.{nearest(others[0], _SOURCES)}"
        )
    return takes


def _targets(takes: Mapping[str, str], given: Mapping[str, Any], wanted: Mapping[str, bool]) -> tuple[str, ...]:
    """What it is to return: both sets when it takes both; else what the training function still needs."""
    used = set(takes.values())
    if {"train_set", "test_set"} <= used and wanted.keys() & {"train_set", "test_set"}:
        return ("train_set", "test_set")
    open_ = [name for name in wanted if name not in given or name in used]
    required = [name for name in open_ if wanted[name]]
    if len(open_) > 1 and len(used) == 1 and used <= set(open_) and set(required) <= used:
        return tuple(used)
    return tuple(open_)
