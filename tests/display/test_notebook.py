"""The publisher in real kernels: output lands under the cell that began the run, and stays in a saved notebook."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import start_new_kernel
from jupyter_core.utils import ensure_event_loop
from nbclient import NotebookClient

pytestmark = pytest.mark.lab

SET_UP = f"""
import sys
sys.path[:0] = {[path for path in sys.path if path]!r}
from pathlib import Path
from display_runs import GrowingRun, run_started, some_run, trial_facts
from lagom_magic.display import Display, make_publisher
from lagom_magic.events.facts import *
run = GrowingRun(Path("run"))
"""
START = """
print("above")
display = Display(run.folder, make_publisher(), clock=lambda: 1e9)
display.start()
"""
DRIVE = """
run.record(some_run(is_ended=True))
run.print("[w1 t0] hello\\n")
display.wake()
print("mine")
assert display.close() and display.error is None
"""

Message = dict[str, Any]


@pytest.fixture(scope="module", autouse=True)
def event_loop_of_jupyter_client() -> None:
    """Make the one loop that jupyter_client keeps for its blocking calls, so that no test seems to leak it."""
    ensure_event_loop()


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[BlockingKernelClient]:
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(tmp_path))
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    manager.cleanup_resources()
    client.context.term()


def execute(client: BlockingKernelClient, *cells: str) -> tuple[list[str], list[Message]]:
    """Run the cells; ids of their requests, and all messages until the last one is idle."""
    requests, messages = [client.execute(cell) for cell in cells], []
    while True:
        message = client.get_iopub_msg(timeout=30)
        messages.append(message)
        is_idle = message["msg_type"] == "status" and message["content"]["execution_state"] == "idle"
        if is_idle and message["parent_header"]["msg_id"] == requests[-1]:
            break
    assert [m["content"]["evalue"] for m in messages if m["msg_type"] == "error"] == []
    return requests, messages


def outputs_of(request: str, messages: list[Message]) -> tuple[list[Message], str]:
    """(table messages, stream text) that belong to one cell."""
    own = [message for message in messages if message["parent_header"]["msg_id"] == request]
    tables = [message for message in own if message["msg_type"] in ("display_data", "update_display_data")]
    return tables, "".join(message["content"]["text"] for message in own if message["msg_type"] == "stream")


def test_a_thread_publishes_under_its_cell_while_a_later_one_runs(kernel: BlockingKernelClient) -> None:
    (_, first, second), messages = execute(kernel, SET_UP, START, DRIVE)
    tables, text = outputs_of(first, messages)
    assert text == "above\n[w1 t0] hello\n"
    assert [table["msg_type"] for table in tables[:2]] == ["display_data", "update_display_data"]
    assert len({table["content"]["transient"]["display_id"] for table in tables}) == 1
    assert "· complete ·" in tables[-1]["content"]["data"]["text/plain"]
    assert set(tables[-1]["content"]["data"]) == {"text/html", "text/plain"}
    assert outputs_of(second, messages) == ([], "mine\n")


def test_a_saved_notebook_holds_one_table_in_its_final_state(tmp_path: Path) -> None:
    cells = [nbformat.v4.new_code_cell(source) for source in (SET_UP, START + DRIVE)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, kernel_name="python3", timeout=60, resources={"metadata": {"path": tmp_path}}).execute()
    nbformat.validate(notebook)
    outputs = notebook.cells[1].outputs
    (table,) = [output for output in outputs if output.output_type == "display_data"]
    assert "· complete · 5 of 30 trials" in table.data["text/plain"]
    assert "complete" in table.data["text/html"]
    assert "[w1 t0] hello\n" in "".join(output.text for output in outputs if output.output_type == "stream")


def test_with_nobody_watching_the_table_comes_once_and_last(kernel: BlockingKernelClient) -> None:
    quiet = "import os; os.environ['LAGOM_NONINTERACTIVE'] = '1'"
    (*_, cell), messages = execute(kernel, SET_UP, quiet, START + DRIVE)
    tables, text = outputs_of(cell, messages)
    assert [table["msg_type"] for table in tables] == ["display_data"]
    assert "[w1 t0] hello\n" in text
    own = [m["msg_type"] for m in messages if m["parent_header"]["msg_id"] == cell and m["msg_type"] != "status"]
    assert own[-1] == "display_data"


def test_text_mode_leaves_html_out(kernel: BlockingKernelClient) -> None:
    (_, cell), messages = execute(kernel, SET_UP, START.replace("make_publisher()", "make_publisher('text')") + DRIVE)
    assert [set(table["content"]["data"]) for table in outputs_of(cell, messages)[0]][-1] == {"text/plain"}


def test_output_that_is_captured_stays_captured(kernel: BlockingKernelClient) -> None:
    captured = "%%capture caught\n" + (START + DRIVE).strip()
    check = "assert 'hello' in caught.stdout and 'text/html' in caught.outputs[-1].data, caught.stdout"
    (_, cell, _), messages = execute(kernel, SET_UP, captured, check)
    assert outputs_of(cell, messages) == ([], "")


def test_redirected_prints_go_where_they_were_sent(kernel: BlockingKernelClient) -> None:
    inner = "\n".join("    " + line for line in (START + DRIVE).strip().splitlines())
    redirected = f"import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()) as caught:\n{inner}\n"
    (_, cell), messages = execute(kernel, SET_UP, redirected + "assert '[w1 t0] hello' in caught.getvalue()")
    tables, text = outputs_of(cell, messages)
    assert (bool(tables), text) == (True, "")


def test_a_broken_anywidget_is_told_and_costs_no_run(kernel: BlockingKernelClient, tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "anywidget.py").write_text("raise RuntimeError('made for another traitlets')")
    cell = (
        "sys.path.insert(0, 'broken')\n"
        "import warnings\n"
        "assert not make_publisher('auto').wants_widget\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n"
        "    assert not make_publisher('widget').wants_widget\n"
        "assert 'anywidget is broken: RuntimeError: made for' in str(caught[-1].message), caught"
    )
    (_, request), messages = execute(kernel, SET_UP, cell)
    assert "shown without a widget" in outputs_of(request, messages)[1]
