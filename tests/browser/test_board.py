"""TensorBoard of a run inside JupyterLab: shown through the proxy to who is logged in, gone with who started it."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from jupyter_page import NotebookPage, open_server, write_notebook
from live_cells import LOAD, quick, view_of
from playwright.sync_api import BrowserContext, expect

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]

#: How long a process may take to notice that its parent has ended.
GONE_TIMEOUT_S = 20.0


def boards() -> list[psutil.Process]:
    """The TensorBoards below this process, and below what it started."""
    return [
        process
        for process in psutil.Process().children(recursive=True)
        if process.status() != psutil.STATUS_ZOMBIE and any("board_process.py" in word for word in process.cmdline())
    ]


def test_the_panel_shows_scalars_and_hyperparameters(browser: BrowserContext, tmp_path: Path, shots: Path) -> None:
    with open_server(tmp_path) as server:
        notebook = NotebookPage(server, browser.new_page())
        page = notebook.page
        write_notebook(server.root / "board.ipynb", LOAD, quick(trials=6), "%lagom board")
        notebook.open("board.ipynb").run_to_end(0)
        notebook.run_to_end(1)
        assert boards() == []
        view_of(notebook).get_by_role("button", name="TensorBoard").click()
        frame = page.frame_locator(".lagom-Board iframe")
        expect(frame.locator("scalar-card").first).to_be_visible()
        expect(frame.locator("scalar-card").first).to_contain_text("accuracy")
        page.screenshot(path=shots / "lab-board.png")
        frame.get_by_role("tab", name="HPARAMS").click()
        table = frame.locator("vaadin-grid, tf-hparams-table-view, hparams-table").first
        expect(table).to_contain_text("lr")
        expect(table).to_contain_text("kind")
        page.screenshot(path=shots / "lab-board-hparams.png")

        # the server's process shows it; without the token it answers nobody
        [of_server] = boards()
        address = page.locator(".lagom-Board iframe").get_attribute("src") or ""
        path = address.partition("/user/x/")[2].partition("?")[0]
        assert path.startswith("proxy/")
        assert server.get(path)[0] == 200
        assert server.get(path, with_token=False)[0] in (302, 403)

        # the kernel's own ends with the kernel, the server's goes on
        notebook.run_to_end(2)
        [of_kernel] = [process for process in boards() if process != of_server]
        in_the_cell = notebook.output(2).frame_locator("iframe")
        expect(in_the_cell.locator("scalar-card").first).to_be_visible()
        page.close()
        server.end_kernels()
        psutil.wait_procs([of_kernel], timeout=GONE_TIMEOUT_S)
        assert not of_kernel.is_running()
        assert of_server.is_running()
    psutil.wait_procs([of_server], timeout=GONE_TIMEOUT_S)
    assert not of_server.is_running()
    assert notebook.dialogs == []
    assert notebook.errors == []
