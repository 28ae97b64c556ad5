"""An ablation in a real JupyterLab: its components are there while it runs, in the light and in the dark, and after."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from accessibility import violations
from golden import JOURNALS
from jupyter_page import JupyterServer, NotebookPage
from playwright.sync_api import Locator, Page, expect
from store_runs import record

from lagom_magic.events.facts import Fact, RunEnded, RunStarted, TrialEnded
from lagom_magic.store.journal import JournalReader
from lagom_magic.store.store import RunStore

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def facts(tmp_path: Path) -> list[Fact]:
    """A whole ablation: nine components, one of which cannot be left out, with four repeats."""
    shutil.copy(JOURNALS / "ablation.jsonl", tmp_path / "events.jsonl")
    return [line.fact for line in JournalReader(tmp_path).read_new()]


@contextmanager
def growing_run(home: Path) -> Iterator[RunStore]:
    """A run that this process writes, as its driver does."""
    store = RunStore.create(home, "small_net", {"kind": "ablate"}, "def train(): ...\n", pytest.fail)
    try:
        yield store
    finally:
        store.close()


def up_to(facts: list[Fact], n_ended: int) -> int:
    """How many facts there are until so many trials have ended."""
    ends = [at for at, fact in enumerate(facts) if isinstance(fact, TrialEnded)]
    return ends[n_ended - 1] + 1


def opened(notebook_page: NotebookPage, server: JupyterServer) -> Locator:
    """The view of the run that the side bar lists."""
    page = notebook_page.page
    page.goto(f"{server.url}lab/workspaces/ablation?reset&token={server.token}")
    page.get_by_role("tab", name="Lagom runs").click()
    row = page.locator(".lagom-Sidebar li", has_text="small_net")
    expect(row).to_contain_text("ablation by accuracy")
    row.locator(".lagom-RunList-open").click()
    return page.locator(".lagom-RunPanel .lagom-View")


def components(view: Locator) -> list[str]:
    return view.locator(".lagom-Ablation tbody th button").all_inner_texts()


def row_of(view: Locator, component: str) -> Locator:
    button = view.page.get_by_role("button", name=component, exact=True)
    return view.locator(".lagom-Ablation tbody tr").filter(has=button)


def is_inside(page: Page, selector: str) -> bool:
    """Whether nothing of the element is cut at its right."""
    return bool(page.locator(selector).evaluate("box => box.scrollWidth <= box.clientWidth"))


def test_components_come_alive_and_stay(
    notebook_page: NotebookPage, lab: JupyterServer, facts: list[Fact], shots: Path
) -> None:
    page = notebook_page.page
    with growing_run(lab.root / "ablate" / "lagom_runs") as store:
        assert isinstance(facts[0], RunStarted)
        record(store, facts[: up_to(facts, 5)])
        view = opened(notebook_page, lab)
        tiles = view.locator(".lagom-Tiles")
        expect(view.locator(".lagom-Ablation tbody tr")).to_have_count(5)
        expect(tiles).to_contain_text("baseline, 1 repeat · no interval")
        expect(row_of(view, "conv2")).to_contain_text("–")
        page.screenshot(path=shots / "ablation-one-repeat.png")

        # more trials end: intervals and evidence come by themselves
        record(store, facts[up_to(facts, 5) : up_to(facts, 26) + 1])
        expect(row_of(view, "conv2")).to_contain_text("worse")
        expect(view.locator(".lagom-Ablation .lagom-mod-why")).to_contain_text("NotRemovableError: stem")
        expect(row_of(view, "stem")).to_contain_text("failed")
        expect(row_of(view, "augment + norm")).to_contain_text("running")
        page.screenshot(path=shots / "ablation-live.png")
        record(store, facts[up_to(facts, 26) + 1 :])
        assert isinstance(facts[-1], RunEnded)
        expect(tiles).to_contain_text("baseline, 4 repeats (± sd) · evidence for 4 of 7 components")

    expect(view.locator(".lagom-Pill").first).to_contain_text("complete")
    assert components(view)[:3] == ["baseline", "augment + norm", "conv2"]
    assert components(view)[-1] == "stem"
    expect(row_of(view, "dropout")).to_contain_text("no evidence")
    expect(row_of(view, "augment + norm")).to_contain_text("interaction -0.02")
    expect(row_of(view, "fc1")).to_contain_text("-78 %")
    expect(view.locator(".lagom-Ablation-note")).to_contain_text("evidence is p < 0.05")
    assert is_inside(page, ".lagom-RunPanel .lagom-Ablation-box")
    expect(view.locator(".lagom-Importance, .lagom-Space")).to_have_count(0)
    expect(view.get_by_role("button", name="Copy best")).to_have_count(0)

    for is_light in (False, True):
        notebook_page.set_theme(is_light)
        assert violations(view) == ""
        page.screenshot(path=shots / f"ablation-{'light' if is_light else 'dark'}.png")

    # another metric, and the trials of one component
    view.get_by_role("combobox", name="metric").select_option("loss")
    expect(row_of(view, "conv2")).to_contain_text("higher")
    expect(view.locator(".lagom-Trials")).to_have_count(0)
    row_of(view, "conv2").get_by_role("button", name="conv2").click()
    expect(view.locator(".lagom-Trials tbody button[data-row]")).to_have_count(4)
    page.screenshot(path=shots / "ablation-trials.png")

    # a page that joins late has it at once, also where there is less room
    page.set_viewport_size({"width": 900, "height": 1000})
    view = opened(notebook_page, lab)
    expect(row_of(view, "conv2")).to_contain_text("worse")
    page.screenshot(path=shots / "ablation-narrow.png")
