"""The text/plain face: a table for terminals, logs and notebooks that are read without a browser."""

from __future__ import annotations

from lagom_magic.display import summary
from lagom_magic.display.ablation import Picture, baseline_detail, baseline_words, is_ablation, notice_lines, picture_of
from lagom_magic.display.ablation_text import COMPONENT_LIMIT, METRIC_LIMIT, component_lines
from lagom_magic.display.alignment import aligned
from lagom_magic.display.rows import NAME_LIMIT, Columns, choose_columns, choose_rows
from lagom_magic.display.wording import NOTHING, duration, hparam, metric, one_line
from lagom_magic.events.facts import TrialState
from lagom_magic.events.fold import RunView, TrialView
from lagom_magic.statistics.ablation import ablation_of

ROW_LIMIT = 20
#: In an ablation, where the components say most of it.
ABLATION_ROW_LIMIT = 8
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
    picture = picture_of(ablation_of(view), COMPONENT_LIMIT, METRIC_LIMIT) if is_ablation(view) else None
    parts = [
        _head(view, picture, now),
        _components(view, picture),
        _table(view, columns, now),
        summary.constants_line(columns),
    ]
    notices = [f"! {text}" for text in (*summary.warnings(view), *summary.notices(view))]
    return "\n".join([*(part for part in parts if part), *notices, f"run folder: {one_line(folder, 400)}"])


def _components(view: RunView, picture: Picture | None) -> str:
    """What was left out, between empty lines; '' where nothing is, or was."""
    lines = component_lines(picture, summary.arrow(view)) if picture else []
    notices = [f"! {text}" for text in notice_lines(picture)] if picture else []
    return "\n".join(["", *lines, *notices, ""]) if lines or notices else ""


def _head(view: RunView, picture: Picture | None, now: float) -> str:
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
    return "\n".join([" · ".join(first), _result(view, picture), "  ".join(second)])


def _result(view: RunView, picture: Picture | None) -> str:
    if picture is not None:
        return f"{summary.metric_name(view)}: {baseline_words(picture)} · {baseline_detail(picture)}"
    value, whose = summary.best(view)
    return f"best {summary.metric_name(view)}: {value} ({whose})"


def _bar(view: RunView) -> str:
    """One sign for each state's share of the trials; a run of 3 trials has 3 equal parts."""
    total = max(view.n_trials or 0, len(view.trials), 1)
    bar, n_before = "", 0
    for state, sign in BAR_SIGNS.items():
        n_before += view.counts[state]
        bar += sign * (round(BAR_WIDTH * n_before / total) - len(bar))
    return bar.ljust(BAR_WIDTH, ".")


def _table(view: RunView, columns: Columns, now: float) -> str:
    rows = choose_rows(view, ABLATION_ROW_LIMIT if is_ablation(view) else ROW_LIMIT)
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
    lines = aligned([head, *body], left_aligned=(1, 2, 3, len(head) - 1))
    return "\n".join([*lines, *([f"… and {rows.n_left_out:,} more"] if rows.n_left_out else [])])


def _cells(view: RunView, trial: TrialView, columns: Columns, now: float) -> list[str]:
    return [
        summary.trial_label(trial),
        "*" if trial is summary.best_trial(view) else "",
        trial.state.value,
        summary.workers_of(trial),
        *(hparam(trial.hparams[name]) if name in trial.hparams else NOTHING for name in columns.varying),
        *(metric(trial.metrics.get(name)) for name in columns.metrics),
        *([NOTHING if trial.last_step is None else str(trial.last_step)] if view.n_steps else []),
        metric(trial.value),
        duration(trial.elapsed_s(now)),
        summary.error_line(trial, 80),
    ]
