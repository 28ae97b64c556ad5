"""The text/html face: one static, self-contained piece of HTML, right in a live cell and in a saved notebook.

No script, no link to anything, everything that came from outside escaped. Its size is bounded, whatever the run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path

from lagom_magic.display import charts, summary
from lagom_magic.display.ablation import Picture, baseline_detail, baseline_words, is_ablation, picture_of
from lagom_magic.display.ablation_html import COMPONENT_LIMIT, METRIC_LIMIT, component_section
from lagom_magic.display.rows import NAME_LIMIT, Columns, Rows, choose_columns, choose_rows
from lagom_magic.display.wording import NOTHING, count, duration, hparam, metric, one_line
from lagom_magic.events.facts import RunState, TrialState
from lagom_magic.events.fold import RunView, TrialView
from lagom_magic.statistics.ablation import ablation_of

#: While the run lives the table stays short, so the prints below it stay in sight.
LIVE_ROW_LIMIT = 20
ROW_LIMIT = 50
#: An ablation with more trials than these shows them folded.
FOLD_LIMIT = 12
#: Hyperparameters and further metrics with a column of their own.
COLUMN_LIMIT = 8
CHARACTER_LIMIT = 64
SIZE_LIMIT_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a face shows.

    Attributes:
        rows: trials.
        components: of an ablation.
        columns: of hyperparameters and further metrics.
        characters: width of these columns together.
        metrics: columns of further metrics.
        name: characters of what stands over a column.
        value: characters of a hyperparameter's value.
        left_out: names of what has no column.
        is_whole: it stands in a file that has said which run it is, and in which state; its table scrolls, so that
            the metric that counts comes before all else that needs a column.
    """

    rows: int
    components: int
    columns: int = COLUMN_LIMIT
    characters: int = CHARACTER_LIMIT
    metrics: int = 2
    name: int = NAME_LIMIT
    value: int = 24
    left_out: int = 12
    is_whole: bool = False


#: In a file of its own there is room, and a box that scrolls.
WHOLE = Limits(2_000, 2_000, 40, 10_000, 40, 60, 60, 200, is_whole=True)
ICONS = {
    TrialState.WAITING: "○",
    TrialState.RUNNING: "●",
    TrialState.COMPLETE: "✔",
    TrialState.PRUNED: "✂",
    TrialState.FAILED: "✖",
    TrialState.STOPPED: "■",
}


def render_html(view: RunView, now: float, folder: str) -> str:
    """The whole run as an HTML fragment of at most `SIZE_LIMIT_BYTES`.

    Args:
        view: the run.
        now: seconds since the epoch; without effect once the run has ended.
        folder: where the run is stored, as a person should read it.
    """
    n_rows, n_components = ROW_LIMIT if view.state.is_final else LIVE_ROW_LIMIT, COMPONENT_LIMIT
    while (
        len((html := _render(view, now, folder, Limits(n_rows, n_components))).encode()) > SIZE_LIMIT_BYTES
        and n_rows > 1
    ):
        n_rows, n_components = n_rows // 2, max(1, 2 * n_components // 3)
    return html


def render_whole_html(view: RunView, now: float, folder: str) -> str:
    """The same with all that `WHOLE` allows, for a file of its own that has said which run it is."""
    return _render(view, now, folder, WHOLE)


def _render(view: RunView, now: float, folder: str, limits: Limits) -> str:
    picture = picture_of(ablation_of(view), limits.components, METRIC_LIMIT) if is_ablation(view) else None
    components = component_section(picture, summary.arrow(view)) if picture else ""
    trials = _middle(view, limits, now)
    if components and len(view.trials) > FOLD_LIMIT:
        trials = _folded(view, trials)
    label = f"lagom run {summary.experiment_name(view)} {summary.run_id(view)}, {summary.state(view)}"
    return (
        # The second and third class keep MathJax from typesetting what stands between dollar signs.
        f'<div class="lagom-run tex2jax_ignore mathjax_ignore" role="group" aria-label="{escape(label)}">'
        f"<style>{_style()}</style>"
        f"{'' if limits.is_whole else _head(view)}{_bar(view)}{_tiles(view, picture, now)}{_notices(view, limits)}"
        f"{components}{trials}{_foot(view, folder)}</div>"
    )


@cache
def _style() -> str:
    css = Path(__file__).with_name("run_view.css").read_text("utf-8")
    return re.sub(r"\s*([{};,])\s*|(:) ", r"\1\2", re.sub(r"\s+", " ", css)).strip()


def _head(view: RunView) -> str:
    state = view.state.lower()
    icon = ICONS[TrialState.WAITING] if view.state is RunState.STARTING else ICONS[TrialState(view.state)]
    return (
        f'<div class="lg-head"><strong class="lg-name">{escape(summary.experiment_name(view))}</strong> '
        f'<span class="lg-id">{escape(summary.run_id(view))}</span> '
        f'<span class="lg-pill lg-{state}"><span aria-hidden="true">{icon}</span> {escape(summary.state(view))}</span>'
        "</div>"
    )


def _bar(view: RunView) -> str:
    total = max(view.n_trials or 0, len(view.trials), 1)
    parts = [
        f'<span class="lg-{state.lower()}" style="width:{100 * view.counts[state] / total:.4g}%"></span>'
        for state in summary.STATES
        if view.counts[state] and state is not TrialState.WAITING
    ]
    label = " ".join(summary.progress(view)) + (f": {counts}" if (counts := summary.state_counts(view)) else "")
    return f'<div class="lg-bar" role="img" aria-label="{escape(label)}">{"".join(parts)}</div>'


def _tiles(view: RunView, picture: Picture | None, now: float) -> str:
    if picture is not None:
        value, detail = baseline_words(picture), baseline_detail(picture)
    else:
        value, whose = summary.best(view)
        detail = f"best: {whose}" if view.best is None else whose
    done, of = summary.progress(view)
    elapsed, left = summary.times(view, now)
    busy, workers = summary.workers(view)
    tiles = [
        (value, f"{summary.metric_name(view)} {summary.arrow(view)}", detail),
        (done, of, summary.state_counts(view)),
        (elapsed, "", left),
        (busy, "", workers),
    ]
    if saved := summary.saved(view):
        tiles.insert(3, (saved[0], "saved", saved[1]))
    return f'<div class="lg-tiles">{"".join(_tile(*tile) for tile in tiles)}</div>'


def _tile(value: str, unit: str, detail: str) -> str:
    small = f" <small>{escape(unit)}</small>" if unit else ""
    # Short parts, such as '1 failed', stay on one line.
    parts = " · ".join(part.replace(" ", "\xa0") if len(part) < 24 else part for part in detail.split(" · "))
    return f'<div class="lg-tile"><b>{escape(value)}{small}</b> <span>{escape(parts)}</span></div>'


def _notices(view: RunView, limits: Limits) -> str:
    warnings = [] if limits.is_whole else summary.warnings(view)  # a report has a section of them
    items = "".join(f"<li>{escape(text)}</li>" for text in (*warnings, *summary.notices(view)))
    return f'<ul class="lg-notices" aria-label="notices">{items}</ul>' if items else ""


def _middle(view: RunView, limits: Limits, now: float) -> str:
    """Table on the left, curves on the right; one above the other where the cell is narrow."""
    columns = choose_columns(view, limits.columns, limits.characters, limits.metrics)
    rows = choose_rows(view, limits.rows)
    if not rows.trials:
        return ""
    notes = [f"… and {rows.n_left_out:,} more"] if rows.n_left_out else []
    notes += filter(None, [summary.constants_line(columns, limits.left_out)])
    note = "".join(f'<div class="lg-note">{escape(text)}</div>' for text in notes)
    figures = charts.curves(view, rows.trials) + charts.best_so_far(view, now)
    side = f'<div class="lg-side">{figures}</div>' if figures else ""
    return (
        f'<div class="lg-two"><div class="lg-main">{_table(view, rows, columns, limits, now)}{note}</div>{side}</div>'
    )


def _folded(view: RunView, trials: str) -> str:
    """The trials of an ablation with many: its components are what is to be seen."""
    words = f"{count(len(view.trials), 'trial')}, one for each component and repeat"
    return f'<details class="lg-fold"><summary>{escape(words)}</summary>{trials}</details>'


def _table(view: RunView, rows: Rows, columns: Columns, limits: Limits, now: float) -> str:
    order = "running ones first" if is_ablation(view) else "running ones first, then the best"
    caption = escape(f"Trials of {summary.experiment_name(view)}: {order}")
    body = _Body(view, rows, columns, limits, now)
    head = _table_head(view, columns, limits, has_curves=body.has_curves)
    lines = "".join(body.row(trial) for trial in rows.trials)
    return (
        f'<table class="lg-table"><caption>{caption}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{lines}</tbody></table>"
    )


def _table_head(view: RunView, columns: Columns, limits: Limits, *, has_curves: bool) -> str:
    what = [
        *((_wide(index), one_line(name, limits.name)) for index, name in enumerate(columns.varying)),
        *(("lg-wide", one_line(name, limits.name)) for name in columns.metrics),
        *([("lg-wide", "step")] if view.n_steps else []),
    ]
    counts = [
        ("", f"{summary.metric_name(view)} {summary.arrow(view)}"),
        *([("", "curve")] if has_curves else []),
    ]
    middle = [*counts, *what] if limits.is_whole else [*what, *counts]
    cells = [("lg-l", "trial"), ("lg-l", "state"), ("lg-l lg-wide", "worker"), *middle, ("", "time")]
    return "".join(f'<th scope="col"{_class(name)}>{escape(text)}</th>' for name, text in cells)


class _Body:
    """Writes the table's rows; the sparklines of all of them have the same axes."""

    def __init__(self, view: RunView, rows: Rows, columns: Columns, limits: Limits, now: float) -> None:
        best = summary.best_trial(view)
        best_value = best.metric if best else None
        self._view, self._columns, self._limits, self._now = view, columns, limits, now
        self._y_range = charts.value_range(rows.trials, best_value)
        n_of_curves = bool(view.n_steps) + self.has_curves
        self._n_columns = 5 + n_of_curves + len(columns.varying) + len(columns.metrics)
        self._last_step = max((trial.last_step or 0 for trial in rows.trials), default=0)

    @property
    def has_curves(self) -> bool:
        """Whether any trial has reported the metric that counts."""
        return self._y_range is not None

    def row(self, trial: TrialView) -> str:
        is_best = trial is summary.best_trial(self._view)
        label = summary.trial_label(trial) + (
            ' <span title="best" role="img" aria-label="best">★</span>' if is_best else ""
        )
        icon, word = ICONS[trial.state], trial.state.lower()
        ranks = f' title="{escape(words)}"' if (words := summary.ranks_of(trial)) else ""
        what = [
            *(f"<td{_class(name)}>{escape(text)}</td>" for name, text in self._values(trial)),
            self._step(trial),
        ]
        counts = [f"<td>{escape(metric(trial.value))}</td>", self._curve(trial)]
        cells = [
            f'<th scope="row" class="lg-l">{label}</th>',
            f'<td class="lg-l lg-state lg-{word}"><span aria-hidden="true">{icon}</span> {word}</td>',
            f'<td class="lg-l lg-wide"{ranks}>{summary.workers_of(trial)}</td>',
            *([*counts, *what] if self._limits.is_whole else [*what, *counts]),
            f"<td>{escape(duration(trial.elapsed_s(self._now)))}</td>",
        ]
        why = self._why(trial)
        names = "lg-row" + " lg-first" * is_best + " lg-failing" * bool(why)
        return f'<tr class="{names}">{"".join(cells)}</tr>{why}'

    def _values(self, trial: TrialView) -> Iterator[tuple[str, str]]:
        """(class, text) of the cells that differ from run to run."""
        for index, name in enumerate(self._columns.varying):
            yield _wide(index), hparam(trial.hparams[name], self._limits.value) if name in trial.hparams else NOTHING
        for name in self._columns.metrics:
            yield "lg-wide", metric(trial.metrics.get(name))

    def _step(self, trial: TrialView) -> str:
        if not self._view.n_steps:
            return ""
        return f'<td class="lg-wide">{NOTHING if trial.last_step is None else trial.last_step}</td>'

    def _curve(self, trial: TrialView) -> str:
        if self._y_range is None:
            return ""
        curve = charts.sparkline(trial, self._y_range, self._last_step)
        kind = "best" if trial is summary.best_trial(self._view) else trial.state.lower()
        return f'<td class="lg-curve lg-{kind}">{curve}</td>'

    def _why(self, trial: TrialView) -> str:
        """A second row below a failed trial, with its error."""
        error = summary.error_line(trial, 300)
        if not error:
            return ""
        return f'<tr class="lg-row lg-why"><td colspan="{self._n_columns}"><div>{escape(error)}</div></td></tr>'


def _foot(view: RunView, folder: str) -> str:
    settings = f"<span>{escape(line)}</span> " if (line := summary.settings_line(view)) else ""
    return f'<div class="lg-note lg-foot">{settings}<span class="lg-path">{escape(one_line(folder, 400))}</span></div>'


def _wide(index: int) -> str:
    """In a narrow cell there is room for the first two hyperparameters only."""
    return "lg-wide" if index > 1 else ""


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""
