"""`%lagom board`: TensorBoard of a run, under the cell as a link, or as a panel where our JupyterLab extension is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from IPython.core.error import UsageError

if TYPE_CHECKING:
    from lagom_magic.run import Run


def say_board(runs: Sequence[Run], *, stop: bool) -> str:
    """Opens or ends a run's TensorBoard, or one for several.

    Args:
        runs: those that were named, else the newest.
        stop: end it.

    Returns:
        What to print; "" when the cell shows it already.

    Raises:
        UsageError: there is no run.
        LagomError: TensorBoard does not start.
    """
    from lagom_magic.display.board import board_bundle, open_board, open_common_board, stop_board
    from lagom_magic.display.notebook import kernel_shell

    if not runs:
        raise UsageError("%lagom board: there is no run yet. Start one with %%lagom hpo.")
    ids = ", ".join(run.id for run in runs)
    if stop:
        if stop_board(*(run.dir for run in runs)):
            return f"TensorBoard of run {ids} is stopped"
        return f"run {ids} has no TensorBoard of this kernel: nothing to stop"
    folders = list(dict.fromkeys(run.dir for run in runs))
    board = open_common_board(folders) if len(folders) > 1 else open_board(folders[0])
    bundle = board_bundle(board, *folders[1:])
    if kernel_shell() is None:
        return str(bundle["text/plain"])
    from IPython.display import display

    display(bundle, raw=True)  # type: ignore[no-untyped-call]
    return ""
