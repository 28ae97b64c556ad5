"""Which logged parameters are worth a row: of the many that a library has, those that somebody or something set."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

#: 'SVC 2.C': of the second SVC that a trial fitted.
_FURTHER = re.compile(r"(\S+) \d+\.(.*)", re.DOTALL)


def split_params(params: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(what is set, the rest); of 'X 2', 'X 3' … only what X has otherwise is among the first."""
    told, rest = dict[str, Any](), dict[str, Any]()
    for name, value in params.items():
        (told if _is_telling(params, name) else rest)[name] = value
    return told, rest


def repeats_first(params: Mapping[str, Any], name: str) -> bool:
    """Whether a parameter of 'X 2', 'X 3' … is set as X has it."""
    first = first_name(name)
    return (
        first is not None and first in params and repr(params[first]) == repr(params[name])
    )  # True is not 1, and nan is nan


def first_name(name: str) -> str | None:
    """'X.param' of 'X 2.param'; None of what is not numbered."""
    numbered = _FURTHER.fullmatch(name)
    return f"{numbered[1]}.{numbered[2]}" if numbered else None


def _is_telling(params: Mapping[str, Any], name: str) -> bool:
    if first_name(name) in params:
        return not repeats_first(params, name)
    return params[name] is not None
