"""Every golden journal folds to the table that stands beside it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from golden import JOURNALS, expected_table, table_of

from lagom_magic.events.fold import RunView, fold
from lagom_magic.store.journal import JournalReader, read_view

NAMES = sorted(path.name.removesuffix(".jsonl") for path in JOURNALS.glob("*.jsonl"))


def fold_all(run_dir: Path) -> RunView:
    view = RunView()
    for line in JournalReader(run_dir).read_new():
        fold(view, line.fact, line.time)
    return view


@pytest.mark.parametrize("name", NAMES)
def test_a_golden_journal_folds_to_its_expected_table(name: str, tmp_path: Path) -> None:
    shutil.copy(JOURNALS / f"{name}.jsonl", tmp_path / "events.jsonl")
    is_live = expected_table(name)["state"] == "RUNNING"
    view = fold_all(tmp_path) if is_live else read_view(tmp_path)
    assert table_of(view) == expected_table(name)


@pytest.mark.parametrize("name", NAMES)
def test_a_journal_read_byte_by_byte_folds_to_the_same_table(name: str, tmp_path: Path) -> None:
    data = (JOURNALS / f"{name}.jsonl").read_bytes()
    view, reader = RunView(), JournalReader(tmp_path)
    (tmp_path / "events.jsonl").write_bytes(b"")
    with open(tmp_path / "events.jsonl", "ab", buffering=0) as journal:
        for start in range(0, len(data), 97):
            journal.write(data[start : start + 97])
            for line in reader.read_new():
                fold(view, line.fact, line.time)
    assert table_of(view) == table_of(fold_all(tmp_path))
    assert reader.n_unreadable == 0
