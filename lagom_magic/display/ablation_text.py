"""The components of an ablation as lines of text: part of the text/plain face."""

from __future__ import annotations

import math

from lagom_magic.display.ablation import (
    CHANGE_LIMIT,
    EVIDENCE_WORDS,
    KEY,
    REASON_LIMIT,
    MetricTable,
    Picture,
    amount,
    component_name,
    p_value,
    saving,
)
from lagom_magic.display.alignment import aligned
from lagom_magic.display.wording import NOTHING, duration, metric, number, one_line
from lagom_magic.statistics.ablation import BASELINE, AblationRow

COMPONENT_LIMIT, METRIC_LIMIT = 40, 3
BAR_WIDTH = 25
METRIC_NAME_LIMIT = 20
#: What marks the difference on its interval.
BAR_MARKS = {"worse": "*", "better": "#", "lower": "*", "higher": "*", "none": "o", None: "o"}


def component_lines(picture: Picture, arrow: str) -> list[str]:
    """The table, and below it what the numbers are.

    Args:
        picture: what to show.
        arrow: '↑' when more of the metric that counts is better.
    """
    if not picture.tables:
        return []
    counted = picture.tables[0]
    rows = [row for row in (counted.baseline, *counted.rows) if row is not None]
    name = f"{one_line(counted.metric, METRIC_NAME_LIMIT)} {arrow}"
    head = ["component", name, "without it", "Δ", _scale(counted), "95 % CI", "p (Holm)", "n"]
    first, *body = aligned([head, *(_cells(counted, row) for row in rows)], left_aligned=(0, 2, 4))
    details = [_details(picture, row) for row in rows]
    lines = [first, *(text for pair in zip(body, details, strict=True) for text in pair if text)]
    notes = [f"… and {picture.n_left_out:,} more components"] if picture.n_left_out else []
    return [*lines, *notes, *([KEY] if counted.rows else [])]


def _cells(table: MetricTable, row: AblationRow) -> list[str]:
    if row.component == BASELINE:
        difference = [""] * 4
    else:
        interval = table.interval(row.ci_low, row.ci_high)
        difference = [table.signed(row.delta), interval_bar(row, table.axis), interval, p_value(row.p_holm)]
    return [component_name(row), metric(row.mean), _finding(row), *difference, str(row.n)]


def _finding(row: AblationRow) -> str:
    """'worse', 'no evidence', and the state of what is not complete: 'worse, running'."""
    word = [] if row.component == BASELINE or row.evidence is None else [EVIDENCE_WORDS[row.evidence]]
    state = [] if row.state == "COMPLETE" else [row.state.lower()]
    return ", ".join([*word, *state]) or ("" if row.component == BASELINE else NOTHING)


def _details(picture: Picture, row: AblationRow) -> str:
    """A second line: why it failed, how two work together, other metrics, what it would save, how it was left out."""
    counted, *others = picture.tables
    base = counted.baseline if row.component != BASELINE else None
    parts = [
        one_line(row.reason, REASON_LIMIT),
        counted.interaction(row),
        *(_other(table, row.component) for table in others if row.delta is not None),
        _saved(f"{amount(row.parameters)} parameters", row.parameters, base.parameters if base else None),
        _saved(f"{duration(row.seconds)} a {picture.unit}", row.seconds, base.seconds if base else None),
        one_line(row.change, CHANGE_LIMIT),
    ]
    return f"    {text}" if (text := "; ".join(filter(None, parts))) else ""


def _other(table: MetricTable, component: str) -> str:
    """'Δ loss +0.107 higher'"""
    row = next((row for row in table.rows if row.component == component), None)
    if row is None or row.delta is None:
        return ""
    word = "" if row.evidence is None else f" {EVIDENCE_WORDS[row.evidence]}"
    return f"Δ {one_line(table.metric, METRIC_NAME_LIMIT)} {table.signed(row.delta)}{word}"


def _saved(text: str, value: float | None, baseline: float | None) -> str:
    """'1.1 s a step (-16 %)'; '' where nothing is known."""
    if value is None:
        return ""
    return f"{text} ({words})" if (words := saving(value, baseline)) else text


def interval_bar(row: AblationRow, axis: tuple[float, float]) -> str:
    """The difference on its interval, and zero: ' |--*--|    :   '; '<' and '>' where the interval goes on."""
    signs = [" "] * BAR_WIDTH
    signs[_place(0.0, axis)] = ":"
    if row.delta is None or not math.isfinite(row.delta):
        return "".join(signs)
    if row.ci_low is not None and row.ci_high is not None:
        first, last = _place(row.ci_low, axis), _place(row.ci_high, axis)
        signs[first : last + 1] = "-" * (last + 1 - first)
        signs[first] = "<" if row.ci_low < axis[0] else "|"
        signs[last] = ">" if row.ci_high > axis[1] else "|"
    signs[_place(row.delta, axis)] = BAR_MARKS[row.evidence]
    return "".join(signs)


def _scale(table: MetricTable) -> str:
    """What the ends of the bars are: '-0.06           +0.02'."""
    low, high = (f"{'+' if value > 0 else ''}{number(value, 2)}" for value in table.axis)
    return low + high.rjust(BAR_WIDTH - len(low))


def _place(value: float, axis: tuple[float, float]) -> int:
    share = (value - axis[0]) / (axis[1] - axis[0])
    return round(min(1.0, max(0.0, share)) * (BAR_WIDTH - 1))
