"""Replaces parts of Keras while a training runs, after a look whether they are what this code was written against."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from lagom_magic.errors import LagomError

#: The version that all hooks below are tested with.
TESTED_WITH = "3.15.1"
_SOURCE = "keras.src"


class UnsupportedKerasError(LagomError, RuntimeError):
    """An installed Keras whose inside is not the one that can be distributed."""


class Patches:
    """Replacements that `close` takes back, the last one first."""

    def __init__(self) -> None:
        self._undo = ExitStack()

    def wrap(self, where: str, parameters: str, wrapper: Callable[..., Any]) -> None:
        """Replaces a function by `wrapper(original, *args, **kwargs)`.

        Args:
            where: "module.below.keras.src:Class.method" or "module.below.keras.src:function".
            parameters: the names that its first parameters must have, separated by spaces.
            wrapper: gets the original function first, then what that is called with.

        Raises:
            UnsupportedKerasError: when the installed Keras has no such function.
        """
        owner, name, original = find_hook(where, parameters)

        @functools.wraps(original)
        def replacement(*args: Any, **kwargs: Any) -> Any:
            return wrapper(original, *args, **kwargs)

        self.set(owner, name, replacement)

    def set(self, owner: Any, name: str, value: Any) -> None:
        """Replaces an attribute."""
        self._undo.callback(setattr, owner, name, getattr(owner, name))
        setattr(owner, name, value)

    def on_close(self, action: Callable[[], Any]) -> None:
        """Lets `close` do something else as well."""
        self._undo.callback(action)

    def close(self) -> None:
        self._undo.close()


def find_hook(where: str, parameters: str) -> tuple[Any, str, Callable[..., Any]]:
    """Who holds a function of Keras', its name, and the function."""
    module_name, _, path = where.partition(":")
    *owners, name = path.split(".")
    try:
        owner: Any = importlib.import_module(f"{_SOURCE}.{module_name}")
        for step in owners:
            owner = getattr(owner, step)
        function = owner.__dict__[name]
        found = list(inspect.signature(function).parameters)
    except (ImportError, AttributeError, KeyError, TypeError) as error:
        raise _unsupported(f"has no {where}") from error
    wanted = parameters.split()
    if found[: len(wanted)] != wanted:
        raise _unsupported(f"has {where}({', '.join(found)}), not ({', '.join(wanted)})")
    return owner, name, function


def _unsupported(what: str) -> UnsupportedKerasError:
    import keras

    return UnsupportedKerasError(
        f"Keras {keras.__version__} {what}, which `%%lagom train` builds on. "
        f'It is tested with Keras {TESTED_WITH}: `pip install "keras=={TESTED_WITH}"` on the workers.'
    )
