"""The text/plain face: a table for terminals, logs and notebooks that are read without a browser."""

from __future__ import annotations

from collections.abc import Sequence

from lagom_magic.display import summary
from lagom_magic.display.rows import NAME_LIMIT, Columns, choose_columns, choose_rows
from lagom_magic.display.wording import NOTHING, duration, hparam, metric, one_line
from lagom_magic.events.facts import TrialState
from lagom_magic.events.fold import RunView, TrialView

ROW_LIMIT = 20
#: Hyperparameters and further metrics with a column of their own.
COLUMN_LIMIT = 6
CHARACTER_LIMIT = 56
BAR_WIDTH = 40
BAR_SIGNS = {
    TrialState.COMPLETE: "#",
    TrialState.PRUNED: "=",
    TrialState.FAILED: "x",
    TrialState.STOPPED: "-",
    TrialState.RUNNING: ">",
}


def render_text(view: RunView, now: float, folder: str) -> str:
    """The whole run as lines of text.

    Args:
        view: the run.
        now: seconds since the epoch; without effect once the run has ended.
        folder: where the run is stored, as a person should read it.
    """
    columns = choose_columns(view, COLUMN_LIMIT, CHARACTER_LIMIT)
    parts = [_head(view, now), _table(view, columns, now), summary.constants_line(columns)]
    notices = [f"! {text}" for text in summary.notices(view)]
    return "\n".join([*(part for part in parts if part), *notices, f"run folder: {one_line(folder, 400)}"])


def _head(view: RunView, now: float) -> str:
    value, whose = summary.best(view)
    done, of = summary.progress(view)
    elapsed, left = summary.times(view, now)
    title = f"{summary.experiment_name(view)} {summary.run_id(view)}".strip()
    first = [title, summary.state(view), f"{done} {of}", ", ".join(filter(None, (elapsed, left)))]
    saved = summary.saved(view)
    second = [
        f"[{_bar(view)}]",
        *filter(None, [summary.state_counts(view)]),
        *([f"compute saved {saved[0]} ({saved[1]})"] if saved else []),
        " ".join(summary.workers(view)),
    ]
    return "\n".join([" · ".join(first), f"best {summary.metric_name(view)}: {value} ({whose})", "  ".join(second)])


def _bar(view: RunView) -> str:
    """One sign for each state's share of the trials; a run of 3 trials has 3 equal parts."""
    total = max(view.n_trials or 0, len(view.trials), 1)
    bar, n_before = "", 0
    for state, sign in BAR_SIGNS.items():
        n_before += view.counts[state]
        bar += sign * (round(BAR_WIDTH * n_before / total) - len(bar))
    return bar.ljust(BAR_WIDTH, ".")


def _table(view: RunView, columns: Columns, now: float) -> str:
    rows = choose_rows(view, ROW_LIMIT)
    if not rows.trials:
        return ""
    names = [one_line(name, NAME_LIMIT) for name in (*columns.varying, *columns.metrics)]
    head = [
        "trial",
        "",
        "state",
        "worker",
        *names,
        *(["step"] if view.n_steps else []),
        summary.metric_name(view),
        "time",
        "",
    ]
    body = [_cells(view, trial, columns, now) for trial in rows.trials]
    lines = _aligned([head, *body], left_aligned=(1, 2, 3, len(head) - 1))
    return "\n".join([*lines, *([f"… and {rows.n_left_out:,} more"] if rows.n_left_out else [])])


def _cells(view: RunView, trial: TrialView, columns: Columns, now: float) -> list[str]:
    return [
        summary.trial_label(trial),
        "*" if trial is view.best else "",
        trial.state.value,
        NOTHING if trial.worker_id is None else f"w{trial.worker_id}",
        *(hparam(trial.hparams[name]) if name in trial.hparams else NOTHING for name in columns.varying),
        *(metric(trial.metrics.get(name)) for name in columns.metrics),
        *([NOTHING if trial.last_step is None else str(trial.last_step)] if view.n_steps else []),
        metric(trial.value),
        duration(trial.elapsed_s(now)),
        summary.error_line(trial, 80),
    ]


def _aligned(rows: Sequence[Sequence[str]], left_aligned: Sequence[int]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column in left_aligned else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
