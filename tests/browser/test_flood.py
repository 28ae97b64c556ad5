"""A flood of short trials that print: nothing is lost on its way to the table, to the logs and to the notebook.

Completeness alone; how quick it is says `make bench-ui`.
"""

from __future__ import annotations

import re

import pytest
from jupyter_page import NotebookPage, write_notebook
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]

N_TRIALS, N_LINES = 2_000, 20

FLOOD = f"""\
%%lagom hpo --trials {N_TRIALS} --workers 2 --sampler random --pruner none --maximize score --name flood --seed 1
from lagom_magic import Float

def train(x: Float(0, 1) = 0.5, trial=None):
    for n in range({N_LINES}):
        print(f"trial {{trial.id}} line {{n}}")
    return {{"score": x}}
"""

SKIPPED = re.compile(r"… ([\d,]+) lines? skipped, all in trials/")


def test_a_flood_of_trials_and_prints_arrives_complete(notebook_page: NotebookPage) -> None:
    root = notebook_page.server.root
    write_notebook(root / "flood.ipynb", "%load_ext lagom_magic", FLOOD)
    notebook_page.open("flood.ipynb").run_to_end(0)
    notebook_page.run_to_end(1, timeout_ms=200_000)

    view = notebook_page.output(1).locator(".lagom-View")
    expect(view.locator(".lagom-Pill")).to_contain_text("complete")
    view.get_by_label("Filter trials").fill("state:complete")
    expect(view.locator(".lagom-Trials .lagom-Toolbar-note")).to_have_text(f"{N_TRIALS:,} of {N_TRIALS:,} trials")

    (run_dir,) = root.glob("lagom_runs/flood/*-*-*")
    for trial_id in range(N_TRIALS):
        log = run_dir / "trials" / f"{trial_id:04d}" / "output.log"
        assert log.read_text() == "".join(f"trial {trial_id} line {n}\n" for n in range(N_LINES))

    console = (run_dir / "console.log").read_text().splitlines()
    n_skipped = sum(int(found[1].replace(",", "")) for line in console if (found := SKIPPED.search(line)))
    n_shown = sum(" line " in line and not SKIPPED.search(line) for line in console)
    assert n_shown + n_skipped == N_TRIALS * N_LINES

    server_log = (root.parent / "server.log").read_text()
    assert not re.search(r"IOPub (message|data) rate|rate exceeded", server_log)
