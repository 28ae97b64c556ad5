"""What axe-core finds wrong in what we draw: nothing serious, in the light and in the dark."""

from __future__ import annotations

from pathlib import Path

import pytest
from accessibility import violations
from jupyter_page import NotebookPage, open_server, write_notebook
from live_cells import LOAD, quick, row_of, slow, view_of
from playwright.sync_api import BrowserContext, expect

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]


def test_live_and_finished_views_and_the_side_bar_have_no_serious_violation(notebook_page: NotebookPage) -> None:
    page = notebook_page.page
    write_notebook(notebook_page.server.root / "axe" / "axe.ipynb", LOAD, quick(), slow(name="axe"))
    notebook_page.open("axe/axe.ipynb").run_to_end(0)
    notebook_page.run_to_end(1)
    finished, live = view_of(notebook_page), view_of(notebook_page, 2)
    expect(finished.locator(".lagom-Importance")).to_contain_text("%")
    expect(finished.locator("figcaption", has_text="hyperparameters of complete trials")).to_be_attached()
    notebook_page.run(2)
    expect(row_of(live, 1)).to_contain_text("failed")
    page.get_by_role("tab", name="Lagom runs").click()
    side_bar = page.locator(".lagom-Sidebar")
    expect(side_bar.locator("li")).to_have_count(2)
    for is_light in (False, True):
        notebook_page.set_theme(is_light)
        assert violations(live) == ""
        row_of(live, 1).locator("button").click()
        expect(live.locator(".lagom-Panel pre").first).to_be_visible()
        assert violations(live) == ""
        live.get_by_role("button", name="Close").click()
        assert violations(finished) == ""
        assert violations(side_bar) == ""
        assert violations(page.locator(".lagom-Status")) == ""
    live.get_by_role("button", name="Stop run").click()
    notebook_page.until_ended(2)
    assert violations(live) == ""


def test_the_board_panel_has_no_serious_violation(browser: BrowserContext, tmp_path: Path) -> None:
    with open_server(tmp_path) as server:
        notebook = NotebookPage(server, browser.new_page())
        write_notebook(server.root / "axe_board.ipynb", LOAD, quick(trials=2))
        notebook.open("axe_board.ipynb").run_to_end(0)
        notebook.run_to_end(1)
        view_of(notebook).get_by_role("button", name="TensorBoard").click()
        expect(notebook.page.locator(".lagom-Board iframe")).to_be_visible()
        assert violations(notebook.page.locator(".lagom-BoardPanel")) == ""
        notebook.page.close()
    assert notebook.dialogs == []
    assert notebook.errors == []
