"""TensorBoard of a run inside JupyterLab: shown through the proxy to who is logged in.

It is gone with the run's kernel, with its panel, and with the server that started it.
"""

from __future__ import annotations

import json
from pathlib import Path

import psutil
import pytest
from jupyter_page import NotebookPage, open_server, write_notebook
from live_cells import LOAD, quick, view_of
from playwright.sync_api import BrowserContext, Locator, Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]

#: How long a process may take to notice that one has ended that it ends with.
GONE_TIMEOUT_S = 20.0


def boards() -> list[psutil.Process]:
    """The TensorBoards below this process, and below what it started."""
    return [
        process
        for process in psutil.Process().children(recursive=True)
        if process.status() != psutil.STATUS_ZOMBIE and any("board_process.py" in word for word in process.cmdline())
    ]


def until_gone(*processes: psutil.Process) -> None:
    assert psutil.wait_procs(processes, timeout=GONE_TIMEOUT_S)[1] == []


def tab_of_board(page: Page) -> Locator:
    return page.locator(".lm-DockPanel-tabBar .lm-TabBar-tab", has_text="TensorBoard:")


def panel_of_board(page: Page) -> Locator:
    return page.locator(".lagom-BoardPanel")


def test_the_panel_shows_scalars_and_hyperparameters(browser: BrowserContext, tmp_path: Path, shots: Path) -> None:
    with open_server(tmp_path) as server:
        notebook = NotebookPage(server, browser.new_page())
        page = notebook.page
        write_notebook(server.root / "board.ipynb", LOAD, quick(trials=6), "%lagom board")
        notebook.open("board.ipynb").run_to_end(0)
        notebook.run_to_end(1)
        assert boards() == []
        view_of(notebook).get_by_role("button", name="TensorBoard").click()
        frame = page.frame_locator(".lagom-BoardPanel iframe")
        expect(frame.locator("scalar-card").first).to_be_visible()
        expect(frame.locator("scalar-card").first).to_contain_text("accuracy")
        page.screenshot(path=shots / "lab-board.png")
        frame.get_by_role("tab", name="HPARAMS").click()
        table = frame.locator("vaadin-grid, tf-hparams-table-view, hparams-table").first
        expect(table).to_contain_text("lr")
        expect(table).to_contain_text("kind")
        expect(table).to_contain_text("0.8769")  # a trial's row
        page.screenshot(path=shots / "lab-board-hparams.png")

        # the server's process shows it; without the token it answers nobody
        [of_server] = boards()
        address = page.locator(".lagom-BoardPanel iframe").get_attribute("src") or ""
        path = address.partition("/user/x/")[2].partition("?")[0]
        assert path.startswith("proxy/")
        assert server.get(path)[0] == 200
        assert server.get(path, with_token=False)[0] in (302, 403)

        # a cell's is the kernel's own; both end with the kernel
        notebook.run_to_end(2)
        [of_kernel] = [process for process in boards() if process != of_server]
        in_the_cell = notebook.output(2)
        expect(in_the_cell.frame_locator("iframe").locator("scalar-card").first).to_be_visible()
        server.end_kernels()
        until_gone(of_kernel, of_server)
        expect(in_the_cell).to_contain_text("This TensorBoard has ended")

        # of a run whose kernel is gone, it ends with the server; leaving the page does not close the panel
        tab_of_board(page).click()
        expect(panel_of_board(page)).to_contain_text("TensorBoard has ended")
        panel_of_board(page).get_by_role("button", name="Reload").click()
        expect(frame.locator("scalar-card").first).to_be_visible()
        [of_past_run] = boards()
        page.close()
        assert of_past_run.is_running()
    until_gone(of_past_run)
    assert notebook.dialogs == []
    assert notebook.errors == []


@pytest.mark.parametrize("end", ["restarted", "shut down", "killed"])
def test_the_panels_tensorboard_ends_with_the_kernel_and_with_the_panel(notebook_page: NotebookPage, end: str) -> None:
    notebook, page, name = notebook_page, notebook_page.page, f"board_{end.replace(' ', '_')}"
    write_notebook(notebook.server.root / name / f"{name}.ipynb", LOAD, quick(trials=2))
    notebook.open(f"{name}/{name}.ipynb").run_to_end(0)
    notebook.run_to_end(1)
    view_of(notebook).get_by_role("button", name="TensorBoard").click()
    panel, frame = panel_of_board(page), page.frame_locator(".lagom-BoardPanel iframe")
    expect(frame.locator("scalar-card").first).to_be_visible()
    [first] = boards()

    if end == "killed":
        [run_json] = (notebook.server.root / name).glob("lagom_runs/*/*/run.json")
        psutil.Process(json.loads(run_json.read_text())["driver"]["pid"]).kill()
        page.locator(".jp-Dialog").get_by_role("button", name="Ok").click()  # JupyterLab says that it died
    else:
        notebook.change_kernel("restartKernel" if end == "restarted" else "shutdown")
    until_gone(first)
    expect(panel).to_contain_text("TensorBoard has ended")

    panel.get_by_role("button", name="Reload").click()
    expect(frame.locator("scalar-card").first).to_be_visible()
    [second] = boards()
    tab_of_board(page).locator(".lm-TabBar-tabCloseIcon").click()
    until_gone(second)
    expect(panel).to_have_count(0)


def test_a_panel_closed_while_tensorboard_starts_leaves_none(notebook_page: NotebookPage) -> None:
    notebook, page = notebook_page, notebook_page.page
    write_notebook(notebook.server.root / "board_closed" / "board_closed.ipynb", LOAD, quick(trials=2))
    notebook.open("board_closed/board_closed.ipynb").run_to_end(0)
    notebook.run_to_end(1)
    with page.expect_response(lambda response: "lagom/board" in response.url) as ended:
        view_of(notebook).get_by_role("button", name="TensorBoard").click()
        expect(panel_of_board(page)).to_contain_text("TensorBoard starts")
        tab_of_board(page).locator(".lm-TabBar-tabCloseIcon").click()
    assert ended.value.status == 204
    assert boards() == []
