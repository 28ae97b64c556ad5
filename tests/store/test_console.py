from __future__ import annotations

import re
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lagom_magic.store.console import MAX_LINE_BYTES, LineLimiter, WorkerConsole, clean


def console(lines_per_s: float = 1e9, burst: int = 10**9) -> WorkerConsole:
    return WorkerConsole(1, LineLimiter(lines_per_s, burst))


def shown(*chunks: bytes, trial_id: int | None = 7) -> list[str]:
    it = console()
    return [line for chunk in chunks for line in it.feed(trial_id, 1, chunk, 0.0)] + it.flush()


def test_lines_carry_worker_and_trial() -> None:
    assert shown(b"epoch 1\nepoch 2\n") == ["[w1 t7] epoch 1", "[w1 t7] epoch 2"]
    assert shown(b"hello\n", trial_id=None) == ["[w1] hello"]


def test_a_line_may_arrive_in_pieces_and_end_with_its_trial() -> None:
    assert shown(b"ab", b"c\nde", b"f") == ["[w1 t7] abc", "[w1 t7] def"]


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_character_may_be_cut_anywhere(cut: int) -> None:
    data = "zäh 🙂 né\n".encode()
    assert shown(data[:cut], data[cut:]) == ["[w1 t7] zäh 🙂 né"]


def test_bytes_that_are_no_utf8_are_shown_escaped() -> None:
    assert shown(b"a\xff\xfeb\n") == ["[w1 t7] a\\xff\\xfeb"]


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"\r 10%\r 50%\r100%\n", "100%"),
        (b"10%\r50%\r100%\r\n", "100%"),
        (b"windows\r\n", "windows"),
        (b"odd\r\r\n", "odd"),
        (b"\r\n", ""),
    ],
)
def test_a_progress_bar_collapses_to_its_last_state(data: bytes, line: str) -> None:
    assert shown(data) == [f"[w1 t7] {line}"]
    assert shown(*(data[i : i + 1] for i in range(len(data)))) == [f"[w1 t7] {line}"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m\x1b[0m"),
        ("\x1b[1;38;5;9mx", "\x1b[1;38;5;9mx\x1b[0m"),
        ("\x1b[2K\x1b[1Aup", "up"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPdevice\x1b\\x", "x"),
        ("\x1b[?25lhidden cursor\x1b[?25h", "hidden cursor"),
        ("\x1b(Bx\x1bcy", "xy"),
        ("bell\x07 back\x08 nul\x00 del\x7f c1\x9b", "bell back nul del c1"),
        ("tab\tstays", "tab\tstays"),
        ("a\u202eb\u2028c", "abc"),
        ("\x1b", ""),
    ],
)
def test_only_colours_remain_of_escape_sequences(text: str, expected: str) -> None:
    assert clean(text) == expected


@given(st.text(st.characters(codec="utf-8") | st.sampled_from("\x1b[]m0;\x07\\\x9b")))
def test_cleaned_text_is_one_line_and_holds_no_control_but_colours_and_tabs(text: str) -> None:
    cleaned = clean(text)
    assert len(cleaned.splitlines()) <= 1
    without_colours = re.sub(r"\x1b\[[0-9;:]*m", "", cleaned)
    assert not re.search(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]", without_colours)


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
def test_how_output_is_cut_into_chunks_does_not_matter(data: bytes, cuts: list[int]) -> None:
    bounds = [0, *sorted(cuts), len(data)]
    chunks = [data[start:stop] for start, stop in pairwise(bounds)]
    assert shown(*chunks) == shown(data)


def test_a_long_line_is_capped_with_a_mark_and_costs_no_memory() -> None:
    it = console()
    chunk = b"x" * 1_000_000
    for _ in range(10):
        assert it.feed(7, 1, chunk, 0.0) == []
        assert len(it._open._kept) <= MAX_LINE_BYTES
    (line,) = it.feed(7, 1, b"\n", 0.0)
    assert line == f"[w1 t7] {'x' * 4096} … {10_000_000 - 4096:,} bytes more in trials/0007/output.log"


def test_an_endless_progress_bar_costs_no_memory() -> None:
    it = console()
    for percent in range(10_000):
        it.feed(7, 1, b"\r%d%% done" % percent, 0.0)
    assert it.feed(7, 1, b"\n", 0.0) == ["[w1 t7] 9999% done"]


def test_a_flood_is_cut_and_its_skipped_lines_are_counted() -> None:
    it = console(lines_per_s=200, burst=400)
    lines = it.feed(7, 1, b"".join(b"%d\n" % n for n in range(12_745)), 0.0)
    assert lines == [f"[w1 t7] {n}" for n in range(400)]
    assert it.flush() == ["[w1 t7] … 12,345 lines skipped, all in trials/0007/output.log"]
    assert it.flush() == []


def test_the_count_of_skipped_lines_precedes_the_next_line_shown() -> None:
    it = console(lines_per_s=1, burst=4)
    it.feed(7, 1, b"a\nb\nc\nd\ne\n", 0.0)
    assert it.feed(7, 1, b"f\n", 2.0) == ["[w1 t7] … 1 line skipped, all in trials/0007/output.log", "[w1 t7] f"]


def test_a_skipped_lines_beginning_does_not_stick_to_the_next_line() -> None:
    it = console(lines_per_s=1, burst=1)
    it.feed(7, 1, b"shown\nhalf a", 0.0)
    it.feed(7, 1, b" line\nmo", 0.0)
    assert it.feed(7, 1, b"re\n", 9.0)[-1] == "[w1 t7] more"


def test_the_limiter_opens_in_blocks_not_line_by_line() -> None:
    limiter = LineLimiter(lines_per_s=200, burst=400)
    assert limiter.take(1000, 0.0) == 400
    assert limiter.take(1000, 0.25) == 0
    assert limiter.take(1000, 0.5) == 100


def test_the_limiter_lets_a_quiet_worker_speak() -> None:
    limiter = LineLimiter(lines_per_s=200, burst=400)
    assert all(limiter.take(1, second / 100) == 1 for second in range(1000))


@given(st.lists(st.tuples(st.integers(0, 2000), st.floats(0, 1)), max_size=50))
def test_the_limiter_never_exceeds_burst_and_rate(requests: list[tuple[int, float]]) -> None:
    limiter, now, n_shown = LineLimiter(200, 400), 0.0, 0
    for n_lines, later in requests:
        now += later
        n_shown += limiter.take(n_lines, now)
    assert n_shown <= 400 + 200 * now + 1


def test_another_trial_of_the_worker_begins_on_a_line_of_its_own() -> None:
    it = console()
    assert it.feed(7, 1, b"unfinished", 0.0) == []
    assert it.feed(8, 1, b"next\n", 0.0) == ["[w1 t7] unfinished", "[w1 t8] next"]


def test_a_million_lines_are_cheap() -> None:
    it, chunk = WorkerConsole(1, LineLimiter()), b"a line of ordinary length, more or less\n" * 10_000
    began = time.process_time()
    n_lines = sum(len(it.feed(7, 1, chunk, 0.0)) for _ in range(100))
    assert n_lines == 400
    assert time.process_time() - began < 2.0
