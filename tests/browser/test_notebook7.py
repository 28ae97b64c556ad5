"""The live view in Notebook 7, which loads the same extension into another shell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from jupyter_page import NotebookPage, open_server, write_notebook
from live_cells import LOAD, row_of, slow, state_of, view_of
from playwright.sync_api import BrowserContext, expect

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def notebook7(browser: BrowserContext, tmp_path: Path) -> Iterator[NotebookPage]:
    with open_server(tmp_path, app="notebook") as server:
        notebook = NotebookPage(server, browser.new_page())
        yield notebook
        notebook.page.close()
        server.end_kernels()
    assert notebook.dialogs == []
    # Notebook 7.6 complains of its own settings on every page; what ours says names our files.
    assert [error for error in notebook.errors if "lagom-magic" in error] == []


def test_a_busy_cell_is_seen_and_stopped_in_notebook_7(notebook7: NotebookPage, shots: Path) -> None:
    write_notebook(notebook7.server.root / "classic.ipynb", LOAD, slow(), "lagom_run.state")
    notebook7.open("classic.ipynb", in_lab=False).run_to_end(0)
    notebook7.run(1)
    view = view_of(notebook7)
    expect(row_of(view, 1)).to_contain_text("failed")
    expect(view.locator(".lagom-Log")).to_contain_text("step 1")
    assert notebook7.is_running(1)
    row_of(view, 1).locator("button").click()
    expect(view.locator(".lagom-Panel")).to_contain_text("a <b>bold</b> & bad moment")
    notebook7.page.screenshot(path=shots / "notebook-live.png")
    view.get_by_role("button", name="Stop run").click()
    notebook7.until_ended(1)
    expect(state_of(view)).to_contain_text("stopped")
    notebook7.run_to_end(2)
    expect(notebook7.output(2)).to_contain_text("STOPPED")
