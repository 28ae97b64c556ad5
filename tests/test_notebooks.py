"""The notebooks in `notebooks/` run as their readers run them, and keep their results when they are saved."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook

from lagom_magic.run import Run

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
QUICKSTART = ROOT / "notebooks" / "quickstart.ipynb"

FAILING_CELL = """\
%%lagom hpo --trials 2 --workers 1 --maximize accuracy
from lagom_magic import Float

def train(lr: Float(0.1, 1.0) = 0.5):
    raise ValueError("this training function never works")
"""


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def outputs_of(notebook: NotebookNode) -> Iterator[dict[str, Any]]:
    for cell in notebook.cells:
        yield from cell.get("outputs", [])


def bundles_of(notebook: NotebookNode) -> Iterator[dict[str, str]]:
    """MIME bundles of the runs' displays, each with an HTML and a plain table."""
    for output in outputs_of(notebook):
        data = output.get("data", {})
        if "text/html" in data and "run folder:" in data.get("text/plain", ""):
            yield data


def streams_of(notebook: NotebookNode) -> str:
    return "".join(output["text"] for output in outputs_of(notebook) if output["output_type"] == "stream")


def warnings_of(notebook: NotebookNode) -> str:
    """What a reader would see in red."""
    outputs = [output for output in outputs_of(notebook) if output.get("name") == "stderr"]
    return "".join(output["text"] for output in outputs)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder of its own with copies of the notebooks, so that runs land there."""
    for path in NOTEBOOKS:
        shutil.copy(path, tmp_path)
    return tmp_path


def run_tool(place: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LAGOM_HOME")}
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=place,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def nbconvert(place: Path, notebook: str, output: str) -> subprocess.CompletedProcess[str]:
    return run_tool(place, "nbconvert", "--execute", "--to", "notebook", notebook, "--output", output)


def the_run_in(place: Path, experiment: str = "*") -> Run:
    (document,) = place.glob(f"lagom_runs/{experiment}/*/run.json")
    return Run(document.parent)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs(path: Path) -> None:
    notebook = read(path)
    nbformat.validate(notebook)
    assert list(outputs_of(notebook)) == []
    assert all(cell.get("execution_count") is None for cell in notebook.cells)


def test_the_second_notebook_never_mentions_torch() -> None:
    assert "torch" not in (ROOT / "notebooks" / "sklearn_xgboost.ipynb").read_text()


@pytest.mark.lab
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nbconvert_saves_the_quickstart_with_its_final_table(place: Path) -> None:
    done = nbconvert(place, "quickstart.ipynb", "done.ipynb")
    assert done.returncode == 0, done.stderr
    executed = read(place / "done.ipynb")
    (bundle,) = bundles_of(executed)
    assert "<table" in bundle["text/html"]
    assert "PRUNED" in bundle["text/plain"]
    assert "[w1 t" in streams_of(executed)
    assert "[w2 t" in streams_of(executed)
    assert warnings_of(executed) == ""
    run = the_run_in(place)
    assert run.state == "COMPLETE"
    assert len(run.trials) == 20
    assert run.best is not None
    assert run.best.metric is not None
    assert run.best.metric > 0.9


@pytest.mark.lab
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_papermill_saves_the_quickstart_with_its_final_table(place: Path) -> None:
    done = run_tool(place, "papermill", "quickstart.ipynb", "done.ipynb", "--kernel", "python3")
    assert done.returncode == 0, done.stderr
    (bundle,) = bundles_of(read(place / "done.ipynb"))
    assert "<table" in bundle["text/html"]
    assert "COMPLETE" in bundle["text/plain"]


@pytest.mark.lab
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_second_notebook_runs_without_torch(place: Path) -> None:
    notebook = read(place / "sklearn_xgboost.ipynb")
    notebook.cells.append(new_code_cell("import sys; assert 'torch' not in sys.modules"))
    nbformat.write(notebook, place / "sklearn_xgboost.ipynb")
    done = nbconvert(place, "sklearn_xgboost.ipynb", "done.ipynb")
    assert done.returncode == 0, done.stderr
    executed = read(place / "done.ipynb")
    assert len(list(bundles_of(executed))) == 2
    assert warnings_of(executed) == ""
    importances = ast.literal_eval(list(outputs_of(executed))[-1]["data"]["text/plain"])
    assert max(importances.values()) > min(importances.values())
    assert the_run_in(place, "svm").state == "COMPLETE"
    boosting = the_run_in(place, "boosting")
    assert boosting.best is not None
    assert (boosting.best.dir / "artifacts" / "confusion.json").exists()


@pytest.mark.lab
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_one_function_runs_plainly_is_tuned_and_trains_on_two_workers(framework: str, place: Path) -> None:
    done = nbconvert(place, f"train_{framework}.ipynb", "done.ipynb")
    assert done.returncode == 0, done.stderr
    executed = read(place / "done.ipynb")
    search, training = bundles_of(executed)
    assert "6 complete" in search["text/plain"] or "4 complete" in search["text/plain"]
    assert "1 complete" in training["text/plain"]
    printed = streams_of(executed)
    assert "[r0] " in printed
    assert "[r1] " in printed
    runs = [Run(path.parent) for path in sorted(place.glob("lagom_runs/train/*/run.json"))]
    assert [run.state for run in runs] == ["COMPLETE", "COMPLETE"]
    trained = runs[1]
    assert trained.model_path is not None
    assert float(printed.rpartition("accuracy ")[2].split(",")[0]) > 0.9


@pytest.mark.lab
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("tool", ["nbconvert", "papermill"])
def test_a_run_that_fails_ends_the_tool_with_an_error(tool: str, tmp_path: Path) -> None:
    cells = [new_code_cell(source) for source in ("%load_ext lagom_magic", FAILING_CELL, "print('never reached')")]
    notebook = new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    nbformat.write(notebook, tmp_path / "failing.ipynb")
    if tool == "nbconvert":
        done = nbconvert(tmp_path, "failing.ipynb", "done.ipynb")
    else:
        done = run_tool(tmp_path, "papermill", "failing.ipynb", "done.ipynb", "--kernel", "python3")
    assert done.returncode != 0
    assert "RunFailed" in done.stderr
    assert "every one of the 2 trials failed" in done.stderr
    assert the_run_in(tmp_path).state == "FAILED"
