"""The table of an ablation outside the live view: as a DataFrame, and as Markdown or LaTeX for a paper.

What `Run.ablation` and `Run.ablation_table` return.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from textwrap import shorten
from typing import TYPE_CHECKING, ClassVar, Literal

from lagom_magic.errors import ConfigError, nearest
from lagom_magic.events.ablation import BASELINE
from lagom_magic.statistics.ablation import Ablation, AblationRow
from lagom_magic.statistics.comparison import SIGNIFICANCE

if TYPE_CHECKING:
    import pandas

Format = Literal["markdown", "latex"]

#: Of the DataFrame; fields of `AblationRow`.
COLUMNS = (
    "component",
    "metric",
    "mean",
    "delta",
    "ci_low",
    "ci_high",
    "p_holm",
    "n",
    "state",
    "parameters",
    "seconds",
    "effect_size",
    "evidence",
    "interaction",
    "interaction_low",
    "interaction_high",
    "interaction_p_holm",
    "change",
    "reason",
    "p",
    "sd",
)

_NOT_FLOATS = {"component", "metric", "n", "state", "parameters", "evidence", "change", "reason"}


def frame_of(ablation: Ablation) -> pandas.DataFrame:
    """One row a component and metric, in the table's order; what cannot be said is nan, `<NA>` or None.

    Its `attrs` hold `seconds_of`, "step" or "trial", and the `notices`.

    Raises:
        ConfigError: when pandas is missing.
    """
    try:
        import pandas
    except ImportError as error:
        raise ConfigError("ablation needs pandas, which is not installed: pip install 'pandas<3'.") from error
    frame = pandas.DataFrame([asdict(row) for row in ablation.rows], columns=list(COLUMNS))
    types = {name: "float64" for name in COLUMNS if name not in _NOT_FLOATS}
    frame = frame.astype({**types, "n": "int64", "parameters": "Int64"})
    frame.attrs.update(seconds_of=ablation.unit, notices=list(ablation.notices))
    return frame


def table_of(ablation: Ablation, format: Format = "markdown", metric: str | None = None) -> str:
    """The table of one metric, for a paper: every component's Δ with its interval; evidence in bold.

    Args:
        ablation: with at least one row.
        format: "markdown", or "latex" (with the package booktabs).
        metric: None = the one that counts.

    Raises:
        ConfigError: for an unknown format or metric, or a table without a row.
    """
    if format not in _SYNTAXES:
        raise ConfigError(
            f"an ablation's table is made as {' or '.join(_SYNTAXES)}, not as {format!r}.{nearest(format, _SYNTAXES)}"
        )
    metrics = list(dict.fromkeys(row.metric for row in ablation.rows))
    if not metrics:
        raise ConfigError("the ablation has no trial yet: there is nothing to make a table of.")
    if metric is not None and metric not in metrics:
        raise ConfigError(
            f"the ablation has no metric {metric!r}; it has {', '.join(metrics)}.{nearest(metric, metrics)}"
        )
    chosen = metrics[0] if metric is None else metric
    syntax = _SYNTAXES[format]()
    better: Literal["higher", "lower"] = "higher" if ablation.is_maximised else "lower"
    rows = [row for row in ablation.rows if row.metric == chosen]
    return _Table(rows, better if chosen == metrics[0] else None, ablation.notices, syntax).text()


class _Syntax(ABC):
    """How one format writes the parts of a table.

    `text` takes any text, `number` digits with + - ± < and an interval's [, ]; both give a cell, or part of one.
    """

    delta: str

    @abstractmethod
    def text(self, text: str) -> str: ...

    @abstractmethod
    def number(self, text: str) -> str: ...

    @abstractmethod
    def bold(self, cell: str) -> str: ...

    @abstractmethod
    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str: ...


class _Markdown(_Syntax):
    """As GitHub and Jupyter draw it."""

    delta = "Δ"
    _SPECIAL = re.compile(r"[\\`*|&\[\]~$#]|<(?=\S)|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")

    def text(self, text: str) -> str:
        return self._SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))

    def number(self, text: str) -> str:
        return text.replace("-", "−")

    def bold(self, cell: str) -> str:
        return f"**{cell}**"

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
        rule = [":--", *["--:"] * (len(head) - 1)]
        lines = [f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)]
        return "\n".join([*lines, "", caption, ""])


class _Latex(_Syntax):
    """A `table` with booktabs."""

    delta = r"$\Delta$"
    _SPECIAL: ClassVar[dict[str, str]] = {
        **{character: f"\\{character}" for character in "{}%$#&_"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"\textquotedbl{}",
        "Δ": r"$\Delta$",
        "−": r"$-$",
        "±": r"$\pm$",
        "…": r"\ldots{}",
        "[": "{[}",  # after a line's end it would begin an argument
        "]": "{]}",
        "*": "{*}",
    }

    def text(self, text: str) -> str:
        escaped = "".join(self._SPECIAL.get(character, character) for character in " ".join(text.split()))
        return escaped.replace("--", "-{}-")

    def number(self, text: str) -> str:
        return "$" + text.replace("±", r"\pm") + "$"

    def bold(self, cell: str) -> str:
        return rf"\textbf{{\boldmath {cell}}}"

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
        baseline, *others = (f"    {' & '.join(cells)} \\\\" for cells in rows)
        return "\n".join(
            [
                r"\begin{table}",
                r"  \centering",
                rf"  \caption{{{caption}}}",
                rf"  \begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
                r"    \toprule",
                f"    {' & '.join(head)} \\\\",
                r"    \midrule",
                baseline,
                *([r"    \midrule", *others] if others else []),
                r"    \bottomrule",
                r"  \end{tabular}",
                r"\end{table}",
                "",
            ]
        )


_SYNTAXES: dict[str, type[_Syntax]] = {"markdown": _Markdown, "latex": _Latex}


class _Table:
    """One metric's rows, in one format.

    Args:
        rows: the baseline first.
        direction: "higher" or "lower" is better; None when neither is known to be.
        notices: what follows in the caption.
        syntax: of the format.
    """

    def __init__(
        self,
        rows: Sequence[AblationRow],
        direction: Literal["higher", "lower"] | None,
        notices: Sequence[str],
        syntax: _Syntax,
    ) -> None:
        self._rows = rows
        self._direction = direction
        self._notices = notices
        self._syntax = syntax
        self._metric = syntax.text(rows[0].metric)
        self._decimals = _decimals(rows)
        self._has_pairs = any(row.interaction is not None for row in rows)
        self._has_parameters = any(row.parameters is not None for row in rows)

    def text(self) -> str:
        head = ["component", f"{self._syntax.delta} {self._metric}", "p (Holm)", "n"]
        head += ["interaction"] * self._has_pairs + ["parameters"] * self._has_parameters
        return self._syntax.table(head, [self._cells(row) for row in self._rows], self._caption())

    def _cells(self, row: AblationRow) -> list[str]:
        name, number = self._syntax.text(row.component), self._syntax.number
        cells = [name, self._delta(row), "" if row.p_holm is None else number(_p_value(row.p_holm)), number(str(row.n))]
        if row.evidence not in (None, "none"):
            cells[:3] = [self._syntax.bold(cell) for cell in cells[:3]]
        if self._has_pairs:
            cell = self._interval(row.interaction, row.interaction_low, row.interaction_high)
            is_evident = row.interaction_p_holm is not None and row.interaction_p_holm < SIGNIFICANCE
            cells.append(self._syntax.bold(cell) if is_evident else cell)
        if self._has_parameters:
            cells.append("" if row.parameters is None else self._syntax.text(f"{row.parameters:,}"))
        return cells

    def _delta(self, row: AblationRow) -> str:
        if row.component == BASELINE and row.mean is not None:
            deviation = "" if row.sd is None else f" ± {row.sd:.{self._decimals}f}"
            return self._syntax.number(f"{row.mean:.{self._decimals}f}{deviation}")
        if row.delta is not None:
            return self._interval(row.delta, row.ci_low, row.ci_high)
        return row.state.lower()

    def _interval(self, middle: float | None, low: float | None, high: float | None) -> str:
        if middle is None:
            return ""
        number, mean = self._syntax.number, self._syntax.number(self._signed(middle))
        return (
            mean if low is None or high is None else f"{mean} {number(f'[{self._signed(low)}, {self._signed(high)}]')}"
        )

    def _signed(self, value: float) -> str:
        """'+0.012', '-0.004', '0.000'"""
        text = f"{value:+.{self._decimals}f}"
        return text if float(text) else text[1:]

    def _caption(self) -> str:
        n_tests = sum(row.p is not None for row in self._rows)
        n_repeats = self._rows[0].n
        of_repeats = f"{n_repeats} {'repeat' if n_repeats == 1 else 'repeats'}"
        better = f" {self._direction.capitalize()} is better." if self._direction else ""
        parts = [f"Ablation: each component left out, against the baseline ({of_repeats}).{better}"]
        if n_tests:
            parts.append(
                "Δ: mean of the differences over n repeats with the same seeds, with its 95 % confidence interval; "
                "baseline: mean ± standard deviation. p: two-sided paired t-test, corrected for "
                f"{n_tests} {'comparison' if n_tests == 1 else 'comparisons'} after Holm. "
                f"Bold: evidence, p < {SIGNIFICANCE}."
            )
        else:
            parts.append("Δ: difference with the same seed.")
        if self._has_pairs:
            parts.append("Interaction: Δ of a pair beyond the sum of the Δ of its two; bold after Holm over the pairs.")
        failed = [f"{row.component} ({shorten(row.reason, 120, placeholder=' …')})" for row in self._rows if row.reason]
        if failed:
            parts.append(f"Failed: {', '.join(failed)}.")
        return self._syntax.text(" ".join([*parts, *self._notices]))


def _p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _decimals(rows: Sequence[AblationRow]) -> int:
    """Decimals that show two digits of the median interval's half, or of the median difference; 3 without either."""
    halves = [(row.ci_high - row.ci_low) / 2 for row in rows if row.ci_low is not None and row.ci_high is not None]
    deltas = [abs(row.delta) for row in rows if row.delta is not None]
    sizes = sorted(size for size in halves if size > 0) or sorted(size for size in deltas if size > 0)
    if not sizes:
        return 3
    return min(12, max(0, 1 - math.floor(math.log10(sizes[len(sizes) // 2]))))
