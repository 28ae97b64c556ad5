"""Pieces of HTML that a report is made of; whatever text they are given is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from lagom_magic.display.wording import NOTHING, one_line

#: Characters of a name and of a value beside it.
NAME_LIMIT, VALUE_LIMIT = 80, 400


def section(title: str, content: str) -> str:
    """A heading and what belongs to it; '' without content."""
    return f"<section><h2>{escape(title)}</h2>{content}</section>" if content else ""


def part(title: str, content: str) -> str:
    """The same within a section."""
    return f"<h3>{escape(title)}</h3>{content}" if content else ""


def facts(values: Iterable[tuple[str, str]]) -> str:
    """Names and values, one pair a row."""
    told = [(one_line(name, NAME_LIMIT), one_line(value, VALUE_LIMIT) or NOTHING) for name, value in values]
    return fact_rows([(name, escape(value)) for name, value in told])


def fact_rows(rows: Iterable[tuple[str, str]]) -> str:
    """As `facts`, of values that are HTML already."""
    lines = "".join(f'<tr><th scope="row">{escape(name)}</th><td>{content}</td></tr>' for name, content in rows)
    return f'<table class="facts">{lines}</table>' if lines else ""


def table(head: Sequence[str], rows: Sequence[Sequence[str]], n_more: int = 0) -> str:
    """Rows of texts below a head; '' without rows.

    Args:
        head: over the columns.
        rows: as many texts each as there are columns.
        n_more: how many rows were left out.
    """
    if not rows:
        return ""
    heads = "".join(f'<th scope="col">{escape(text)}</th>' for text in head)
    cells = [[one_line(text, VALUE_LIMIT) or NOTHING for text in row] for row in rows]
    lines = "".join(f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in row)}</tr>" for row in cells)
    return (
        f'<div class="wide"><table class="list"><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div>'
        f"{more(n_more)}"
    )


def items(texts: Iterable[str], n_more: int = 0) -> str:
    """A list of texts."""
    content = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f"<ul>{content}</ul>{more(n_more)}" if content else ""


def more(n: int) -> str:
    """How many were left out; '' when none were."""
    return f'<p class="more">… and {n:,} more</p>' if n > 0 else ""


def pre(text: str) -> str:
    """Text with its lines and spaces."""
    return f"<pre>{escape(text)}</pre>" if text.strip() else ""


def folded(title: str, content: str) -> str:
    """What a person sees after a click on its title."""
    return f"<details><summary>{escape(title)}</summary>{content}</details>" if content else ""
