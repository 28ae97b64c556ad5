"""Replaces methods and functions of a library for the length of a trial."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any


class Patches:
    """Replacements that `close` takes back, the last one first.

    Args:
        namespace: the global names of the user's function, which may hold functions of a library by their own names.
    """

    def __init__(self, namespace: dict[str, Any]) -> None:
        self._namespace = namespace
        self._undo = ExitStack()
        #: (name, original, replacement)
        self._functions: list[tuple[str, Any, Any]] = []

    def attribute(self, owner: type, name: str, value: Any) -> None:
        """Sets an attribute of a class: in place of its own, or of an inherited one."""
        had, before = name in vars(owner), vars(owner).get(name)
        setattr(owner, name, value)
        self._undo.callback(_restore, owner, name, value, had, before)

    def function(self, module: Any, name: str, replacement: Callable[..., Any]) -> None:
        """Replaces a function where it is defined: whoever imports it from now on has the replacement."""
        original = getattr(module, name)
        stand_in = _stand_in(original)
        stand_in.now = replacement
        self._undo.callback(setattr, stand_in, "now", original)
        self._functions.append((name, original, stand_in))
        setattr(module, name, stand_in)

    @property
    def has_functions(self) -> bool:
        return bool(self._functions)

    def spread(self) -> None:
        """Replaces the functions so far wherever else they have been imported to by their names."""
        self._exchange(self._functions)

    def on_close(self, action: Callable[[], Any]) -> None:
        """Lets `close` do something else as well."""
        self._undo.callback(action)

    def close(self) -> None:
        """Takes everything back."""
        if self._functions:
            self._undo.callback(self._exchange, [(name, new, old) for name, old, new in self._functions])
        self._undo.close()

    def _exchange(self, functions: list[tuple[str, Any, Any]]) -> None:
        for module in list(sys.modules.values()):
            names = getattr(module, "__dict__", {})  # there may be other things than modules
            for name, old, new in functions:
                if name in names and names[name] is old:
                    names[name] = new
        for alias, value in list(self._namespace.items()):
            for _, old, new in functions:
                if value is old:
                    self._namespace[alias] = new


def _restore(owner: type, name: str, value: Any, had: bool, before: Any) -> None:
    """Undoes what set `value`, unless the user has put something of their own in its place."""
    if vars(owner).get(name) is not value:
        return
    if had:
        setattr(owner, name, before)
    else:
        delattr(owner, name)


@functools.cache
def _stand_in(original: Callable[..., Any]) -> Any:
    """What replaces a function in all trials of this process, which set its `now`.

    A module that is first imported during a trial keeps it under whatever name it likes.
    """

    @functools.wraps(original)
    def stand_in(*args: Any, **kwargs: Any) -> Any:
        return stand_in.now(*args, **kwargs)  # type: ignore[attr-defined]

    return stand_in
