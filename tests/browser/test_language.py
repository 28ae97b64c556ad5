"""The live view in the language that JupyterLab is set to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jupyter_page import NotebookPage, open_server, write_notebook
from playwright.sync_api import BrowserContext, expect

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]

CELL = """\
%%lagom hpo --trials 4 --workers 2 --pruner none --name short
from lagom_magic import Float

def train(x: Float(0, 1) = 0.5):
    return x
"""


def test_a_german_jupyterlab_shows_the_run_in_german(browser: BrowserContext, tmp_path: Path, shots: Path) -> None:
    settings = tmp_path / "user-settings" / "@jupyterlab" / "translation-extension"
    settings.mkdir(parents=True)
    (settings / "plugin.jupyterlab-settings").write_text(json.dumps({"locale": "de_DE"}))
    with open_server(tmp_path) as server:
        write_notebook(server.root / "german.ipynb", "%load_ext lagom_magic", CELL)
        page = browser.new_page()
        notebook = NotebookPage(server, page).open("german.ipynb")
        notebook.run_to_end(0)
        notebook.run_to_end(1)
        view = notebook.output(1).locator(".lagom-View")
        expect(view.locator(".lagom-Pill")).to_contain_text("abgeschlossen")
        expect(view.get_by_role("button", name="Besten kopieren")).to_be_visible()
        expect(view).to_contain_text("von 4 Versuchen")
        for title in ("Versuch", "Zustand", "Worker", "Zeit"):
            expect(view.get_by_role("columnheader", name=title)).to_be_visible()
        view.get_by_role("searchbox", name="Versuche filtern").fill("Zustand:abgeschlossen Versuch>1")
        expect(view.locator("tbody button[data-row]")).to_have_count(2)
        view.get_by_role("searchbox", name="Versuche filtern").fill("")
        page.screenshot(path=shots / "lab-german.png")
        page.close()
        server.end_kernels()
