"""Runs the quickstart notebook headless in a real kernel; `make demo` calls it.

Leaves the run folder, the executed notebook and its HTML in `demo_output/`, and says which trial was best and where
things are.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter
from nbformat import NotebookNode

from lagom_magic.run import Run

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "notebooks" / "quickstart.ipynb"
OUTPUT = ROOT / "demo_output"
HOME = OUTPUT / "lagom_runs"
#: One cell may not take longer; a machine that is short of memory would otherwise seem to hang.
CELL_TIMEOUT_S = 1200


class EchoingClient(NotebookClient):
    """Executes a notebook and shows what its cells print while they run."""

    def output(self, outs: list[NotebookNode], msg: dict[str, Any], display_id: str, cell_index: int) -> Any:
        if msg["msg_type"] == "stream":
            sys.stdout.write(msg["content"]["text"])
            sys.stdout.flush()
        return super().output(outs, msg, display_id, cell_index)


def execute(notebook: NotebookNode, folder: Path) -> None:
    """Run every cell, in `folder`, in a kernel of this Python.

    Raises:
        CellExecutionError: when a cell fails; the cells until then have their outputs.
    """
    client = EchoingClient(
        notebook,
        timeout=CELL_TIMEOUT_S,
        kernel_name="python3",
        coalesce_streams=True,
        extra_arguments=["--IPKernelApp.log_level=40"],  # its warning about loopback without encryption
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute()


def save(notebook: NotebookNode) -> tuple[Path, Path]:
    """Where the executed notebook and its HTML now are."""
    executed, html = OUTPUT / NOTEBOOK.name, OUTPUT / f"{NOTEBOOK.stem}.html"
    nbformat.write(notebook, executed)
    body, _ = HTMLExporter().from_notebook_node(notebook)
    html.write_text(body, encoding="utf-8")
    return executed, html


def final_table(notebook: NotebookNode) -> str:
    """The run's plain-text face, as it stands in the executed notebook."""
    texts = (
        output.get("data", {}).get("text/plain", "") for cell in notebook.cells for output in cell.get("outputs", [])
    )
    return next(text for text in texts if "run folder:" in text)


def run_documents() -> set[Path]:
    """The `run.json` of every run below `HOME`."""
    return set(HOME.glob("*/*/run.json"))


def describe(run: Run) -> str:
    """One line: the best trial, its metric and hyperparameters."""
    best = run.best
    if best is None:
        return f"Run {run.id} is {run.state} and has no best trial."
    hparams = ", ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}" for name, value in best.hparams.items()
    )
    return f"Best of {len(run.trials)} trials: trial {best.id} with {best.metric:.4f}  ({hparams})"


def main() -> int:
    """Exit status: 0 when every cell ran."""
    OUTPUT.mkdir(exist_ok=True)
    os.environ["LAGOM_HOME"] = str(HOME)
    before = run_documents()
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    print(f"Running {NOTEBOOK.relative_to(ROOT)} in a kernel of its own", flush=True)
    error = None
    try:
        execute(notebook, NOTEBOOK.parent)
    except CellExecutionError as failure:
        error = failure
    executed, html = save(notebook)
    if error is not None:
        print(error, file=sys.stderr)
        print(f"The demo failed; as far as it came: {executed.relative_to(ROOT)}", file=sys.stderr)
        return 1
    (run_json,) = run_documents() - before
    run_dir = run_json.parent
    print()
    print(final_table(notebook))
    print()
    print(describe(Run(run_dir)))
    print(f"  run folder         {run_dir.relative_to(ROOT)}")
    print(f"  executed notebook  {executed.relative_to(ROOT)}")
    print(f"  as a web page      {html.relative_to(ROOT)}")
    logdir = run_dir.relative_to(ROOT) / "tensorboard"
    print(f"  TensorBoard        .venv/bin/tensorboard --host 127.0.0.1 --logdir {logdir}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
