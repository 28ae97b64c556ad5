from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from lagom_magic.store.console_file import ConsoleReader, ConsoleWriter
from lagom_magic.store.layout import RunLayout


def test_a_reader_gets_each_line_once(tmp_path: Path) -> None:
    writer, reader = ConsoleWriter(RunLayout(tmp_path)), ConsoleReader(tmp_path)
    assert reader.read_new(1 << 16) == ""
    writer.write(["a", "b"])
    assert reader.read_new(1 << 16) == "a\nb\n"
    writer.write(["c"])
    assert reader.read_new(1 << 16) == "c\n"
    assert reader.read_new(1 << 16) == ""
    writer.close()
    reader.close()


def test_a_reader_takes_whole_lines_up_to_its_limit(tmp_path: Path) -> None:
    writer, reader = ConsoleWriter(RunLayout(tmp_path)), ConsoleReader(tmp_path)
    writer.write(["x" * 99 for _ in range(100)])
    writer.close()
    first = reader.read_new(8192)
    assert first == ("x" * 99 + "\n") * 81
    assert len(first + reader.read_new(8192)) == 10_000
    reader.close()


def test_the_console_never_grows_beyond_two_parts_and_a_late_reader_begins_with_the_older(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path)
    writer = ConsoleWriter(layout, max_part_bytes=1000)
    for number in range(500):
        writer.write([f"line {number:04d}"])
    writer.close()
    assert layout.console.stat().st_size + layout.older_console.stat().st_size <= 2000
    reader = ConsoleReader(tmp_path)
    lines = reader.read_new(1 << 16).splitlines()
    reader.close()
    assert lines == [f"line {number:04d}" for number in range(500 - len(lines), 500)]
    assert len(lines) > 100


@given(st.lists(st.integers(1, 60), min_size=1, max_size=30))
def test_a_reader_that_keeps_up_loses_nothing_when_the_page_turns(tmp_path_factory: object, batches: list[int]) -> None:
    folder = tmp_path_factory.mktemp("console")  # type: ignore[attr-defined]
    writer, reader = ConsoleWriter(RunLayout(folder), max_part_bytes=500), ConsoleReader(folder)
    written, read = "", ""
    for number, n_lines in enumerate(batches):
        lines = [f"{number}-{line}" for line in range(n_lines)]
        writer.write(lines)
        written += "".join(f"{line}\n" for line in lines)
        read += reader.read_new(1 << 16)
    writer.close()
    reader.close()
    assert read == written


def test_text_that_is_no_unicode_is_written_escaped(tmp_path: Path) -> None:
    writer, reader = ConsoleWriter(RunLayout(tmp_path)), ConsoleReader(tmp_path)
    writer.write(["\ud800"])
    assert reader.read_new(1 << 16) == "\\ud800\n"
    writer.close()
    reader.close()
