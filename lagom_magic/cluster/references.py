"""What a function's code refers to: looked at before a run, without calling or importing anything."""

from __future__ import annotations

import dis
import linecache
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

#: A word in the code → what PyTorch imports, in two seconds, when that is first used and not before.
_TORCH_IMPORTS_LATE = {
    "optim": "torch._dynamo",
    "Adam": "torch._dynamo",
    "AdamW": "torch._dynamo",
    "SGD": "torch._dynamo",
}

_GLOBAL_OPERATIONS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL"})


def _codes(code: CodeType) -> Iterator[CodeType]:
    """The code and those of the functions and classes defined in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def used_variables(function: FunctionType) -> dict[str, Any]:
    """Name → value of the globals and enclosing variables that the function's code uses, in order of use."""
    names = [
        step.argval
        for code in _codes(function.__code__)
        for step in dis.get_instructions(code)
        if step.opname in _GLOBAL_OPERATIONS
    ]
    used = {name: function.__globals__[name] for name in names if name in function.__globals__}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            used[name] = cell.cell_contents
        except ValueError:  # an enclosing variable that has no value yet
            continue
    return used


def imported_modules(code: CodeType) -> list[str]:
    """Dotted names that the code imports absolutely when it runs."""
    found = []
    for inner in _codes(code):
        steps = list(dis.get_instructions(inner))
        # `import a.b` loads the level and the names to import from it just before: LOAD_CONST, LOAD_CONST, IMPORT_NAME
        found += [
            step.argval
            for index, step in enumerate(steps)
            if step.opname == "IMPORT_NAME" and index >= 2 and steps[index - 2].argval == 0
        ]
    return found


def own_functions(function: Callable[..., Any]) -> list[FunctionType]:
    """The function and those that it calls by name and that are pickled with it: of `__main__` or of its module."""
    start = plain_function(function)
    found = [] if start is None else [start]
    for current in found:  # grows while we walk
        for value in used_variables(current).values():
            called = plain_function(value) if callable(value) else None
            if called is not None and called not in found and called.__module__ in ("__main__", current.__module__):
                found.append(called)
    return found


def cell_sources(function: Callable[..., Any]) -> dict[str, str]:
    """File name → text of the notebook cells that define the function and those that it calls.

    Cells are no files; without their text a worker's traceback would show no lines of them.
    """
    names = {inner.__code__.co_filename for inner in own_functions(function)}
    return {name: "".join(linecache.getlines(name)) for name in sorted(names) if not Path(name).exists()}


def plain_function(function: object) -> FunctionType | None:
    """The Python function behind decorators, methods and partials; None when there is none."""
    for name in ("__wrapped__", "__func__", "func"):
        inner = getattr(function, name, None)
        if inner is not None and not isinstance(function, type):
            return plain_function(inner)
    return function if isinstance(function, FunctionType) else None


def preload_modules(function: Callable[..., Any], notebook_dir: Path) -> list[str]:
    """Modules that a process can import before it runs the function: those its code refers to or imports.

    Dotted names, sorted. Without the user's own modules beside the notebook, which may change from run to run, and
    those that every Python has loaded already.
    """
    names: set[str] = set()
    words: set[str] = set()
    for inner in own_functions(function):
        names.update(imported_modules(inner.__code__))
        words.update(word for code in _codes(inner.__code__) for word in code.co_names)
        for value in used_variables(inner).values():
            names.add(value.__name__ if isinstance(value, ModuleType) else str(getattr(value, "__module__", "")))
    if any(name.partition(".")[0] == "torch" for name in names):
        names.update(module for word, module in _TORCH_IMPORTS_LATE.items() if word in words)
    return sorted(name for name in names if _is_preloadable(name, notebook_dir))


def _is_preloadable(name: str, notebook_dir: Path) -> bool:
    top = name.partition(".")[0]
    if top in {"", "__main__", "builtins", "lagom_magic"} or top in sys.builtin_module_names:
        return False
    if any((notebook_dir / candidate).exists() for candidate in (top, f"{top}.py")):
        return False
    file = getattr(sys.modules.get(top), "__file__", None)
    return file is None or not _is_beside_notebook(Path(file), notebook_dir)


def _is_beside_notebook(file: Path, notebook_dir: Path) -> bool:
    if not file.resolve().is_relative_to(notebook_dir.resolve()):
        return False
    return not is_installed(file, notebook_dir)


def is_installed(file: Path, notebook_dir: Path) -> bool:
    """Whether a file below the notebook's folder belongs to an environment there and not to the user's own code."""
    if {"site-packages", "dist-packages"}.intersection(file.parts):
        return True
    between = [parent for parent in file.parents if parent.is_relative_to(notebook_dir)]
    return any((parent / "pyvenv.cfg").exists() for parent in between)
