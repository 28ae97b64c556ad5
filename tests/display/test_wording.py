from __future__ import annotations

import pytest

from lagom_magic.display.wording import count, duration, hparam, metric, number, one_line, percent, size


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "–"),
        (3, "3"),
        (0.98333, "0.9833"),
        (0.5, "0.5"),
        (0.00031, "3.1e-4"),
        (1e-5, "1e-5"),
        (12345.6, "12346"),
        (123456789, "1.235e8"),
        (10**400, "1e400"),
        (0.0, "0"),
        (-0.25, "-0.25"),
        (float("inf"), "inf"),
        (float("nan"), "nan"),
    ],
)
def test_numbers_are_compact(value: float | None, written: str) -> None:
    assert number(value) == written


def test_metrics_keep_their_zeros_so_a_column_lines_up() -> None:
    assert [metric(value) for value in (0.98, 1.0, 12.3, 1234.5, 2e-7, None)] == [
        "0.9800",
        "1.000",
        "12.30",
        "1234",
        "2e-7",
        "–",
    ]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (True, "True"),
        (None, "None"),
        (0.0123456, "0.0123"),
        (64, "64"),
        ("adam", "adam"),
        ([64, 32], "[64, 32]"),
        ("x" * 30, "x" * 23 + "…"),
    ],
)
def test_hyperparameters_are_written_as_a_person_would(value: object, written: str) -> None:
    assert hparam(value) == written


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (None, "–"),
        (0.0041, "4 ms"),
        (0.8, "0.8 s"),
        (9.96, "10 s"),
        (59.6, "1m 00s"),
        (72, "1m 12s"),
        (3599.7, "1h 00m"),
        (7500, "2h 05m"),
        (273600, "3d 04h"),
    ],
)
def test_durations_have_two_units(seconds: float | None, written: str) -> None:
    assert duration(seconds) == written


@pytest.mark.parametrize(
    ("n_bytes", "written"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1_000, "1 kB"),
        (48_149, "48.1 kB"),
        (999_499, "999 kB"),
        (999_500, "1 MB"),
        (1_234_000_000, "1.23 GB"),
        ((1 << 63) - 1, "9.22 EB"),
        (1 << 63, ""),
        (10**400, ""),
        (-1, ""),
        (3.0, ""),
        (True, ""),
        ("3", ""),
    ],
)
def test_sizes_have_three_digits_and_what_is_no_size_has_none(n_bytes: object, written: str) -> None:
    assert size(n_bytes) == written


def test_counts_agree_with_their_nouns() -> None:
    assert [count(1, "trial"), count(2, "trial"), count(1204, "line")] == ["1 trial", "2 trials", "1,204 lines"]
    assert percent(0.412) == "41 %"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("two\nlines\tand a tab", "two lines and a tab"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]8;;javascript:alert(1)\x07link\x1b]8;;\x07", "link"),
        ("abc\u202egnp.exe", "abc\ufffdgnp.exe"),
        ("bell\x07", "bell\ufffd"),
        ("half \ud83d pair", "half \ufffd pair"),
        ("x" * 1_000_000, "x" * 39 + "…"),
        ("  ", ""),
    ],
)
def test_foreign_text_becomes_one_harmless_line(text: str, line: str) -> None:
    assert one_line(text, 40) == line
