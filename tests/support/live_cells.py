"""Cells that browser tests run, and where a page shows them."""

from __future__ import annotations

from jupyter_page import NotebookPage
from playwright.sync_api import Locator

LOAD = "%load_ext lagom_magic"

#: Trial 1 fails at its first attempt; each takes some seconds, prints, reports, and returns a picture.
_SLOW = """\
%%lagom hpo --trials {trials} --workers 2 --pruner none --maximize accuracy --name {name} --seed 1 {options}
from lagom_magic import Categorical, Float

def train(
    lr: Float(1e-4, 1e-1, log=True) = 1e-2, kind: Categorical(["relu", "tanh"]) = "relu", reporter=None, trial=None
):
    import time
    from matplotlib.figure import Figure

    for step in range(1, {steps} if trial.id < {long_from} else 100 * {steps}):
        print(f"step {{step}}: \\x1b[32mlr\\x1b[0m {{lr:.4f}}")
        reporter.broadcast(1 - 1 / (step + 1) - lr, step=step)
        if trial.id == 1 and trial.attempt == 1 and step == 3:
            raise ValueError("a <b>bold</b> & bad moment")
        time.sleep(0.25)
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, 1], [1, lr])
    return {{"accuracy": 1 - lr, "figure": figure}}
"""

#: Its best learning rate is 0.01, and tanh is a little worse; trial 3 fails.
_QUICK = """\
%%lagom hpo --trials {trials} --workers 2 --pruner none --maximize accuracy --name quick --seed 2
from lagom_magic import Categorical, Float, Int

def train(
    lr: Float(1e-4, 1e-1, log=True), width: Int(16, 256), kind: Categorical(["relu", "tanh"]), reporter=None, trial=None
):
    import math
    import time

    top = 0.97 - 0.12 * abs(math.log10(lr) + 2) - (0.05 if kind == "tanh" else 0) - 1 / width
    for step in range(1, 9):
        accuracy = top * (1 - math.exp(-step / 2)) + 0.01 * math.sin(7 * step * lr + trial.id)
        loss = -math.log(max(accuracy, 0.01))
        print(f"epoch {{step}}: accuracy \\x1b[32m{{accuracy:.3f}}\\x1b[0m, loss {{loss:.3f}}")
        reporter.broadcast(accuracy, step=step)
        if trial.id == 3 and step == 5:
            raise ValueError("loss is nan: the learning rate is too large")
        time.sleep(0.02)
    return {{"accuracy": accuracy, "loss": loss}}
"""


def slow(trials: int = 60, steps: int = 24, options: str = "", name: str = "slow", long_from: int = 1_000_000) -> str:
    """A run to steer: each trial takes a quarter of a second a step; those from `long_from` on do not soon end."""
    return _SLOW.format(trials=trials, steps=steps, options=options, name=name, long_from=long_from)


def quick(trials: int = 14) -> str:
    """A run to look at when it has ended."""
    return _QUICK.format(trials=trials)


def view_of(notebook: NotebookPage, cell: int = 1) -> Locator:
    """The view under a cell."""
    return notebook.output(cell).locator(".lagom-View")


def state_of(view: Locator) -> Locator:
    """The state of the whole run."""
    return view.locator(".lagom-Head .lagom-Pill")


def row_of(view: Locator, trial_id: int) -> Locator:
    """A trial's row in the table."""
    return view.locator(f"tr:has(button[data-row='{trial_id}'])")
