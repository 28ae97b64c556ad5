"""What the browser ring needs: servers and a browser, once for all of its tests."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from jupyter_page import JupyterServer, NotebookPage, chromium, open_browser, open_server
from playwright.sync_api import BrowserContext, Playwright, expect, sync_playwright

expect.set_options(timeout=60_000)


@pytest.fixture(scope="session")
def playwright_driver() -> Iterator[Playwright]:
    if chromium() is None:
        pytest.skip("no chromium on this machine; `apt-get install chromium` brings it")
    with sync_playwright() as playwright:
        # Its helpers' threads get a name, so that the leak check can tell them from ours.
        playwright._impl_obj._loop.set_default_executor(ThreadPoolExecutor(thread_name_prefix="playwright"))
        yield playwright


@pytest.fixture(scope="session")
def lab(playwright_driver: Playwright, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    """JupyterLab on loopback, under a base URL."""
    with open_server(tmp_path_factory.mktemp("lab")) as server:
        yield server


@pytest.fixture(scope="session")
def browser(playwright_driver: Playwright, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    with open_browser(playwright_driver, tmp_path_factory.mktemp("browser")) as context:
        yield context


@pytest.fixture
def notebook_page(lab: JupyterServer, browser: BrowserContext) -> Iterator[NotebookPage]:
    """A fresh tab; its page must end without an error of its own and without a dialog."""
    page = browser.new_page()
    notebook = NotebookPage(lab, page)
    yield notebook
    page.close()
    lab.end_kernels()
    assert notebook.dialogs == []
    assert notebook.errors == []


@pytest.fixture
def shots(request: pytest.FixtureRequest) -> Path:
    """Where pictures go: `demo_output/pictures`, for a critical eye."""
    folder = Path(request.config.rootpath) / "demo_output" / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
