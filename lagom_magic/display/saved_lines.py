"""The run's last prints as a saved notebook keeps them, below its faces; used by the live view."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

LINES_LIMIT = 200
#: Characters of one line: 200 lines are at most 100 kB.
_LINE_LIMIT = 500

_COLOURS = re.compile(r"\x1b\[[0-9;:]*m")


def lines_html(lines: Sequence[str], n_lines: int) -> str:
    """A folded list; '' without lines.

    Args:
        lines: the last ones of the console.
        n_lines: how many there were in all.
    """
    if not lines:
        return ""
    text = escape("\n".join(_plain(line) for line in lines))
    return (
        f'<details class="lagom-run lagom-lines tex2jax_ignore mathjax_ignore"><summary>{_title(lines, n_lines)}'
        f"</summary><pre>{text}</pre></details>"
    )


def lines_text(lines: Sequence[str], n_lines: int) -> str:
    """The same as text, to stand below the table."""
    if not lines:
        return ""
    return "\n".join(["", "", f"{_title(lines, n_lines)}:", *(_plain(line) for line in lines)])


def _title(lines: Sequence[str], n_lines: int) -> str:
    n_shown = len(lines)
    if n_shown == n_lines:
        return f"{n_lines:,} {'line' if n_lines == 1 else 'lines'} printed"
    return f"the last {n_shown:,} of {n_lines:,} lines printed"


def _plain(line: str) -> str:
    text = _COLOURS.sub("", line)
    return text if len(text) <= _LINE_LIMIT else f"{text[: _LINE_LIMIT - 1]}…"
