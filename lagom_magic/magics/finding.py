"""The verbs of `%lagom` for stored runs: list, search, tag, compare, report and delete; each answers with a text."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from lagom_magic.display.alignment import aligned
from lagom_magic.display.wording import NOTHING, count, duration, hparam, metric, one_line, size
from lagom_magic.errors import ConfigError, LagomError, StoreError, nearest
from lagom_magic.events.facts import RunState
from lagom_magic.magics.backend import Backend
from lagom_magic.magics.home import refreshed_home
from lagom_magic.magics.namespace import named_run
from lagom_magic.spec.secret_urls import without_secrets
from lagom_magic.store.layout import default_home, write_whole

if TYPE_CHECKING:
    from lagom_magic.store.index import RunSummary
    from lagom_magic.store.model_version import ModelVersion
    from lagom_magic.store.search import Findings, Found

#: How many runs are listed unless all are asked for.
RUNS_LIMIT = 20
#: How many ids of an experiment are named.
_IDS_LIMIT = 5
#: How many names of metrics and hyperparameters are named.
_NAMES_LIMIT = 10
#: Letters of a run's id that say which one to delete, at least.
_BEGINNING = 4
_STATES = tuple(state.value.lower() for state in RunState)
_HEAD = ["run", "experiment", "kind", "state", "started", "took", "trials", "best"]


class Finding:
    """One method a verb.

    Args:
        backend: the package, or a stand-in.
        names: the notebook's namespace, in which RUN may be a variable.
    """

    def __init__(self, backend: Backend, names: Mapping[str, Any]) -> None:
        self._backend, self._names = backend, names

    def runs(self, is_all: bool = False, state: str = "", name: str = "") -> str:
        """The newest runs, of one experiment or state if they are named."""
        from lagom_magic.store.index import list_runs

        if state and state.lower() not in _STATES:
            raise UsageError(
                f"%lagom runs: --state is {state!r}; allowed: {', '.join(_STATES)}.{nearest(state.lower(), _STATES)}"
            )
        listing = list_runs(refreshed_home(), None if is_all or state else RUNS_LIMIT, name or None)
        found = [run for run in listing.runs if state.lower() in ("", run.state.value.lower())]
        shown = found if is_all else found[:RUNS_LIMIT]
        n_more = len(found) - len(shown) + listing.n_more
        notes = _unreadable(listing.unreadable)
        if not found:
            said = "no stored run is like that" if state or name else _none_stored()
            return "\n".join([said, *notes])
        more = [f"… and {n_more:,} older: %lagom runs {_again(state, name)}--all"] if n_more else []
        return "\n".join([*_lines(shown), *more, *notes])

    def search(self, words: Sequence[str] = (), is_all: bool = False) -> str:
        """The newest runs that a query describes, each with the trial that fulfils its comparisons."""
        from lagom_magic.store.search import search

        findings = search(refreshed_home(), query_of(words), None if is_all else RUNS_LIMIT)
        notes = _unreadable(findings.unreadable)
        if not findings.found:
            return "\n".join(["no stored run is like that", *_unknown(findings), *notes])
        names = list(dict.fromkeys(comparison.name for comparison in findings.query.comparisons))
        trials = [[_trial(found), *(_value(found, name) for name in names)] for found in findings.found]
        extra = ["trial", *(one_line(name, 20) for name in names)] if names else []
        lines = _lines([found.summary for found in findings.found], extra, trials if names else ())
        more = [f"… and {findings.n_more:,} older: add --all"] if findings.n_more else []
        return "\n".join([*lines, *more, *notes])

    def tag(self, run: str, tags: Sequence[str] = (), remove: Sequence[str] = (), note: str | None = None) -> str:
        """Gives a run tags and a note, or says which it has."""
        from lagom_magic.store.tags import change_notes, note_of, tags_of

        found = named_run(run, self._names, self._backend)
        if tags or remove or note is not None:
            now = change_notes(found.dir, tags, remove, note)
        else:
            now = tags_of(found.dir)
        text = note_of(found.dir)
        noted = [f"note: {one_line(text, 500)}"] if text else []
        tags = ", ".join(one_line(tag, 64) for tag in now)
        return "\n".join([f"run {found.name}/{found.id}: {tags or 'no tags'}", *noted])

    def compare(self, runs: Sequence[str] = ()) -> str:
        """Runs side by side."""
        from lagom_magic.display.comparison import render_comparison
        from lagom_magic.display.stored import read_stored

        if len(runs) < 2:
            raise UsageError("%lagom compare: name two runs or more, such as %lagom compare k3f7 p2x9.")
        return render_comparison([read_stored(named_run(run, self._names, self._backend).dir) for run in runs])

    def report(self, run_dir: Path, html: str) -> str:
        """Writes a run's report."""
        from lagom_magic.display.report import render_report
        from lagom_magic.display.stored import read_stored
        from lagom_magic.store.mirror import fetch

        path = _report_path(html)
        fetch(run_dir)
        data = render_report(read_stored(run_dir), time.time(), path.parent).encode(errors="replace")
        try:
            write_whole(path, data)
        except OSError as error:
            raise StoreError(f"The report {path} cannot be written: {error.strerror}.") from error
        return f"wrote {path} ({size(len(data))}): run {run_dir.parent.name}/{run_dir.name}"

    def delete(self, runs: Sequence[str] = ()) -> str:
        """Deletes the folders of runs, one after the other; none when one is found not to be over beforehand.

        Raises:
            StoreError: says what was deleted before it.
        """
        from lagom_magic.display.board import stop_board
        from lagom_magic.store.deleting import delete_run

        folders = list(dict.fromkeys(self._deletable(run) for run in runs))
        if not folders:
            raise UsageError("%lagom delete: which run? Name its id, such as %lagom delete 20261122-093000-k3f7.")
        exported = _exported()
        done = list[str]()
        for number, folder in enumerate(folders, 1):
            try:
                n_bytes = delete_run(folder, stop_board)
            except LagomError as error:
                left = [f"not tried: {', '.join(other.name for other in folders[number:])}"] if folders[number:] else []
                raise StoreError("\n".join([str(error), *(f"before that: {text}" for text in done), *left])) from error
            stays = _staying(exported.get(folder.name, ()))
            done.append(f"deleted run {folder.parent.name}/{folder.name} ({size(n_bytes)}){stays}")
        return "\n".join(done)

    def _deletable(self, text: str) -> Path:
        """The folder of the run that a person wants deleted: named by its own id, and over."""
        from lagom_magic.store.deleting import alive, check_deletable
        from lagom_magic.store.index import ambiguous, run_dirs

        experiment, slash, run_id = text.rpartition("/")
        there = run_dirs(default_home())
        folders = [path for path in there if not slash or path.parent.name == experiment]
        near = [path for path in folders if path.name == run_id]
        if not near and len(run_id) >= _BEGINNING:
            near = [path for path in folders if path.name.startswith(run_id) or path.name.endswith(f"-{run_id}")]
        if not near:
            raise StoreError(self._no_id(text, there))
        if len(near) > 1:
            raise StoreError(ambiguous(text, near))
        (folder,) = near
        live = self._backend.current_run()
        if live is not None and live.dir == folder:
            raise alive(folder)
        check_deletable(folder)
        return folder

    def _no_id(self, text: str, folders: Sequence[Path]) -> str:
        """What to say of a text that is no run's id; of the folders the newest comes first."""
        from lagom_magic.run import Run
        from lagom_magic.store.index import not_found

        ids = [path.name for path in folders if path.parent.name == text]
        if ids:
            more = f" and {len(ids) - _IDS_LIMIT:,} older" if len(ids) > _IDS_LIMIT else ""
            what = f"{text!r} is an experiment with {count(len(ids), 'run')}: {', '.join(ids[:_IDS_LIMIT])}{more}"
            return f"{what}. %lagom delete wants the id of each run that is to go."
        if isinstance(value := self._names.get(text), Run):
            return f"{text!r} is a variable. %lagom delete wants the id of its run: %lagom delete {value.id}"
        fix = "Name it by its id, or by the beginning of that, four letters at least."
        return f"{not_found(default_home(), text)} {fix}"


def query_of(words: Sequence[str]) -> str:
    """The query that the words of a line are: one is all of it; among several, one with spaces is a phrase."""
    if len(words) == 1:
        return words[0]
    return " ".join(f'"{word}"' if " " in word and not set(word) & set('"<>=:') else word for word in words)


def _lines(runs: Sequence[RunSummary], head: Sequence[str] = (), cells: Sequence[Sequence[str]] = ()) -> list[str]:
    """The table of runs, with further columns; tags have one where there are any."""
    rows = [
        [
            run.run_id,
            one_line(run.experiment, 40),
            one_line(run.kind, 12),
            run.state.value,
            f"{run.created_at:%Y-%m-%d %H:%M}",
            duration(run.duration_s),
            str(run.n_done),
            NOTHING if run.best_val is None else f"{one_line(run.metric or 'metric', 30)} {metric(run.best_val)}",
        ]
        for run in runs
    ]
    columns = [*_HEAD, *head]
    rows = [[*row, *more] for row, more in zip(rows, cells or [[]] * len(rows), strict=True)]
    if any(run.tags for run in runs):
        columns.append("tags")
        rows = [[*row, one_line(" ".join(run.tags), 60)] for row, run in zip(rows, runs, strict=True)]
    return aligned([columns, *rows], left_aligned=range(len(columns)))


def _trial(found: Found) -> str:
    return NOTHING if found.trial is None else str(found.trial.id)


def _value(found: Found, name: str) -> str:
    if found.trial is None:
        return NOTHING
    if name in found.trial.metrics:
        return metric(found.trial.metrics[name])
    return hparam(found.trial.hparams[name]) if name in found.trial.hparams else NOTHING


def _unknown(findings: Findings) -> list[str]:
    """What to say of names that no run knows."""
    lines = []
    for name, near in findings.unknown.items():
        which = "Near" if near else "Known"
        more = ", …" if not near and len(findings.known) > _NAMES_LIMIT else ""
        shown = ", ".join(one_line(one, 60) for one in near or findings.known[:_NAMES_LIMIT])
        lines.append(f"no complete trial has a metric or hyperparameter {one_line(name, 60)!r}. {which}: {shown}{more}")
    return lines


def _unreadable(reasons: Mapping[str, str]) -> list[str]:
    """What to say of folders that are left out."""
    if not reasons:
        return []
    shown = [f"  {path}: {one_line(reason, 200)}" for path, reason in list(reasons.items())[:3]]
    more = [f"  … and {len(reasons) - 3:,} more"] if len(reasons) > 3 else []
    return [
        f"! {count(len(reasons), 'folder')} cannot be read and {'is' if len(reasons) == 1 else 'are'} left out:",
        *shown,
        *more,
    ]


def _none_stored() -> str:
    home = without_secrets(os.environ.get("LAGOM_HOME") or "./lagom_runs")
    return f"no run is stored in {home} yet; start one with %%lagom hpo"


def _again(state: str, name: str) -> str:
    """The same options once more."""
    return (f"--state {state} " if state else "") + (f"--name {name} " if name else "")


def _report_path(text: str) -> Path:
    """Where a report goes: a new file, or an older report.

    Raises:
        ConfigError: for a path that no file can have, or that another file has.
    """
    from lagom_magic.display.report import is_report

    allowed = "a path that ends with .html, in a folder that is there"
    path = Path(text).expanduser().absolute() if "\0" not in text else Path()
    if path.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"--html is {text!r}; allowed: {allowed}. Write --html report.html")
    try:
        if not path.parent.is_dir():
            raise ConfigError(
                f"--html is {text!r}; allowed: {allowed}. There is no folder {path.parent}; make it first."
            )
        if path.exists() and not path.is_file():
            raise ConfigError(f"--html is {text!r}, which is no file. Name another.")
        if path.exists() and not is_report(path):
            raise ConfigError(
                f"--html is {text!r}, which is a file that %lagom did not write: it would be lost. "
                "Name another, or delete it first."
            )
    except OSError as error:  # a name that is too long …
        raise ConfigError(f"--html is {text!r}, which cannot be a file: {error.strerror}.") from error
    return path


def _exported() -> Mapping[str, Sequence[ModelVersion]]:
    """Run id → the models that it exported; {} where the registry cannot be read."""
    from lagom_magic.store.lineage import models_of

    try:
        return models_of(default_home())
    except StoreError:
        return {}


def _staying(models: Sequence[ModelVersion]) -> str:
    """'; 2 models that it exported stay', '' without any."""
    return (
        f"; {count(len(models), 'model')} that it exported {'stays' if len(models) == 1 else 'stay'}" if models else ""
    )
