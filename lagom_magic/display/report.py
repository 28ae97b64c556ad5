"""A stored run as one HTML file for people without the tool: everything in it, no script, nothing from elsewhere.

Made by `%lagom show RUN --html FILE`. All text is escaped, and a policy in the file forbids a browser to run or load
anything. Files of the run are linked where they lie, and small pictures of the best trial are in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from lagom_magic.display import charts, summary
from lagom_magic.display.ablation import is_ablation
from lagom_magic.display.curves import read_curves
from lagom_magic.display.elements import facts, folded, items, more, part, pre, section
from lagom_magic.display.html import ICONS, render_whole_html
from lagom_magic.display.origin import origin
from lagom_magic.display.params import split_params
from lagom_magic.display.saved_lines import LINES_LIMIT, lines_html
from lagom_magic.display.stored import StoredRun
from lagom_magic.display.trial_files import file_links, pictures, trial_words
from lagom_magic.display.typed_options import typed_options, typed_space
from lagom_magic.display.updates import LineRing
from lagom_magic.display.wording import count, duration, hparam, metric, one_line
from lagom_magic.events.facts import RunState, TrialState
from lagom_magic.events.fold import TrialView
from lagom_magic.store.console_file import ConsoleReader
from lagom_magic.store.layout import RunLayout, read_file

#: Different warnings of trials.
WARNING_LIMIT = 20
#: Metrics of the best trial that are drawn.
PLOT_LIMIT = 24
_VALUE_LIMIT, _TEXT_LIMIT = 400, 2_000
_CONSOLE_BYTES = 1 << 20
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
#: How every report begins, and no other file: by it one is known that a newer one may take the place of.
_BEGINNING = (
    '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="generator" content="lagom_magic report">'
)


def render_report(run: StoredRun, now: float, beside: Path) -> str:
    """The run as an HTML document.

    Args:
        run: as stored.
        now: seconds since the epoch, for a run that goes on.
        beside: the folder in which the document will lie, for its links.
    """
    title = f"{summary.experiment_name(run.view)} {run.dir.name}"
    main = run.main_trial
    sections = [
        _head(run, now),
        render_whole_html(run.view, now, str(run.dir)),
        _result(run),
        _curves(run),
        section(
            "Pictures" if main is None else f"Pictures of {trial_words(main)}", pictures(run, main) if main else ""
        ),
        section("Where it came from", origin(run)),
        section("Warnings", _warnings(run)),
        section("Configuration", _configuration(run.document)),
        _params(main),
        section("Source", pre(run.source)),
        section("Printed", _console(run)),
        section("Files", file_links(run, beside)),
        section("Environment", folded("Python and packages of the driver", pre(run.environment))),
        section("Not in this report", items(run.missing)),
    ]
    return (
        f"{_BEGINNING}"
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_style()}</style></head><body>\n"
        f"{chr(10).join(filter(None, sections))}\n</body></html>\n"
    )


def is_report(path: Path) -> bool:
    """Whether a file is a report that `render_report` made.

    Raises:
        OSError: when it cannot be read.
    """
    beginning = _BEGINNING.encode()
    return read_file(path, len(beginning)) == beginning


@cache
def _style() -> str:
    return Path(__file__).with_name("report.css").read_text("utf-8")


def _head(run: StoredRun, now: float) -> str:
    """Which run it is, how it stands, when, by whom and where, and what people have said of it."""
    view = run.view
    icon = ICONS[TrialState.WAITING] if view.state is RunState.STARTING else ICONS[TrialState(view.state)]
    state = f'<span class="state {view.state.lower()}">{icon} {escape(summary.state(view))}</span>'
    description = _config(run.document).get("description")
    said = f'<p class="note">{escape(str(description))}</p>' if description else ""
    said += f'<p class="note"><b>Note:</b> {escape(run.note)}</p>' if run.note else ""
    tags = " ".join(f'<span class="tag">{escape(one_line(tag, 80))}</span>' for tag in run.tags)
    return (
        f"<header><h1>{escape(summary.experiment_name(view))} <small>{escape(one_line(run.dir.name, 80))}</small></h1>"
        f'<p class="when">{state} {_when(run, now)}</p>'
        f"{said}{f'<p>{tags}</p>' if tags else ''}</header>"
    )


def _when(run: StoredRun, now: float) -> str:
    """'started 29 November 2026, 14:15 UTC by ada on host7 · took 31 s'."""
    began = _began(run)
    driver = run.document.get("driver")
    driver = driver if isinstance(driver, dict) else {}
    who = [
        f"{word} {one_line(str(driver[key]), 80)}" for word, key in (("by", "user"), ("on", "host")) if driver.get(key)
    ]
    parts = [escape(" ".join(who))]
    if began is not None:
        words = f"{began.day} {began:%B %Y, %H:%M} {began.tzname() or ''}".strip()
        at = f'started <time datetime="{began.isoformat(timespec="seconds")}">{escape(words)}</time>'
        parts = [f"{at} {parts[0]}".strip()]
    if run.view.started_at is not None:
        took = "took" if run.view.state.is_final else "running for"
        parts.append(f"{took} {duration(run.view.elapsed_s(now))}")
    return " · ".join(filter(None, parts))


def _began(run: StoredRun) -> datetime | None:
    """As run.json has it, in the time zone of who started it; else as the journal does."""
    try:
        return datetime.fromisoformat(str(run.document.get("created_at")))
    except ValueError:
        pass
    try:
        return datetime.fromtimestamp(run.view.started_at, UTC) if run.view.started_at is not None else None
    except (ValueError, OverflowError, OSError):  # no time that there is
        return None


def _result(run: StoredRun) -> str:
    """What the best trial, or the only one, has come to."""
    is_only = len(run.view.trials) == 1
    trial = run.main_trial if is_only else summary.best_trial(run.view)
    if trial is None:
        return ""
    values = [(name, metric(value)) for name, value in trial.metrics.items()]
    values += [(name, one_line(text, _VALUE_LIMIT)) for name, text in trial.values.items()]
    with_what = [(name, hparam(value, _VALUE_LIMIT)) for name, value in trial.hparams.items()]
    found = [("values", facts(values)), ("hyperparameters", facts(with_what))]
    content = "".join(f"<div>{part(title, rows)}</div>" for title, rows in found if rows)
    title = "Result" if is_only else f"Best: {trial_words(trial)}"
    return section(title, f'<div class="columns">{content}</div>' if content else "")


def _curves(run: StoredRun) -> str:
    """What the best trial, or the only one, reported, unless that is one metric and the card has drawn it."""
    trial = run.main_trial
    if trial is None:
        return ""
    try:
        told = read_curves(RunLayout(run.dir).journal, trial.id, trial.attempt)
    except OSError as error:
        return section("Curves", f"<p>the journal cannot be read: {escape(str(error.strerror))}</p>")
    if len(told) == 1 and len(trial.series.points) > 1 and not is_ablation(run.view):
        return ""
    drawn = list[tuple[str, list[tuple[int, float]]]]()
    for name, points in told.items():
        finite = [(step, value) for step, value in points if not isinstance(value, str)]
        if len(finite) > 1:
            drawn.append((name, finite))
    figures = "".join(charts.curve(one_line(name, 60), points) for name, points in drawn[:PLOT_LIMIT])
    content = f'<div class="lagom-run"><div class="lg-side curves">{figures}</div></div>' if figures else ""
    return section(f"Curves of {trial_words(trial)}", content and content + more(len(drawn) - PLOT_LIMIT))


def _params(trial: TrialView | None) -> str:
    """What libraries were told in the best trial, or the only one."""
    if trial is None:
        return ""
    told, rest = split_params(trial.params)
    repeated = ", or as in the first fit" if any(value is not None for value in rest.values()) else ""
    title = f"{count(len(rest), 'parameter')} not set{repeated}"
    content = _param_facts(told) + folded(title, _param_facts(rest))
    return section(f"Logged parameters of {trial_words(trial)}", content)


def _param_facts(params: dict[str, Any]) -> str:
    return facts((name, hparam(value, _VALUE_LIMIT)) for name, value in params.items())


def _warnings(run: StoredRun) -> str:
    """Each warning once, with the trials that gave it."""
    found: dict[str, list[str]] = {}
    for trial in run.view.trials.values():
        for text in trial.warnings:
            found.setdefault(one_line(text, _VALUE_LIMIT), []).append(summary.trial_label(trial))
    lines = [f"{_trials(labels)}: {text}" for text, labels in list(found.items())[:WARNING_LIMIT]]
    return items(lines, len(found) - len(lines))


def _trials(labels: list[str]) -> str:
    labels = list(dict.fromkeys(labels))
    others = f" and {len(labels) - 5} more" if len(labels) > 5 else ""
    return f"{'trial' if len(labels) == 1 else 'trials'} {', '.join(labels[:5])}{others}"


def _configuration(document: dict[str, Any]) -> str:
    """The options as they are typed, where hyperparameters were searched, and all else that run.json says."""
    return (
        facts(typed_options(document))
        + part("Search space", facts(typed_space(document)))
        + folded("everything in run.json", facts(_settings(document)))
    )


def _settings(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What run.json says, the config's keys among the others, without what is empty or may have changed since."""
    flat = {key: value for key, value in document.items() if key not in ("config", "format")} | _config(document)
    for name, value in flat.items():
        if name not in ("tags", "description") and value not in (None, "", [], {}):
            yield name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _config(document: dict[str, Any]) -> dict[str, Any]:
    config = document.get("config")
    return config if isinstance(config, dict) else {}


def _console(run: StoredRun) -> str:
    ring, reader = LineRing(LINES_LIMIT), ConsoleReader(run.dir)
    try:
        while text := reader.read_new(_CONSOLE_BYTES):
            ring.add(text.split("\n")[:-1])
    except OSError as error:
        return f"<p>the console cannot be read: {escape(str(error.strerror))}</p>"
    finally:
        reader.close()
    return lines_html(list(ring.since(ring.first)), ring.n_lines)
