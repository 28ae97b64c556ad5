"""The cell under `%%lagom`: run it in the notebook's namespace, and find the training function in it."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from lagom_magic.errors import LagomError, nearest
from lagom_magic.magics.namespace import look_up, visible

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def run_cell(shell: InteractiveShell, cell: str) -> None:
    """Runs the cell as if the magic were not there.

    Raises:
        UsageError: when it awaits at its top level: the notebook's event loop runs already, and cannot run in itself.
        LagomError: when the cell raised; its own traceback has been shown.
    """
    if shell.should_run_async(cell, transformed_cell=shell.transform_cell(cell)):  # type: ignore[no-untyped-call]
        raise UsageError("%%lagom: the cell awaits at its top level. Await in a cell before, or in asyncio.run().")
    with _counted_as_its_cell(shell):
        result = shell.run_cell(_below_magic(cell), store_history=False, silent=True)  # type: ignore[no-untyped-call]
    error = result.error_before_exec or result.error_in_exec
    if error is not None:
        raise LagomError(f"the cell raised {type(error).__name__} (above), so nothing was started.") from error


def _below_magic(cell: str) -> str:
    """The cell with a comment where the magic's line was, so that errors name the lines that a person sees.

    A blank line would not do: IPython removes those. Below another cell magic the lines are that one's affair.
    """
    if cell.lstrip().startswith("%%"):
        return cell
    indent = re.match(r"(?:[^\S\n]*\n)*([^\S\n]*)", cell)
    return f"{indent[1] if indent else ''}# %%lagom\n{cell}"


@contextmanager
def _counted_as_its_cell(shell: InteractiveShell) -> Iterator[None]:
    """While it lasts, code runs under the number of the cell that is running: IPython has counted on to the next."""
    next_count = shell.execution_count
    running = shell.displayhook.exec_result
    shell.execution_count = getattr(running, "execution_count", None) or next_count
    try:
        yield
    finally:
        shell.execution_count = next_count


def functions_in(shell: InteractiveShell, cell: str) -> list[str]:
    """Names of the cell's top-level functions, in order; the cell has run, so its syntax is right."""
    tree = ast.parse(shell.transform_cell(cell))  # type: ignore[no-untyped-call]
    found = [node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    return list(dict.fromkeys(reversed(found)))[::-1]


def training_function(
    chosen: str | None, defined: list[str], names: Mapping[str, Any], prog: str
) -> Callable[..., Any]:
    """The function that `--fn` names, else the last one of the cell.

    Args:
        chosen: what `--fn` says.
        defined: the cell's functions.
        names: the notebook's namespace.
        prog: for messages.

    Raises:
        UsageError: when there is none.
    """
    if chosen is None and not defined:
        functions = [name for name in visible(names) if callable(names[name]) and not isinstance(names[name], type)]
        there = f" The notebook has: {', '.join(functions[-5:])}." if functions else ""
        raise UsageError(f"{prog}: the cell defines no function. Write one in it, or name one: --fn NAME.{there}")
    if chosen is None and len(defined) > 1:
        note = f"running {defined[-1]}(), the last of {len(defined)} functions in the cell; choose with --fn NAME"
        print(f"lagom: {note}")  # noqa: T201 - the cell's output
    path = chosen or defined[-1]
    found = look_up(path, names, "--fn")
    if not callable(found):
        kinds = [name for name in visible(names) if callable(names[name])]
        raise UsageError(
            f"{prog}: --fn {path} is of type {type(found).__name__}; allowed: a function.{nearest(path, kinds)}"
        )
    function: Callable[..., Any] = found
    return function
