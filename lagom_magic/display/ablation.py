"""What all faces show of an ablation: which components, on which axis, with how many digits, in which words.

Made from `statistics.ablation`; drawn by the HTML and text faces, and told to a page by `ablation_message`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from lagom_magic.display.wording import NOTHING, count, metric, number, one_line
from lagom_magic.events.fold import RunView
from lagom_magic.statistics.ablation import BASELINE, Ablation, AblationRow

#: Characters of a component's name, of how it was left out, and of why it failed.
NAME_LIMIT, CHANGE_LIMIT, REASON_LIMIT = 40, 120, 300
#: An interval that goes further from zero than this many times the largest difference, and than the narrowest one, is
#: drawn as cut off.
_REACH = 2.5
_MARGIN = 0.05
_DECIMALS_LIMIT = 7

#: What the absence of a component does, in a word; the column is called 'without it'.
EVIDENCE_WORDS = {"worse": "worse", "better": "better", "lower": "lower", "higher": "higher", "none": "no evidence"}
#: What the numbers are.
KEY = (
    "Δ: mean paired difference over the n repeats that both have, same seeds; where the baseline has more, it is not "
    "the difference of the means. CI: 95 %, t, not corrected. p: paired t-test, Holm-corrected; evidence is p < 0.05. "
    "Time: median without each worker's first trial, not tested."
)
#: The same as a sign, which is also the shape that marks the difference on its interval.
EVIDENCE_MARKS = {"worse": "●", "better": "◆", "lower": "▼", "higher": "▲", "none": "○"}


@dataclass(frozen=True, slots=True)
class MetricTable:
    """The components beside the baseline, for one metric.

    Attributes:
        metric: its name, as trials reported it.
        baseline: without anything left out; None before it was tried.
        rows: the shown components, in the order of the metric that counts.
        axis: what the interval bars of all rows show, from left to right; zero is inside.
        decimals: of differences; None = numbers of any size, each with three significant digits.
    """

    metric: str
    baseline: AblationRow | None
    rows: tuple[AblationRow, ...]
    axis: tuple[float, float]
    decimals: int | None

    def signed(self, value: float | None) -> str:
        """A difference: '+0.0123', '-0.0040', '0.0000', '–' for None."""
        if value is None:
            return NOTHING
        if self.decimals is None or not math.isfinite(value):
            return f"{'+' if value > 0 else ''}{number(value, 3)}"
        text = f"{value:+.{self.decimals}f}"
        return text if float(text) else text[1:]

    def interval(self, low: float | None, high: float | None) -> str:
        """'[-0.0150, -0.0096]'; '–' without one."""
        return NOTHING if low is None or high is None else f"[{self.signed(low)}, {self.signed(high)}]"

    def interaction(self, row: AblationRow) -> str:
        """Of a pair: 'interaction -0.0040 [-0.0061, -0.0019], p 0.012'; '' of what is none, or not known."""
        if row.interaction is None:
            return ""
        interval = f" {text}" if (text := self.interval(row.interaction_low, row.interaction_high)) != NOTHING else ""
        p = "" if row.interaction_p_holm is None else f", p {p_value(row.interaction_p_holm)}"
        return f"interaction {self.signed(row.interaction)}{interval}{p}"


@dataclass(frozen=True, slots=True)
class Picture:
    """What is shown of an ablation.

    Attributes:
        tables: one a metric, the one that counts first; none before the first trial.
        unit: what seconds are of.
        notices: what a reader must know.
        n_components: how many there are besides the baseline, and how many of them have no room.
        n_judged: of how many can be said whether there is evidence, and of how many there is.
    """

    tables: tuple[MetricTable, ...]
    unit: Literal["step", "trial"]
    notices: tuple[str, ...]
    n_components: int
    n_left_out: int
    n_judged: int
    n_with_evidence: int

    @property
    def baseline(self) -> AblationRow | None:
        """Of the metric that counts."""
        return self.tables[0].baseline if self.tables else None


def is_ablation(view: RunView) -> bool:
    """Whether the run leaves components out, so that its best trial is no result."""
    return view.header is not None and view.header.kind == "ablate"


def picture_of(ablation: Ablation, n_components: int, n_metrics: int) -> Picture:
    """What to show.

    Args:
        ablation: all that is known.
        n_components: at most so many; those with evidence stay, then those with the largest differences.
        n_metrics: at most so many, the one that counts among them.
    """
    by_metric: dict[str, dict[str, AblationRow]] = {}
    for row in ablation.rows:
        by_metric.setdefault(row.metric, {})[row.component] = row
    counted = next(iter(by_metric.values()), {})
    components = [row for row in counted.values() if row.component != BASELINE]
    shown = _most_telling(components, n_components)
    tables = [_table(name, rows, shown) for name, rows in list(by_metric.items())[:n_metrics]]
    judged = [row for row in components if row.evidence is not None]
    return Picture(
        tables=tuple(tables),
        unit=ablation.unit,
        notices=ablation.notices,
        n_components=len(components),
        n_left_out=len(components) - len(shown),
        n_judged=len(judged),
        n_with_evidence=sum(row.evidence != "none" for row in judged),
    )


def baseline_words(picture: Picture) -> str:
    """'0.9812 ± 0.0021'; '–' before it is known."""
    row = picture.baseline
    if row is None or row.mean is None:
        return NOTHING
    return metric(row.mean) if row.sd is None else f"{metric(row.mean)} ± {number(row.sd, 2)}"


def baseline_detail(picture: Picture) -> str:
    """What the number of `baseline_words` is: 'baseline, 5 repeats (± sd) · evidence for 3 of 7 components'."""
    row = picture.baseline
    if row is None or row.mean is None:
        baseline = "baseline: none"
    else:
        baseline = f"baseline, {count(row.n, 'repeat')}{'' if row.sd is None else ' (± sd)'}"
    return f"{baseline} · {evidence_summary(picture)}"


def evidence_summary(picture: Picture) -> str:
    """'evidence for 3 of 7 components'; before anything can be said, that."""
    if not picture.n_judged:
        return "no interval" if picture.n_components else "no component"
    plural = "" if picture.n_judged == 1 else "s"
    return f"evidence for {picture.n_with_evidence} of {picture.n_judged} component{plural}"


def notice_lines(picture: Picture) -> list[str]:
    """What a reader must know, one line each."""
    return [one_line(text, 400) for text in picture.notices]


def p_value(p: float | None) -> str:
    """'0.012', '< 0.001', '–' for None."""
    if p is None:
        return NOTHING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def amount(n: int | None) -> str:
    """How many parameters: '12,345', '11.7 M', '–' for None."""
    if n is None:
        return NOTHING
    for size, sign in ((10**9, "G"), (10**6, "M")):
        if abs(n) >= 0.9995 * size:
            return f"{n / size:.3g} {sign}" if abs(n) < 1000 * size else f"{n / size:,.0f} {sign}"
    return f"{n:,}"


def saving(value: float | None, baseline: float | None) -> str:
    """The difference to the baseline as a share of it: '-12 %', '+0.3 %', 'about the same'; '' where not known."""
    if value is None or not baseline:
        return ""
    percent = 100 * (value - baseline) / baseline
    if percent == 0:
        return "the same"
    if abs(percent) < 0.05:
        return "about the same"
    return f"{percent:+.1f} %" if abs(percent) < 1 else f"{percent:+.0f} %"


def component_name(row: AblationRow) -> str:
    """The component, harmless in any face."""
    return one_line(row.component, NAME_LIMIT)


def _table(name: str, rows: dict[str, AblationRow], shown: Sequence[AblationRow]) -> MetricTable:
    own = tuple(rows[row.component] for row in shown if row.component in rows)
    return MetricTable(name, rows.get(BASELINE), own, _axis(own), _decimals(own))


def _most_telling(rows: Sequence[AblationRow], limit: int) -> list[AblationRow]:
    """At most so many, in their order."""

    def key(row: AblationRow) -> tuple[bool, float]:
        return row.evidence in (None, "none"), -abs(row.delta or 0.0)

    kept = {row.component for row in sorted(rows, key=key)[:limit]}
    return [row for row in rows if row.component in kept]


def _axis(rows: Sequence[AblationRow]) -> tuple[float, float]:
    deltas = _finite(row.delta for row in rows)
    lows, highs = _finite(row.ci_low for row in rows), _finite(row.ci_high for row in rows)
    reaches = (max(-row.ci_low, row.ci_high) for row in rows if row.ci_low is not None and row.ci_high is not None)
    narrowest = min(_finite(reaches), default=0.0)
    reach = max(_REACH * max(map(abs, deltas), default=0.0), narrowest) or math.inf
    low = min([0.0, *deltas, *(max(value, -reach) for value in lows)])
    high = max([0.0, *deltas, *(min(value, reach) for value in highs)])
    margin = _MARGIN * (high - low) or 1.0
    return low - margin, high + margin


def _decimals(rows: Sequence[AblationRow]) -> int | None:
    """So many that the largest difference has three significant digits, and one in the middle two."""
    sizes = [abs(delta) for delta in _finite(row.delta for row in rows) if delta]
    if not sizes:
        return 4
    if max(sizes) >= 1e6:
        return None
    wanted = max(2 - math.floor(math.log10(max(sizes))), 1 - math.floor(math.log10(median(sizes))), 0)
    return wanted if wanted <= _DECIMALS_LIMIT else None


def _finite(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None and math.isfinite(value)]
