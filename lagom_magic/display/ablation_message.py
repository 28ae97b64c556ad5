"""An ablation as plain JSON of bounded size for a page: the `ablation` of docs/live-view.md.

Made by `updates`. All numbers, words of workers and the bars' axis come from here; the page only draws.
"""

from __future__ import annotations

import math
from typing import Any

from lagom_magic.display.ablation import (
    CHANGE_LIMIT,
    NAME_LIMIT,
    REASON_LIMIT,
    MetricTable,
    Picture,
    notice_lines,
    picture_of,
)
from lagom_magic.display.viewmodel import NAME_LIMIT as METRIC_NAME_LIMIT
from lagom_magic.display.viewmodel import filled, short
from lagom_magic.display.wire import wire_size
from lagom_magic.display.wording import one_line
from lagom_magic.events.fold import RunView
from lagom_magic.statistics.ablation import Ablation, AblationRow, ablation_of

COMPONENT_LIMIT, METRIC_LIMIT = 200, 8
#: Of an `AblationRow`, what is told where it is known; differences are rounded here, as a page does not round twice.
_NUMBERS = ("mean", "sd", "p_holm", "interaction_p_holm")
_DIFFERENCES = ("delta", "ci_low", "ci_high", "interaction", "interaction_low", "interaction_high")


class AblationTelling:
    """Says what is new of an ablation; computes it only when a trial has changed its state."""

    def __init__(self, view: RunView) -> None:
        """Begin with nothing told.

        Args:
            view: the run; grows by `fold` between calls.
        """
        self._view = view
        self._computed_at: tuple[Any, ...] | None = None
        self._found: Ablation | None = None
        self._told: dict[str, Any] | None = None

    def forget(self) -> None:
        """The page holds nothing."""
        self._told = None

    def news(self, limit_bytes: int) -> dict[str, Any] | None:
        """The ablation in at most so many bytes; None when the page has it."""
        # Two attempts may end in the same states: the seconds they took tell them apart.
        state = (*self._view.counts.values(), self._view.ended_duration_s, self._view.state)
        if self._found is None or state != self._computed_at:
            self._computed_at, self._found = state, ablation_of(self._view)
        elif self._told is not None:
            return None
        message = ablation_json(self._found, limit_bytes)
        if message == self._told:
            return None
        self._told = message
        return message


def ablation_json(ablation: Ablation, limit_bytes: int) -> dict[str, Any]:
    """All that fits: first other metrics give way, then the least telling components, and notices last."""
    n_components, n_metrics = COMPONENT_LIMIT, METRIC_LIMIT
    while True:
        message = _message(picture_of(ablation, n_components, n_metrics))
        if wire_size(message) <= limit_bytes or n_components == 0:
            return message if n_components else {**message, "notices": message["notices"][:1]}
        n_components, n_metrics = (n_components, n_metrics // 2) if n_metrics > 1 else (2 * n_components // 3, 1)


def _message(picture: Picture) -> dict[str, Any]:
    counted = picture.tables[0] if picture.tables else None
    shown = [] if counted is None else [row for row in (counted.baseline, *counted.rows) if row is not None]
    index = {row.component: at for at, row in enumerate(shown)}
    return {
        "unit": picture.unit,
        "notices": notice_lines(picture),
        "n_components": picture.n_components,
        "n_left_out": picture.n_left_out,
        "n_judged": picture.n_judged,
        "n_with_evidence": picture.n_with_evidence,
        "components": [_component(row) for row in shown],
        "metrics": [_metric(table, index) for table in picture.tables],
    }


def _component(row: AblationRow) -> dict[str, Any]:
    """What is the same for every metric."""
    return filled(
        {
            "name": one_line(row.component, NAME_LIMIT),
            "state": row.state if row.state != "COMPLETE" else None,
            "reason": one_line(row.reason, REASON_LIMIT),
            "change": one_line(row.change, CHANGE_LIMIT),
            "parameters": row.parameters,
            "seconds": None if row.seconds is None else short(row.seconds),
        }
    )


def _metric(table: MetricTable, index: dict[str, int]) -> dict[str, Any]:
    rows = [row for row in (table.baseline, *table.rows) if row is not None]
    return {
        "name": one_line(table.metric, METRIC_NAME_LIMIT),
        "axis": [short(end) for end in table.axis],
        "decimals": table.decimals,
        "rows": [{"at": index[row.component], **_numbers(row, table.decimals)} for row in rows],
    }


def _numbers(row: AblationRow, decimals: int | None) -> dict[str, Any]:
    told = {name: short(value) for name in _NUMBERS if (value := getattr(row, name)) is not None}
    for name in _DIFFERENCES:
        if (value := getattr(row, name)) is not None:
            is_rounded = decimals is not None and math.isfinite(value)
            told[name] = round(value, decimals) if is_rounded else short(value)
    return {**told, "n": row.n, **({"evidence": row.evidence} if row.evidence else {})}
