"""`%lagom board`: TensorBoard of a run, under the cell as a link, or as a panel where our JupyterLab extension is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from IPython.core.error import UsageError

if TYPE_CHECKING:
    from lagom_magic.run import Run


def say_board(run: Run | None, *, stop: bool) -> str:
    """Opens or ends a run's TensorBoard.

    Args:
        run: the one that was named, else the newest.
        stop: end it.

    Returns:
        What to print; "" when the cell shows it already.

    Raises:
        UsageError: there is no run.
        LagomError: TensorBoard does not start.
    """
    from lagom_magic.display.board import board_bundle, open_board, stop_board
    from lagom_magic.display.notebook import kernel_shell

    if run is None:
        raise UsageError("%lagom board: there is no run yet. Start one with %%lagom hpo.")
    if stop:
        if stop_board(run.dir):
            return f"TensorBoard of run {run.id} is stopped"
        return f"run {run.id} has no TensorBoard of this kernel: nothing to stop"
    bundle = board_bundle(open_board(run.dir))
    if kernel_shell() is None:
        return str(bundle["text/plain"])
    from IPython.display import display

    display(bundle, raw=True)  # type: ignore[no-untyped-call]
    return ""
