"""Kernels older than the one that the other tests run in: the view's Stop reaches a busy cell there too.

Where there is no way to such a kernel, the view says to use ■.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from jupyter_page import NotebookPage, open_server, write_notebook
from live_cells import LOAD, row_of, slow, state_of, view_of
from playwright.sync_api import BrowserContext, expect

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]

#: 6.29 has no subshells; 7.3 has, and does not send a comm's messages back to the main shell as 7.4 does.
PACKAGES = {"6.29.5": ["ipykernel==6.29.5", "nest-asyncio==1.6.0"], "7.3.0": ["ipykernel==7.3.0"]}
INSTALL_TIMEOUT_S = 120
#: (version, whether the view is drawn by the run's folder; else by the kernel's widget). The widget of 6.29 hears
#: nothing while its cell is busy; the last test shows what it says then.
CASES = {
    "6.29-by-folder": ("6.29.5", True),
    "7.3-by-folder": ("7.3.0", True),
    "7.3-by-widget": ("7.3.0", False),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[str, bool]:
    return CASES[request.param]


@pytest.fixture
def ipykernel_version(case: tuple[str, bool]) -> str:
    return case[0]


@pytest.fixture
def kernel_folder(ipykernel_version: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for JUPYTER_PATH with a kernel 'older' of that version; all else is this environment's."""
    folder = tmp_path_factory.mktemp("kernel")
    packages = folder / "packages"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    answer = subprocess.run(
        [*command, "--no-deps", "--target", str(packages), *PACKAGES[ipykernel_version]],
        capture_output=True,
        text=True,
        timeout=INSTALL_TIMEOUT_S,
        check=False,
    )
    if answer.returncode != 0:
        pytest.skip(f"ipykernel {ipykernel_version} cannot be installed here: {answer.stderr[-300:]}")
    spec = folder / "kernels" / "older"
    spec.mkdir(parents=True)
    kernel = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": f"ipykernel {ipykernel_version}",
        "language": "python",
        "env": {"PYTHONPATH": str(packages)},
    }
    (spec / "kernel.json").write_text(json.dumps(kernel))
    return folder


@pytest.fixture
def notebook(
    case: tuple[str, bool], kernel_folder: Path, browser: BrowserContext, tmp_path: Path
) -> Iterator[NotebookPage]:
    """A tab in a JupyterLab that shows runs by their folder, or by the kernel's widget."""
    settings = {"lagom-magic:plugin": {"takesOverOutputs": case[1]}}
    with open_server(tmp_path, variables={"JUPYTER_PATH": str(kernel_folder)}, settings=settings) as server:
        notebook = NotebookPage(server, browser.new_page())
        yield notebook
        notebook.page.close()
        server.end_kernels()
    assert notebook.dialogs == []
    assert notebook.errors == []


def test_a_busy_cell_is_stopped_by_its_view_in_older_kernels(notebook: NotebookPage, ipykernel_version: str) -> None:
    cells = (LOAD, slow(), "lagom_run.state", "import ipykernel; ipykernel.__version__")
    write_notebook(notebook.server.root / "older.ipynb", *cells, kernel_name="older")
    notebook.open("older.ipynb").run_to_end(0)
    notebook.run(1)
    view = view_of(notebook)
    expect(row_of(view, 1)).to_contain_text("failed")
    assert notebook.is_running(1)
    view.get_by_role("button", name="Stop run").click()
    notebook.until_ended(1)
    expect(state_of(view)).to_contain_text("stopped")
    notebook.run_to_end(2)
    expect(notebook.output(2)).to_contain_text("STOPPED")
    notebook.run_to_end(3)
    expect(notebook.output(3)).to_contain_text(ipykernel_version)


@pytest.fixture
def notebook_without_extension(kernel_folder: Path, browser: BrowserContext, tmp_path: Path) -> Iterator[NotebookPage]:
    """A tab in a JupyterLab whose server has not loaded our extension, so that the widget alone shows runs."""
    config = tmp_path / "config"
    config.mkdir()
    extensions = {"jupyterlab": True, "lagom_magic": False}
    (config / "jupyter_server_config.json").write_text(json.dumps({"ServerApp": {"jpserver_extensions": extensions}}))
    variables = {"JUPYTER_PATH": str(kernel_folder), "JUPYTER_CONFIG_DIR": str(config)}
    with open_server(tmp_path, variables=variables) as server:
        assert server.get("lagom/runs")[0] == 404
        notebook = NotebookPage(server, browser.new_page())
        yield notebook
        notebook.page.close()
        server.end_kernels()
    assert notebook.dialogs == []
    assert notebook.errors == []


@pytest.mark.parametrize("ipykernel_version", ["6.29.5"])
def test_a_view_that_nobody_answers_says_to_use_the_toolbar(notebook_without_extension: NotebookPage) -> None:
    notebook = notebook_without_extension
    cells = (LOAD, slow(long_from=0), "lagom_run.state")
    write_notebook(notebook.server.root / "alone.ipynb", *cells, kernel_name="older")
    notebook.open("alone.ipynb").run_to_end(0)
    notebook.run(1)
    view = view_of(notebook)
    expect(row_of(view, 0)).to_contain_text("running")
    view.locator("button[data-row='0']").click()
    panel = view.locator(".lagom-Panel")
    panel.get_by_role("button", name="Prune").click()
    expect(panel).to_contain_text("The kernel did not answer. ■ in the toolbar stops the whole run.")
    view.get_by_role("button", name="Stop run").click()
    expect(view.locator(".lagom-Head")).to_contain_text(
        "The kernel did not answer. Press ■ in the toolbar to stop the run."
    )
    assert notebook.is_running(1)
    notebook.command("notebook:interrupt-kernel")
    notebook.until_ended(1)
    expect(state_of(view)).to_contain_text("stopped")
    notebook.run_to_end(2)
    expect(notebook.output(2)).to_contain_text("STOPPED")
