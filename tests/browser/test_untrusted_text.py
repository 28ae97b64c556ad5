"""Text that trials made stays text: under the cell, in the side bar, and in the notebook that is made of it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from jupyter_page import NotebookPage, write_notebook
from live_cells import LOAD, row_of, state_of, view_of
from playwright.sync_api import BrowserContext, Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]

IMAGE = "<img src=x onerror=alert(1)>"
RIGHT_TO_LEFT = "\u202e"
TEXTS = (
    IMAGE,
    "</script><script>alert(1)</script>",
    "</pre></td></table><svg onload=alert(1)>",
    "<iframe srcdoc='<script>parent.alert(1)</script>'></iframe>",
    "javascript:alert(1)",
    '"onmouseover="alert(1)" x="',
    "[a](javascript:alert(1)) $\\href{javascript:alert(1)}{x}$",
    f"safe{RIGHT_TO_LEFT}gpj.exe",
    "\x1b]8;;javascript:alert(1)\x1b\\click\x1b]8;;\x1b\\",
    "\x1b]0;title\x07\x1b[31;8mhidden\x1b[0m",
)

CELL = f"""\
%%lagom hpo --trials 3 --workers 1 --pruner none --maximize score --name hostile --seed 3
from lagom_magic import Categorical

TEXTS = {TEXTS!r}

def train(text: Categorical(TEXTS), reporter=None, trial=None):
    import warnings

    print("x" * 1_000_000)
    for index, words in enumerate(TEXTS):
        print(words)
        warnings.warn(words)
        reporter.broadcast({{"score": index, words: index}}, step=index)
    if trial.id == 1:
        raise type(TEXTS[0], (Exception,), {{}})("\\n".join(TEXTS))
    return {{"score": 1.0, **{{words: 2.0 for words in TEXTS}}, "note": TEXTS, "file": "made"}}
"""

#: What no text may become, in any page.
ELEMENTS = (
    "img[src='x'], svg[onload], [onerror], [onmouseover], iframe[srcdoc], "
    "a[href*='javascript' i], a[href*='alert' i], [src^='javascript' i]"
)


def assert_harmless(page: Page) -> None:
    assert page.locator(ELEMENTS).count() == 0
    assert page.evaluate("() => [...document.scripts].filter(it => it.text.trim() === 'alert(1)').length") == 0


def test_hostile_text_becomes_no_element(
    notebook_page: NotebookPage, browser: BrowserContext, tmp_path: Path, shots: Path
) -> None:
    page = notebook_page.page
    path = write_notebook(notebook_page.server.root / "hostile" / "texts.ipynb", LOAD, CELL)
    notebook_page.open("hostile/texts.ipynb").run_to_end(0)
    notebook_page.run_to_end(1)
    view = view_of(notebook_page)
    expect(state_of(view)).to_contain_text("complete")
    expect(view.locator(".lagom-Log")).to_contain_text(IMAGE)
    assert_harmless(page)
    for trial_id in (0, 1):
        row_of(view, trial_id).locator("button").click()
        panel = view.locator(".lagom-Panel")
        expect(panel.locator(".lagom-Panel-log")).to_contain_text("</script><script>alert(1)</script>")
        expect(panel).to_contain_text(IMAGE)
        assert_harmless(page)
        assert RIGHT_TO_LEFT not in view.inner_text()
        assert "\x1b" not in view.inner_text()
        page.screenshot(path=shots / f"lab-hostile-{trial_id}.png")
        panel.get_by_role("button", name="Close").click()
    view.get_by_role("searchbox", name="Filter trials").fill(IMAGE)
    view.get_by_role("searchbox", name="Search in prints").fill("<svg")
    expect(view.locator(".lagom-Log-line").first).to_contain_text("<svg onload=alert(1)>")
    assert_harmless(page)

    # a folder may be called anything, whatever we allow as a name
    runs = path.parent / "lagom_runs"
    shutil.copytree(runs / "hostile", runs / IMAGE)
    page.get_by_role("tab", name="Lagom runs").click()
    side_bar = page.locator(".lagom-Sidebar")
    expect(side_bar.locator("li")).to_have_count(2)
    expect(side_bar).to_contain_text(IMAGE)
    side_bar.locator("li", has_text=IMAGE).locator(".lagom-RunList-open").click()
    expect(page.locator(".lagom-RunPanel .lagom-View tbody button[data-row]")).to_have_count(3)
    assert_harmless(page)

    notebook_page.save()
    assert path.stat().st_size < 1_000_000
    html = tmp_path / "texts.html"
    command = [sys.executable, "-m", "nbconvert", "--to", "html", "--output-dir", str(tmp_path), str(path)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    saved = NotebookPage(notebook_page.server, browser.new_page())
    saved.page.route("http*://**", lambda route: route.abort())
    saved.page.goto(html.as_uri(), wait_until="domcontentloaded")
    expect(saved.page.locator(".lagom-run").first).to_contain_text("hostile")
    expect(saved.page.locator(".lagom-lines")).to_contain_text("<svg onload=alert(1)>")
    assert_harmless(saved.page)
    saved.page.screenshot(path=shots / "nbconvert-hostile.png", full_page=True)
    saved.page.close()
    assert saved.dialogs == []
