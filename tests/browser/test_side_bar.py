"""Side bar and status bar in a real JupyterLab: runs are listed, opened, deleted and stopped from there."""

from __future__ import annotations

from pathlib import Path

import pytest
from jupyter_page import NotebookPage, write_notebook
from live_cells import LOAD, quick, slow, state_of
from playwright.sync_api import Locator, expect

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]


def group(side_bar: Locator, name: str) -> Locator:
    return side_bar.get_by_role("region", name=name, exact=True)


def test_the_side_bar_opens_deletes_and_stops_runs(notebook_page: NotebookPage, shots: Path) -> None:
    page = notebook_page.page
    write_notebook(notebook_page.server.root / "listed" / "runs.ipynb", LOAD, quick(trials=3), slow(name="alive"))
    notebook_page.open("listed/runs.ipynb").run_to_end(0)
    notebook_page.run_to_end(1)
    status = page.locator(".lagom-Status")
    expect(status).to_be_hidden()
    notebook_page.run(2)
    expect(status).to_contain_text("lagom 0/60")
    expect(status).to_contain_text("best")

    # a click on how far it is shows the list
    status.get_by_role("button").click()
    side_bar = page.locator(".lagom-Sidebar")
    live, past = group(side_bar, "Live"), group(side_bar, "Past")
    expect(live.locator("li")).to_have_count(1)
    expect(live).to_contain_text("alive")
    expect(past.locator("li")).to_have_count(1)
    expect(past).to_contain_text("3 trials")
    page.screenshot(path=shots / "lab-side-bar.png")

    # a past run in a tab of its own
    past.locator(".lagom-RunList-open").click()
    panel = page.locator(".lagom-RunPanel .lagom-View")
    expect(panel.locator("tbody button[data-row]")).to_have_count(3)
    expect(state_of(panel)).to_contain_text("complete")
    expect(page.get_by_role("tab", name="Run: quick")).to_be_visible()
    page.screenshot(path=shots / "lab-run-tab.png")

    # it goes only when that is confirmed
    [folder] = (notebook_page.server.root / "listed" / "lagom_runs" / "quick").iterdir()
    past.get_by_role("button", name="Delete the run").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Delete this run of quick?")
    dialog.get_by_role("button", name="Keep").click()
    expect(dialog).to_have_count(0)
    assert folder.is_dir()
    past.get_by_role("button", name="Delete the run").click()
    dialog.get_by_role("button", name="Delete", exact=True).click()
    expect(past).to_have_count(0)
    assert not folder.exists()
    expect(live.locator("li")).to_have_count(1)

    # and the live one is stopped from here
    live.get_by_role("button", name="Stop the run").click()
    expect(dialog).to_contain_text("Stop the run of alive?")
    dialog.get_by_role("button", name="Stop the run").click()
    notebook_page.until_ended(2)
    expect(past).to_contain_text("stopped")
    expect(live).to_have_count(0)
    expect(status).to_be_hidden()
