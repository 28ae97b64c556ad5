"""The components of an ablation as a table with interval bars: part of the text/html face."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from lagom_magic.display.ablation import (
    CHANGE_LIMIT,
    EVIDENCE_MARKS,
    EVIDENCE_WORDS,
    KEY,
    REASON_LIMIT,
    MetricTable,
    Picture,
    amount,
    component_name,
    notice_lines,
    p_value,
    saving,
)
from lagom_magic.display.charts import Frame, ticks
from lagom_magic.display.wording import NOTHING, duration, metric, number, one_line
from lagom_magic.statistics.ablation import BASELINE, AblationRow

COMPONENT_LIMIT, METRIC_LIMIT = 40, 3
METRIC_NAME_LIMIT = 20
BAR_WIDTH, BAR_HEIGHT = 150, 22
#: What a character of the axis' labels takes, and how far these must be apart.
CHARACTER_WIDTH, LABEL_GAP = 6, 6
#: The zero line reaches through the whole cell, which cuts it.
_OVER = 80
STATE_MARKS = {"FAILED": "✖", "RUNNING": "●", "WAITING": "○", "STOPPED": "■", "PRUNED": "✂"}


def component_section(picture: Picture, arrow: str) -> str:
    """The table with what a reader must know; '' before there is a component.

    Args:
        picture: what to show.
        arrow: '↑' when more of the metric that counts is better.
    """
    if not picture.tables:
        return ""
    counted = picture.tables[0]
    table = _Table(picture)
    rows = [row for row in (counted.baseline, *counted.rows) if row is not None]
    body = "".join(table.row(row) for row in rows)
    caption = f"What leaving out a component does to {one_line(counted.metric, METRIC_NAME_LIMIT)}"
    head = "".join(
        f'<th scope="col"{f" class={chr(34)}{name}{chr(34)}" if name else ""}>{escape(text)}</th>'
        for name, text in table.head(arrow)
    )
    notes = [
        *([f"… and {picture.n_left_out:,} more components"] if picture.n_left_out else []),
        KEY if picture.n_components else "",
    ]
    return (
        f'<div class="lg-parts"><table class="lg-table"><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        f"{''.join(_note(text, 'lg-caution') for text in notice_lines(picture))}"
        f"{''.join(_note(text) for text in notes if text)}</div>"
    )


class _Table:
    """Writes the rows; all bars have the same axis."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture
        self._counted, *self._others = picture.tables
        self._frame = Frame(*self._counted.axis, 0, 1, left=6, top=0, right=BAR_WIDTH - 6, bottom=BAR_HEIGHT)
        rows = [row for row in (self._counted.baseline, *self._counted.rows) if row is not None]
        self._has_parameters = any(row.parameters is not None for row in rows)
        self._n_columns = len(self.head(""))

    def head(self, arrow: str) -> list[tuple[str, str]]:
        """(class, text) of each column's title."""
        return [
            ("lg-l", "component"),
            ("lg-wide", f"{one_line(self._counted.metric, METRIC_NAME_LIMIT)} {arrow}"),
            ("lg-l", "without it"),
            ("lg-interval", "Δ and its interval"),
            ("", "Δ, 95 % CI"),
            ("lg-wide", "p (Holm)"),
            ("lg-wide", "n"),
            *(("lg-wide", f"Δ {one_line(table.metric, METRIC_NAME_LIMIT)}") for table in self._others),
            *([("lg-wide", "parameters")] if self._has_parameters else []),
            ("lg-wide", f"time a {self._picture.unit}"),
        ]

    def row(self, row: AblationRow) -> str:
        table, base = self._counted, self._counted.baseline
        is_baseline = row.component == BASELINE
        told = ["" for _ in range(3)]
        if not is_baseline:
            interval = "" if row.ci_low is None else table.interval(row.ci_low, row.ci_high)
            told = [table.signed(row.delta), interval, p_value(row.p_holm)]
        saved = ["", ""]
        if base is not None and not is_baseline:
            saved = [saving(row.parameters, base.parameters), saving(row.seconds, base.seconds)]
        word = row.evidence or ""
        scale = self._scale() if any(other.delta is not None for other in table.rows) else ""
        cells = [
            f'<th scope="row" class="lg-l lg-part">{self._name(row)}</th>',
            f'<td class="lg-wide">{escape(metric(row.mean))}</td>',
            f'<td class="lg-l lg-find lg-{word}">{_finding(row)}</td>',
            f'<td class="lg-interval lg-{word}">{scale if is_baseline else self._bar(row)}</td>',
            f"<td>{escape(told[0])}{_small(told[1])}</td>",
            f'<td class="lg-wide">{escape(told[2])}</td>',
            f'<td class="lg-wide">{row.n}</td>',
            *(
                f'<td class="lg-wide">{"" if is_baseline else _other(other, row.component)}</td>'
                for other in self._others
            ),
            *([f'<td class="lg-wide">{escape(amount(row.parameters))}{_small(saved[0])}</td>'] * self._has_parameters),
            f'<td class="lg-wide">{escape(duration(row.seconds))}{_small(saved[1])}</td>',
        ]
        why = one_line(row.reason, REASON_LIMIT)
        names = "lg-row" + " lg-first" * is_baseline + " lg-failing" * bool(why)
        failure = (
            f'<tr class="lg-row lg-why"><td colspan="{self._n_columns}"><div>{escape(why)}</div></td></tr>'
            if why
            else ""
        )
        return f'<tr class="{names}">{"".join(cells)}</tr>{failure}'

    def _name(self, row: AblationRow) -> str:
        changes = [self._counted.interaction(row), one_line(row.change, CHANGE_LIMIT)]
        return escape(component_name(row)) + "".join(map(_small, changes))

    def _bar(self, row: AblationRow) -> str:
        """The difference on its interval, with zero as a line through all rows."""
        middle = BAR_HEIGHT / 2
        parts = [f'<path class="lg-grid" d="M{self._x(0.0):.4g} {-_OVER}V{BAR_HEIGHT + _OVER}"/>']
        if row.delta is None or not math.isfinite(row.delta):
            return _svg("", parts)
        label = f"Δ {self._counted.signed(row.delta)}"
        if row.ci_low is not None and row.ci_high is not None:
            low, high = self._x(row.ci_low), self._x(row.ci_high)
            first = "m4 -4l-4 4 4 4" if row.ci_low < self._frame.x_low else "m0 -4v8"
            last = "m-4 -4l4 4-4 4" if row.ci_high > self._frame.x_high else "m0 -4v8"
            ends = f"M{low:.4g} {middle:g}{first}M{high:.4g} {middle:g}{last}"
            parts.append(f'<path d="M{low:.4g} {middle:g}H{high:.4g}{ends}"/>')
            label += f", 95 % CI {self._counted.interval(row.ci_low, row.ci_high)}"
        x = self._x(row.delta)
        parts.append(f'<path class="lg-mark" d="M{x:.4g} {middle:g}{_SHAPES.get(row.evidence or "", _CIRCLE)}"/>')
        return _svg(label, parts)

    def _scale(self) -> str:
        """What the bars' axis is, in the baseline's row, whose difference is zero."""
        values = ticks(self._frame.x_low, self._frame.x_high, 3)
        zero = min(range(len(values)), key=lambda i: abs(values[i]), default=0)
        # Zero is always named; of the others every so many that none touches the next.
        thinned = (values[zero % step :: step] for step in range(1, len(values)))
        values = next((some for some in thinned if self._are_apart(some)), values[zero : zero + 1])
        parts = [f'<path class="lg-grid" d="M{self._x(0.0):.4g} {BAR_HEIGHT - 4}V{BAR_HEIGHT + _OVER}"/>']
        for value in values:
            x = self._x(value)
            anchor = _ANCHORS[_left_share(x)]
            parts.append(f' <text x="{x:.4g}" y="14" text-anchor="{anchor}">{escape(_tick(value))}</text>')
        return _svg("", parts)

    def _are_apart(self, values: Sequence[float]) -> bool:
        """Whether labels below these values leave room between them."""
        end = -math.inf
        for value in values:
            x, width = self._x(value), CHARACTER_WIDTH * len(_tick(value))
            start = x - _left_share(x) * width
            if start < end + LABEL_GAP:
                return False
            end = start + width
        return True

    def _x(self, value: float) -> float:
        return float(self._frame.place((value, 0.0)).split()[0])


#: Shapes around the point that a path has reached: as `EVIDENCE_MARKS`.
_CIRCLE = "m-3.2 0a3.2 3.2 0 1 0 6.4 0a3.2 3.2 0 1 0 -6.4 0z"
_SHAPES = {
    "better": "m0 -4.5l4.5 4.5-4.5 4.5-4.5 -4.5z",
    "lower": "m-4.5 -3.5h9l-4.5 8z",
    "higher": "m-4.5 3.5h9l-4.5 -8z",
}


#: By how much of a label is left of its tick.
_ANCHORS = {0.0: "start", 0.5: "middle", 1.0: "end"}


def _left_share(x: float) -> float:
    """None of a label at the left end is left of its tick, all of one at the right end, else half."""
    return 1.0 if x > BAR_WIDTH - 16 else 0.0 if x < 16 else 0.5


def _tick(value: float) -> str:
    return f"{'+' if value > 0 else ''}{number(value, 3)}"


def _finding(row: AblationRow) -> str:
    """The evidence as sign and word, and below it the state of what is not complete."""
    if row.component == BASELINE:
        words = []
    elif row.evidence is None:
        words = [NOTHING] if row.state == "COMPLETE" else []
    else:
        words = [f'<span aria-hidden="true">{EVIDENCE_MARKS[row.evidence]}</span> {EVIDENCE_WORDS[row.evidence]}']
    if row.state == "COMPLETE":
        return "".join(words)
    mark = STATE_MARKS.get(row.state, "")
    state = f'<span class="lg-{row.state.lower()}"><span aria-hidden="true">{mark}</span> {row.state.lower()}</span>'
    return "".join(words) + (f'<div class="lg-sub">{state}</div>' if words else state)


def _other(table: MetricTable, component: str) -> str:
    """The difference in a metric that does not count, with its evidence."""
    row = next((row for row in table.rows if row.component == component), None)
    if row is None:
        return NOTHING
    word = "" if row.evidence is None else EVIDENCE_WORDS[row.evidence]
    return f"{escape(table.signed(row.delta))}{_small(word)}"


def _svg(label: str, parts: list[str]) -> str:
    alternative = f'role="img" aria-label="{escape(label)}"' if label else 'aria-hidden="true"'
    size = f'width="{BAR_WIDTH}" height="{BAR_HEIGHT}" viewBox="0 0 {BAR_WIDTH} {BAR_HEIGHT}"'
    return f"<svg {size} {alternative}>{''.join(parts)}</svg>"


def _small(text: str) -> str:
    return f'<div class="lg-sub">{escape(text)}</div>' if text else ""


def _note(text: str, name: str = "") -> str:
    return f'<div class="lg-note{f" {name}" if name else ""}">{escape(text)}</div>'
