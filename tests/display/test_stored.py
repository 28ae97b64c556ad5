"""What comparison and report read of a stored run."""

from __future__ import annotations

from pathlib import Path

from store_runs import run_on_disk

from lagom_magic.display.stored import read_stored


def test_the_source_of_a_run_is_the_one_that_it_went_on_with_last(tmp_path: Path) -> None:
    run = run_on_disk(tmp_path)
    assert read_stored(run).source == (run / "source.py").read_text()
    for number in (2, 10, 9):
        (run / f"source.{number}.py").write_text(f"number = {number}")
    assert read_stored(run).source == "number = 10"


def test_a_newest_source_that_cannot_be_read_is_told_of(tmp_path: Path) -> None:
    run = run_on_disk(tmp_path)
    (run / "source.2.py").mkdir()
    stored = read_stored(run)
    assert (stored.source, stored.missing) == ("", ("source.2.py cannot be read: it is no file",))
