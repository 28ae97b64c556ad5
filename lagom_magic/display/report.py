"""A stored run as one HTML file for people without the tool: everything in it, no script, nothing from elsewhere.

Made by `%lagom show RUN --html FILE`. All text is escaped, and a policy in the file forbids a browser to run or load
anything. Files of the run are linked where they lie, and small pictures of the best trial are in it.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lagom_magic.display import summary
from lagom_magic.display.html import render_whole_html
from lagom_magic.display.saved_lines import LINES_LIMIT, lines_html
from lagom_magic.display.stored import StoredRun
from lagom_magic.display.updates import LineRing
from lagom_magic.display.wording import NOTHING, hparam, metric, one_line
from lagom_magic.errors import StoreError
from lagom_magic.events.fold import TrialView
from lagom_magic.store.console_file import ConsoleReader
from lagom_magic.store.layout import RunLayout, read_file
from lagom_magic.store.received import safe_parts

FILE_LIMIT = 500
#: Pictures, and bytes of one.
PICTURE_LIMIT, PICTURE_BYTES = 8, 1 << 20
_VALUE_LIMIT = 400
_CONSOLE_BYTES = 1 << 20
_PICTURES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
}
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
#: How every report begins, and no other file: by it one is known that a newer one may take the place of.
_BEGINNING = (
    '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="generator" content="lagom_magic report">'
)
_STYLE = """
body { max-width: 1120px; margin: 24px auto; padding: 0 16px; font: 14px/1.5 system-ui, sans-serif; color: #1f2328;
  background: #fff; color-scheme: light dark; }
h2 { margin: 28px 0 8px; font-size: 16px; }
table.facts { border-collapse: collapse; } table.facts th { padding: 2px 16px 2px 0; text-align: left; font-weight: 600;
  vertical-align: top; white-space: nowrap; } table.facts td { padding: 2px 0; overflow-wrap: anywhere; }
pre { overflow: auto; max-height: 40em; padding: 10px; border: 1px solid #8884; border-radius: 6px; font-size: 12px; }
p.note { white-space: pre-wrap; } .tag { padding: 1px 8px; border: 1px solid #8886; border-radius: 10px; }
figure img { max-width: 100%; } li { overflow-wrap: anywhere; } li small { color: #6e7781; }
@media (prefers-color-scheme: dark) { body { color: #e3e7eb; background: #111418; } a { color: #64b5f6; } }
"""


def render_report(run: StoredRun, now: float, beside: Path) -> str:
    """The run as an HTML document.

    Args:
        run: as stored.
        now: seconds since the epoch, for a run that goes on.
        beside: the folder in which the document will lie, for its links.
    """
    title = f"{summary.experiment_name(run.view)} {run.dir.name}"
    sections = [
        _tags_and_note(run),
        render_whole_html(run.view, now, str(run.dir)),
        _best(run),
        _params(run),
        _pictures(run),
        _section("Printed", _console(run)),
        _section("Source", _pre(run.source)),
        _section("Configuration", _facts(_settings(run.document))),
        _section("Files", _files(run, beside)),
        _section("Environment", _folded("Python and packages of the driver", _pre(run.environment))),
        _section("Not in this report", _items(escape(line) for line in run.missing)),
    ]
    return (
        f"{_BEGINNING}"
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>\n"
        f"{chr(10).join(filter(None, sections))}\n</body></html>\n"
    )


def is_report(path: Path) -> bool:
    """Whether a file is a report that `render_report` made.

    Raises:
        OSError: when it cannot be read.
    """
    beginning = _BEGINNING.encode()
    return read_file(path, len(beginning)) == beginning


def _tags_and_note(run: StoredRun) -> str:
    config = run.document.get("config")
    description = config.get("description") if isinstance(config, dict) else None
    texts = [f'<p class="note">{escape(str(text))}</p>' for text in (description, run.note) if text]
    tags = " ".join(f'<span class="tag">{escape(one_line(tag, 80))}</span>' for tag in run.tags)
    return "".join([*texts, f"<p>{tags}</p>" if tags else ""])


def _best(run: StoredRun) -> str:
    best = summary.best_trial(run.view)
    if best is None:
        return ""
    values = [(name, metric(value)) for name, value in best.metrics.items()]
    values += [(name, hparam(value, _VALUE_LIMIT)) for name, value in best.hparams.items()]
    return _section(f"Best: trial {summary.trial_label(best)}", _facts(values))


def _params(run: StoredRun) -> str:
    """What libraries were told in the best trial, or the only one."""
    trial = run.main_trial
    if trial is None:
        return ""
    values = _facts([(name, hparam(value, _VALUE_LIMIT)) for name, value in trial.params.items()])
    return _section(f"Logged parameters of trial {summary.trial_label(trial)}", values)


def _pictures(run: StoredRun) -> str:
    """Pictures that the best trial, or the only one, has returned."""
    trial = run.main_trial
    if trial is None:
        return ""
    figures: list[str] = []
    for name, path in _existing(run, trial):
        kind = _PICTURES.get(path.suffix.lower())
        if kind is None or len(figures) == PICTURE_LIMIT or path.stat().st_size > PICTURE_BYTES:
            continue
        data = base64.b64encode(path.read_bytes()).decode()
        figures.append(
            f'<figure><img src="data:{kind};base64,{data}" alt="{escape(name)}">'
            f"<figcaption>{escape(one_line(name, 200))}</figcaption></figure>"
        )
    return _section(f"Pictures of trial {summary.trial_label(trial)}", "".join(figures))


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


def _settings(document: dict[str, Any]) -> list[tuple[str, str]]:
    """What run.json says, the configuration's keys among the others, without what is empty."""
    config = document.get("config")
    flat = {key: value for key, value in document.items() if key not in ("config", "format")}
    flat |= config if isinstance(config, dict) else {}
    return [(name, _as_text(value)) for name, value in flat.items() if value not in (None, "", [], {})]


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _files(run: StoredRun, beside: Path) -> str:
    """Links to the files of trials; a browser follows them only where the run's folder lies as it did."""
    items, n_more = list[str](), 0
    for trial_id in sorted(run.view.trials):
        for name, path in _existing(run, run.view.trials[trial_id]):
            if len(items) == FILE_LIMIT:
                n_more += 1
                continue
            link = escape(quote(os.path.relpath(path, beside)))
            label = f"trial {trial_id}: {one_line(name, 200)}"
            items.append(f'<a href="{link}">{escape(label)}</a> <small>{path.stat().st_size:,} bytes</small>')
    return _items([*items, *([f"… and {n_more:,} more"] if n_more else [])])


def _existing(run: StoredRun, trial: TrialView) -> Iterator[tuple[str, Path]]:
    """(name, path) of a trial's files that are there, and in its own folder."""
    root = RunLayout(run.dir).trial_dir(trial.id, trial.attempt)
    for name in sorted(trial.files):
        try:
            path = root.joinpath(*safe_parts(name))
        except StoreError:  # no name of ours
            continue
        if path.is_file() and path.resolve().is_relative_to(root.resolve()):
            yield name, path


def _section(title: str, content: str) -> str:
    return f"<h2>{escape(title)}</h2>{content}" if content else ""


def _facts(values: Sequence[tuple[str, str]]) -> str:
    told = [(one_line(name, 80), one_line(value or NOTHING, _VALUE_LIMIT)) for name, value in values]
    rows = "".join(f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in told)
    return f'<table class="facts">{rows}</table>' if rows else ""


def _items(items: Any) -> str:
    content = "".join(f"<li>{item}</li>" for item in items)
    return f"<ul>{content}</ul>" if content else ""


def _pre(text: str) -> str:
    return f"<pre>{escape(text)}</pre>" if text.strip() else ""


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{content}</details>" if content else ""
