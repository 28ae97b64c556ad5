"""Finds what cannot be pickled, by name; run when pickling has failed, to tell the user what to change."""

from __future__ import annotations

import functools
import io
import socket
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lagom_magic.cluster.references import used_variables

_MAX_DEPTH = 8

#: What it is, and what to do about it, by a type's module and name (a prefix each).
_HINTS_BY_NAME = (
    ("pyspark.", "SparkSession", "a Spark session, which only the notebook has", "Take it out of the function."),
    ("pyspark.", "SparkContext", "Spark's context, which only the notebook has", "Take it out of the function."),
    ("pyspark.", "DataFrame", "a Spark DataFrame, which only the notebook can read",
     "Collect it first (`.toPandas()`), or write it to files and read those in the function."),
    ("pyspark.", "RDD", "an RDD, which only the notebook can read",
     "Collect it first, or write it to files and read those in the function."),
    ("_thread", "", "a lock", "Create it inside the function."),
    ("threading", "", "a lock or thread", "Create it inside the function."),
    ("_asyncio", "", "part of an event loop", "Create it inside the function."),
    ("sqlite3", "", "a database connection", "Connect inside the function."),
)  # fmt: skip
_HINTS_BY_TYPE: tuple[tuple[type | tuple[type, ...], str, str], ...] = (
    (io.IOBase, "an open file", "Open it inside the function, by its path."),
    (socket.socket, "a network connection", "Connect inside the function."),
    (
        (types.GeneratorType, types.AsyncGeneratorType),
        "a generator",
        "Make a list of it, or create it inside the function.",
    ),
    ((types.FrameType, types.TracebackType), "part of a traceback", "Keep its text instead."),
)


@dataclass(frozen=True, slots=True)
class Culprit:
    """The innermost thing that cannot be pickled.

    Attributes:
        path: the names that lead to it, from the function or argument on.
        value: the thing itself.
    """

    path: tuple[str, ...]
    value: Any

    def describe(self) -> str:
        """Where it is, what it is, and what to do."""
        kind, fix = _hint(self.value)
        name = f"{type(self.value).__module__}.{type(self.value).__qualname__}".removeprefix("builtins.")
        steps = ", which uses ".join(f"`{step}`" for step in self.path[1:])
        where = f"`{self.path[0]}` uses {steps}: {kind}" if steps else f"`{self.path[0]}` is {kind}"
        return f"{where} ({name}). {fix}"


def _hint(value: object) -> tuple[str, str]:
    cls = type(value)
    for module, name, kind, fix in _HINTS_BY_NAME:
        if cls.__module__.startswith(module) and cls.__name__.startswith(name):
            return kind, fix
    for types_, kind, fix in _HINTS_BY_TYPE:
        if isinstance(value, types_):
            return kind, fix
    return "something that cannot be pickled", "Create it inside the function."


def find_culprit(roots: Mapping[str, object], can_pickle: Callable[[object], bool]) -> Culprit | None:
    """The first thing below `roots` that cannot be pickled though all it consists of can.

    Args:
        roots: name → what was to be pickled.
        can_pickle: the test; it may be slow, it is called for a handful of things on the way down.
    """
    for name, value in roots.items():
        if not can_pickle(value):
            return _descend(Culprit((name,), value), can_pickle, {id(value)})
    return None


def _descend(culprit: Culprit, can_pickle: Callable[[object], bool], seen: set[int]) -> Culprit:
    for name, part in _parts(culprit.value) if len(culprit.path) < _MAX_DEPTH else ():
        if id(part) not in seen and not can_pickle(part):
            seen.add(id(part))
            return _descend(Culprit((*culprit.path, name), part), can_pickle, seen)
    return culprit


def _parts(value: object) -> Iterator[tuple[str, object]]:
    """Name → thing, of all that is pickled with `value`."""
    match value:
        case types.FunctionType():
            yield from used_variables(value).items()
            yield from ((f"default {index + 1}", part) for index, part in enumerate(value.__defaults__ or ()))
            yield from (value.__kwdefaults__ or {}).items()
        case types.MethodType():
            yield "self", value.__self__
            yield value.__func__.__name__, value.__func__
        case functools.partial():
            yield "the function of a partial", value.func
            yield from ((f"argument {index + 1}", part) for index, part in enumerate(value.args))
            yield from value.keywords.items()
        case dict():
            yield from ((repr(key), part) for key, part in value.items())
        case list() | tuple() | set() | frozenset():
            yield from ((f"item {index}", part) for index, part in enumerate(value))
        case type():
            yield from ((f"{value.__name__}.{name}", part) for name, part in vars(value).items() if callable(part))
        case _:
            yield from ((f".{name}", part) for name, part in getattr(value, "__dict__", {}).items())
