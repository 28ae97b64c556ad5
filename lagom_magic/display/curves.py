"""All curves of one trial, read from the journal when a person looks at it; the fold keeps only the one that counts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from lagom_magic.display.charts import thinned
from lagom_magic.events.facts import MetricReported, from_record, number_to_json

POINTS = 500

Curves = dict[str, list[list[Any]]]


def read_curves(journal: Path, trial_id: int, attempt: int) -> Curves:
    """Metric name → [[step, value], …] in the order of the reports, evenly thinned.

    Args:
        journal: the file; need not exist.
        trial_id: whose curves.
        attempt: of the trial.

    Raises:
        OSError: as the file system reports it.
    """
    is_about = re.compile(rb'"trial_id":\s*%d\b' % trial_id)
    points: dict[str, list[tuple[int, float]]] = {}
    try:
        with open(journal, "rb") as file:
            for line in file:
                if b'"metric_reported"' in line and is_about.search(line):
                    fact = _fact(line)
                    if fact is not None and (fact.trial_id, fact.attempt) == (trial_id, attempt):
                        for name, value in fact.metrics.items():
                            points.setdefault(name, []).append((fact.step, value))
    except FileNotFoundError:
        return {}
    return {
        name: [[step, number_to_json(value)] for step, value in thinned(curve, POINTS)]
        for name, curve in points.items()
    }


def _fact(line: bytes) -> MetricReported | None:
    """The report on the line; None for a damaged or unfinished one."""
    try:
        fact = from_record(json.loads(line))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return fact if isinstance(fact, MetricReported) else None
