"""`%lagom attach`: the view of a run that this kernel, another one, or nobody drives any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lagom_magic.launching import display_of, publisher_of
from lagom_magic.resuming import how_to_go_on

if TYPE_CHECKING:
    from lagom_magic.run import Run


def attach(run: Run, ui: str) -> str:
    """Show a run until it ends; an interrupt ends the watching and leaves the run alone.

    Args:
        run: whichever.
        ui: "auto", "widget", "html" or "text".

    Returns:
        What to say at the end, such as how to go on with a run that ended early; "" when the view has said it.
    """
    display = display_of(run, publisher_of(ui))
    if display is None:
        return ""
    display.start()
    try:
        run.wait()
    except KeyboardInterrupt:
        display.leave()
        return f"not watching any more; run {run.id} goes on. Stop it with: %lagom stop {run.id}"
    except BaseException:
        display.close()
        raise
    display.close()
    return how_to_go_on(run)
