"""Variables of the notebook that options name: `--space my_space`, `--hparams lagom_run.best`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from lagom_magic.errors import nearest
from lagom_magic.magics.options import NameOf

if TYPE_CHECKING:
    from lagom_magic.magics.backend import Backend
    from lagom_magic.run import Run

#: What IPython itself puts into the namespace.
_SHELL_NAMES = frozenset({"In", "Out", "exit", "quit", "get_ipython", "open"})
#: How names of files with data end.
_DATA_SUFFIXES = (".parquet", ".csv", ".json", ".npy", ".npz", ".pt", ".pkl", ".txt", ".arrow", ".tfrecord")


def look_up(path: str, names: Mapping[str, Any], option: str, *, is_data: bool = False) -> Any:
    """The object at a dotted path.

    Args:
        path: such as `lagom_run.best`.
        names: the notebook's namespace.
        option: for the message.
        is_data: whether the object may be a file's path, so that a person may have typed one here.

    Raises:
        UsageError: when there is none, with the nearest that there is.
    """
    first, *attributes = path.split(".")
    if is_data and ("/" in path or (path.endswith(_DATA_SUFFIXES) and not _has(names.get(first), attributes))):
        name = _variable_for(path, names)
        raise UsageError(
            f"lagom: {option} {path}: this takes the name of a variable. Put the path into one, "
            f'{name} = "{path}", and name that: {option} {name}.'
        )
    if first not in names:
        hint = nearest(first, visible(names))
        raise UsageError(f"lagom: {option} {path}: the notebook has no variable {first!r}. Define it first.{hint}")
    found, shown = names[first], first
    for attribute in attributes:
        if not hasattr(found, attribute):
            hint = nearest(attribute, [name for name in dir(found) if not name.startswith("_")])
            raise UsageError(f"lagom: {option} {path}: {shown} has no attribute {attribute!r}.{hint}")
        found, shown = getattr(found, attribute), f"{shown}.{attribute}"
    return found


def _has(found: Any, attributes: list[str]) -> bool:
    for attribute in attributes:
        if not hasattr(found, attribute):
            return False
        found = getattr(found, attribute)
    return True


def _variable_for(path: str, names: Mapping[str, Any]) -> str:
    """A free name for a variable that holds a file's path."""
    name = re.sub(r"\W", "_", PurePosixPath(path).stem)
    return name if name.isidentifier() and name not in names else "path"


def named_run(text: str, names: Mapping[str, Any], backend: Backend) -> Run:
    """The run of an id or its end, or that a variable of the notebook holds.

    Raises:
        StoreError: when there is none.
    """
    if text and text.partition(".")[0] in names:
        from lagom_magic.run import Run

        value = look_up(text, names, "RUN")
        if isinstance(value, Run):
            return value
        text = value if isinstance(value, str) else text
    return backend.find_run(text)


def visible(names: Mapping[str, Any]) -> list[str]:
    """Names that a user gave: no underscores, no modules, nothing of IPython's."""
    own = (name for name in names if not name.startswith("_") and name not in _SHELL_NAMES)
    return [name for name in own if not inspect.ismodule(names[name])]


def fitting(names: Mapping[str, Any], kind: NameOf) -> list[str]:
    """Variables that an option of this kind can take, for completion; sorted."""
    fits = _FITS[kind]
    return sorted(name for name in visible(names) if fits(names[name]))


def _is_function(value: object) -> bool:
    return inspect.isfunction(value) or inspect.ismethod(value)


def _is_space(value: object) -> bool:
    from lagom_magic.spec.space import Domain, Searchspace

    if isinstance(value, dict):
        return bool(value) and any(isinstance(domain, Domain) for domain in value.values())
    return isinstance(value, Searchspace)


def _is_instance(value: object) -> bool:
    return not isinstance(value, type) and not inspect.isroutine(value)


_FITS: dict[NameOf, Callable[[Any], bool]] = {
    "function": _is_function,
    "space": _is_space,
    "model": lambda value: isinstance(value, type) or _is_function(value),
    "data": _is_instance,
    "hparams": lambda value: isinstance(value, dict) or hasattr(value, "hparams") or hasattr(value, "best"),
    "object": lambda value: hasattr(value, "ask") or hasattr(value, "prune") or hasattr(value, "report"),
    "": lambda value: False,
}
