"""Every stored journal is told to a page as its stored updates say; run this file to write them anew.

The page's own model takes the same files in its tests.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from page import Page

from lagom_magic.display.reading import RunReading
from lagom_magic.display.updates import Updates
from lagom_magic.display.viewmodel import trial_row
from lagom_magic.store.journal import read_view

JOURNALS = sorted((Path(__file__).parents[1] / "journals").glob("*.jsonl"))
#: Where the page is told in between, in shares of the journal's lines.
PARTS = 3


def updates_of(journal: Path, folder: Path) -> list[dict[str, Any]]:
    """What a page is told while the journal grows in three parts and its driver then ends, with some prints."""
    lines = journal.read_bytes().splitlines(keepends=True)
    is_left_open = json.loads(journal.with_suffix(".table.json").read_text())["state"] == "RUNNING"
    told: list[dict[str, Any]] = []
    is_driven = True
    reading = RunReading(folder, lambda: is_driven)
    updates = Updates(reading.view, reading.lines)
    for part in range(PARTS):
        first, last = len(lines) * part // PARTS, len(lines) * (part + 1) // PARTS
        with open(folder / "events.jsonl", "ab") as file:
            file.writelines(lines[first:last])
        with open(folder / "console.log", "a", encoding="utf-8") as file:
            file.writelines(f"[w1 t{part}] line {number}\n" for number in range(first, last, 5))
        is_driven = is_left_open or part < PARTS - 1
        reading.refresh()
        while (update := updates.next((reading.view.updated_at or 0.0) + 1)) is not None:
            told.append(update)
    reading.close()
    return told


@pytest.mark.parametrize("journal", JOURNALS, ids=lambda journal: journal.stem)
def test_a_journal_is_told_as_its_stored_updates_say(journal: Path, tmp_path: Path) -> None:
    stored = json.loads(journal.with_suffix(".updates.json").read_text("utf-8"))
    assert json.loads(json.dumps(updates_of(journal, tmp_path), allow_nan=False)) == stored


@pytest.mark.parametrize("journal", JOURNALS, ids=lambda journal: journal.stem)
def test_a_page_that_was_told_holds_the_run_at_its_end(journal: Path, tmp_path: Path) -> None:
    page = Page()
    page.take_all(updates_of(journal, tmp_path))
    view = read_view(tmp_path)
    is_left_open = page.run["state"] == "RUNNING"
    assert is_left_open or page.run["state"] == view.state.value
    assert len(page.trials) == len(view.trials)
    if not is_left_open:
        assert page.trials == {trial.id: json.loads(json.dumps(trial_row(trial))) for trial in view.trials.values()}


if __name__ == "__main__":
    import tempfile

    for path in JOURNALS:
        with tempfile.TemporaryDirectory() as place:
            document = ",\n".join(json.dumps(update, ensure_ascii=False) for update in updates_of(path, Path(place)))
        path.with_suffix(".updates.json").write_text(f"[\n{document}\n]\n", encoding="utf-8")
