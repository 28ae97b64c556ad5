"""The live view in a real JupyterLab: a cell comes alive, is steered while it is busy, and survives a reload."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from jupyter_page import NotebookPage, write_notebook
from live_cells import LOAD, row_of, slow, state_of, view_of
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]


def test_a_busy_cell_shows_its_trials_and_can_be_steered(notebook_page: NotebookPage, shots: Path) -> None:
    write_notebook(notebook_page.server.root / "steer.ipynb", LOAD, slow(long_from=2), "lagom_run.state")
    notebook_page.open("steer.ipynb").run_to_end(0)
    notebook_page.run(1)
    view = view_of(notebook_page)
    tiles = view.locator(".lagom-Tiles")
    expect(tiles).to_contain_text("none yet")
    height = tiles.evaluate("row => row.offsetHeight")
    expect(row_of(view, 1)).to_contain_text("ValueError")
    expect(view.locator(".lagom-Notices")).to_contain_text("1 trial failed: ValueError: a <b>bold</b> & bad moment")
    assert notebook_page.is_running(1)
    expect(view.locator(".lagom-Log")).to_contain_text("[w")
    notebook_page.page.screenshot(path=shots / "lab-live.png")

    # the failed trial: its error, its prints, and another try
    row_of(view, 1).locator("button").click()
    panel = view.locator(".lagom-Panel")
    expect(panel).to_contain_text("a <b>bold</b> & bad moment")
    expect(panel).to_contain_text("step 3")
    assert panel.locator("b").count() == 0
    panel.get_by_role("button", name="Retry").click()
    expect(row_of(view, 1)).not_to_contain_text("failed")
    panel.get_by_role("button", name="Close").click()

    # one that runs: pruned at its next report
    expect(row_of(view, 2)).to_contain_text("running")
    row_of(view, 2).locator("button").click()
    view.locator(".lagom-Panel").get_by_role("button", name="Prune").click()
    expect(row_of(view, 2)).to_contain_text("pruned")
    view.locator(".lagom-Panel").get_by_role("button", name="Close").click()
    assert notebook_page.is_running(1)

    # a complete one: its picture
    expect(row_of(view, 0)).to_contain_text("complete")
    row_of(view, 0).locator("button").click()
    picture = view.locator(".lagom-Panel img")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    notebook_page.page.screenshot(path=shots / "lab-trial.png")
    view.get_by_title("Show it large").click()
    expect(view.get_by_role("dialog").locator("img")).to_be_visible()
    notebook_page.page.keyboard.press("Escape")
    expect(view.get_by_role("dialog")).to_have_count(0)
    view.locator(".lagom-Panel").get_by_role("button", name="Close").click()

    # sorted by its header, filtered by words
    by_lr = view.get_by_role("columnheader", name="lr")
    by_lr.get_by_role("button").click()
    expect(by_lr).to_have_attribute("aria-sort", re.compile("ascending|descending"))
    view.get_by_role("searchbox", name="Filter trials").fill("state:pruned")
    expect(view.locator("tbody button[data-row]")).to_have_count(1)
    view.get_by_role("searchbox", name="Filter trials").fill("")

    assert notebook_page.is_running(1)
    view.get_by_role("button", name="Stop run").click()
    notebook_page.until_ended(1)
    expect(state_of(view)).to_contain_text("stopped")
    expect(notebook_page.output(1)).to_contain_text("RunStopped")

    # the tiles have not moved what stands below them, and fill their rows where they wrap
    notebook_page.page.wait_for_function(
        "([row, height]) => row.offsetHeight === height", arg=[tiles.element_handle(), height]
    )
    notebook_page.page.set_viewport_size({"width": 940, "height": 1000})
    notebook_page.page.wait_for_function(
        "([row, height]) => row.offsetHeight > height"
        " && row.getBoundingClientRect().right - row.lastChild.getBoundingClientRect().right < 1",
        arg=[tiles.element_handle(), height],
    )
    notebook_page.run_to_end(2)
    expect(notebook_page.output(2)).to_contain_text("STOPPED")


@pytest.mark.parametrize("options", ["", "--detach"], ids=["blocking", "detached"])
def test_after_a_reload_in_mid_run_the_view_is_back_complete(
    notebook_page: NotebookPage, options: str, shots: Path
) -> None:
    name = f"reload{options}.ipynb"
    write_notebook(notebook_page.server.root / name, LOAD, slow(trials=6, steps=20, options=options))
    notebook_page.open(name).run_to_end(0)
    notebook_page.run(1)
    expect(row_of(view_of(notebook_page), 2)).to_be_visible()
    notebook_page.save()
    notebook_page.reload()
    view = view_of(notebook_page)
    expect(row_of(view, 0)).to_be_visible()
    expect(row_of(view, 2)).to_be_visible()
    expect(row_of(view, 5)).to_be_visible()
    expect(state_of(view)).to_contain_text("complete")
    expect(view.locator("tbody button[data-row]")).to_have_count(6)
    expect(view.locator(".lagom-Log")).to_contain_text("step 19")
    notebook_page.page.screenshot(path=shots / f"lab-after-reload{options}.png")


def test_the_quickstart_shows_its_trials_curves_and_what_pruning_saved(
    notebook_page: NotebookPage, shots: Path, request: pytest.FixtureRequest
) -> None:
    notebook = nbformat.read(request.config.rootpath / "notebooks" / "quickstart.ipynb", as_version=4)
    load, data, search = [cell.source for cell in notebook.cells if cell.cell_type == "code"][:3]
    write_notebook(notebook_page.server.root / "quickstart.ipynb", load, data, search)
    notebook_page.page.set_viewport_size({"width": 1700, "height": 1250})
    notebook_page.open("quickstart.ipynb")
    for index in range(3):
        notebook_page.run_to_end(index)
    view = view_of(notebook_page, 2)
    expect(state_of(view)).to_contain_text("complete")
    expect(view.locator(".lagom-Tiles")).to_contain_text("saved")
    expect(view.get_by_role("columnheader", name="activation")).to_be_visible()
    expect(view.locator(".lagom-Chart").first.locator("path").first).to_be_attached()
    charts = view.locator("figcaption")
    expect(charts.filter(has_text="accuracy by step")).to_be_visible()
    expect(charts.filter(has_text="best so far")).to_be_visible()
    expect(view.locator(".lagom-Log")).to_contain_text("accuracy 0.")
    # at this width nothing of the table is out of sight
    assert view.locator(".lagom-Trials-box").evaluate("box => box.scrollWidth <= box.clientWidth")
    for is_light, name in ((False, "dark"), (True, "light")):
        notebook_page.set_theme(is_light)
        view.screenshot(path=shots / f"run-view-{name}.png", style=".lagom-Foot-folder { visibility: hidden }")
