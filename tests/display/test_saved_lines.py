from __future__ import annotations

from lagom_magic.display.saved_lines import lines_html, lines_text


def test_without_prints_nothing_is_added() -> None:
    assert (lines_html([], 0), lines_text([], 0)) == ("", "")


def test_all_lines_of_a_quiet_run_are_kept() -> None:
    assert lines_text(["[w1 t0] a", "[w1 t0] b"], 2) == "\n\n2 lines printed:\n[w1 t0] a\n[w1 t0] b"
    assert lines_text(["a"], 1) == "\n\n1 line printed:\na"


def test_how_many_are_left_out_is_said() -> None:
    assert lines_text(["a", "b"], 3412).startswith("\n\nthe last 2 of 3,412 lines printed:")


def test_what_workers_print_is_text_and_not_html() -> None:
    html = lines_html(["<script>alert(1)</script> \x1b[31mred\x1b[0m &amp;"], 1)
    assert "<pre>&lt;script&gt;alert(1)&lt;/script&gt; red &amp;amp;</pre>" in html


def test_a_long_line_is_cut() -> None:
    assert lines_text(["x" * 600], 1).endswith("x" * 499 + "…")
