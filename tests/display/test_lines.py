from __future__ import annotations

from pathlib import Path

from display_runs import GrowingRun

from lagom_magic.display.lines import BATCH_BYTES, Lines


def all_of(lines: Lines) -> list[str]:
    batches = []
    while batch := lines.take():
        batches.append(batch)
    lines.close()
    return batches


def test_lines_come_once_and_whole(tmp_path: Path) -> None:
    run, lines = GrowingRun(tmp_path / "run"), Lines(tmp_path / "run", None)
    assert lines.take() == ""
    run.print("[w1 t0] one\n[w1 t0] tw")
    assert lines.take() == "[w1 t0] one\n"
    run.print("o\n")
    assert all_of(lines) == ["[w1 t0] two\n"]


def test_batches_are_small(tmp_path: Path) -> None:
    text = "".join(f"[w1 t0] {number:040}\n" for number in range(2000))
    GrowingRun(tmp_path / "run").print(text)
    batches = all_of(Lines(tmp_path / "run", None))
    assert "".join(batches) == text
    assert all(len(batch) <= BATCH_BYTES and batch.endswith("\n") for batch in batches)


def test_of_a_flood_the_end_is_shown_and_the_rest_counted(tmp_path: Path) -> None:
    n_lines = 40_000
    GrowingRun(tmp_path / "run").print("".join(f"[w1 t0] {number:040}\n" for number in range(n_lines)))
    shown = "".join(all_of(Lines(tmp_path / "run", None))).split("\n")
    n_skipped = int(shown[0].split()[1].replace(",", ""))
    assert n_skipped + len(shown) - 2 == n_lines
    assert shown[-2].endswith(f"{n_lines - 1:040}")
    assert sum(map(len, shown)) < 8 * BATCH_BYTES


def test_a_notebook_takes_only_so_much(tmp_path: Path) -> None:
    run, lines = GrowingRun(tmp_path / "run"), Lines(tmp_path / "run", 30)
    run.print("[w1 t0] twenty bytes\n")
    assert lines.take() == "[w1 t0] twenty bytes\n"
    run.print("[w1 t0] twenty bytes\n")
    assert lines.take().split("\n")[1].startswith("… no more lines are shown in this notebook")
    run.print("[w1 t0] twenty bytes\n")
    assert all_of(lines) == []
