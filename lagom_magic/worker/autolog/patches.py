"""Replaces methods and functions of a library for the length of a trial."""

from __future__ import annotations

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
        if name in vars(owner):
            self._undo.callback(setattr, owner, name, vars(owner)[name])
        else:
            self._undo.callback(delattr, owner, name)
        setattr(owner, name, value)

    def function(self, module: Any, name: str, replacement: Callable[..., Any]) -> None:
        """Replaces a function where it is defined: whoever imports it from now on has the replacement."""
        self._functions.append((name, getattr(module, name), replacement))
        setattr(module, name, replacement)

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
