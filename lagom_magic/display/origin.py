"""Where a run came from, in its report: notebook, code, arguments, machine and data, and the models that came of it.

Everything is read from what others wrote (a worker's words, a folder that somebody sent), so any of it may be missing
or of another form.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from lagom_magic.display.elements import facts, folded, part, table
from lagom_magic.display.stored import StoredRun
from lagom_magic.display.trial_files import trial_words
from lagom_magic.display.wording import count, hparam, metric, one_line, size
from lagom_magic.events.fold import TrialView
from lagom_magic.store.lineage import Use

#: Rows of a table.
DATA_LIMIT, MODEL_LIMIT = 20, 50
_MODEL_HEAD = ("model", "framework", "metrics", "what goes in and comes out", "of")
_HASH_LENGTH = 12
_PATH_LIMIT, _VALUE_LIMIT = 300, 400


def origin(run: StoredRun) -> str:
    """What is known of where it came from; '' where nothing is."""
    return (
        facts(_facts(run))
        + part("Arguments", facts((name, hparam(value, _VALUE_LIMIT)) for name, value in arguments(run).items()))
        + part(_data_title(run), _data(run))
        + part("Exported models", _models(run))
    )


def arguments(run: StoredRun) -> dict[str, Any]:
    """Argument → what every trial had there: the function's own default, or what was fixed."""
    return {**_part(run.document, "defaults"), **_part(run.document, "fixed_hparams")}


def _facts(run: StoredRun) -> Iterator[tuple[str, str]]:
    told = run.trace.provenance
    if notebook := _text(told, "notebook"):
        yield "notebook", f"{PurePath(notebook).name}, in {PurePath(notebook).parent}"
    elif folder := _text(run.document, "notebook_dir"):
        yield "started in", folder
    if function := _text(run.document, "train_fn"):
        yield "function", function
    if code := _code(_part(told, "git")):
        yield "code", code
    if remote := _text(_part(told, "git"), "remote"):
        yield "repository", remote
    if earlier := _earlier(run.document):
        yield earlier
    if machine := _machine(run):
        yield "ran on", machine
    if not run.trace.uses and run.main_trial is not None and run.main_trial.files_used is not None:
        yield "data files", "none was seen to be read"


def _code(git: Mapping[str, Any]) -> str:
    commit, branch = _text(git, "commit"), _text(git, "branch")
    if not commit:
        return ""
    where = f" on branch {branch}" if branch else ""
    changes = (
        "with changes that were not committed, see git.diff in the run's folder"
        if git.get("is_dirty")
        else "no uncommitted change of tracked files was seen"
    )
    return f"commit {commit[:_HASH_LENGTH]}{where}, {changes}"


def _earlier(document: Mapping[str, Any]) -> tuple[str, str] | None:
    """The run that this one repeats, or goes on with."""
    if resumed := _text(document, "resumes"):
        return "goes on with", f"run {resumed}"
    repeated = _part(document, "repeats")
    if not (run_id := _text(repeated, "run_id")):
        return None
    trial_id = repeated.get("trial_id")
    return "repeats", f"trial {trial_id} of run {run_id}" if isinstance(trial_id, int) else f"run {run_id}"


def _machine(run: StoredRun) -> str:
    """Of the driver; workers may run elsewhere."""
    hardware, spark = _part(run.trace.provenance, "hardware"), _part(run.document, "spark")
    cores, memory, gpus = (hardware.get(name) for name in ("cores", "memory_bytes", "gpus"))
    parts = [
        _text(hardware, "cpu"),
        count(cores, "core") if isinstance(cores, int) else "",
        f"{room} of memory" if (room := size(memory)) else "",
        count(len(gpus), "GPU") if isinstance(gpus, list) and gpus else "",
        f"Spark {_text(spark, 'version')} at {_text(spark, 'master')}" if _text(spark, "version") else "",
        f"Python {run.packages['Python']}" if "Python" in run.packages else "",
    ]
    return ", ".join(filter(None, parts))


def _data_title(run: StoredRun) -> str:
    reader = "the trials" if run.main_trial is None else trial_words(run.main_trial)
    is_given = any(use.how == "given" for use in run.trace.uses)
    return f"Data that {'the run was given or ' if is_given else ''}{reader} read"


def _data(run: StoredRun) -> str:
    """Each file or folder once, with how the run got at it."""
    found: dict[str, tuple[list[str], dict[str, Any]]] = {}
    for use in run.trace.uses:
        if use.how != "written":
            hows, entry = found.setdefault(use.path, ([], {}))
            hows.append(_how(use))
            entry.update({key: value for key, value in use.entry.items() if value not in (None, "")})
    rows = [
        (one_line(path, _PATH_LIMIT), ", ".join(dict.fromkeys(hows)), size(entry.get("size_bytes")), _hash(entry))
        for path, (hows, entry) in list(found.items())[:DATA_LIMIT]
    ]
    n_more = len(found) - len(rows) + run.trace.n_more + _n_unlisted(run.trace.provenance)
    return table(("file", "how", "size", "SHA-256"), rows, n_more)


def _how(use: Use) -> str:
    return "read" if use.how == "read" else f"given as {one_line(use.argument, 40)}"


def _hash(entry: Mapping[str, Any]) -> str:
    digest = _text(entry, "sha256")
    return f"{digest[:_HASH_LENGTH]}…" if digest else ""


def _n_unlisted(provenance: Mapping[str, Any]) -> int:
    """How many files the run was given beyond those that its provenance lists."""
    inputs, n = provenance.get("inputs"), 0
    for item in inputs if isinstance(inputs, list) else ():
        n_files, listed = (item.get("n_files"), item.get("files")) if isinstance(item, dict) else (None, None)
        n += max(0, n_files - len(listed)) if isinstance(n_files, int) and isinstance(listed, list) else 0
    return n


def _models(run: StoredRun) -> str:
    """Those of the best trial, or the only one; of the others, folded."""
    main = run.main_trial
    of_main = [] if main is None else _exports(main)
    trials = [run.view.trials[trial_id] for trial_id in sorted(run.view.trials)]
    others = [row for trial in trials if trial is not main for row in _exports(trial)]
    rest = table(_MODEL_HEAD, others[:MODEL_LIMIT], len(others) - MODEL_LIMIT)
    if not of_main:
        return rest
    return table(_MODEL_HEAD, of_main[:MODEL_LIMIT], len(of_main) - MODEL_LIMIT) + folded(
        f"{count(len(others), 'model')} of other trials", rest
    )


def _exports(trial: TrialView) -> list[tuple[str, ...]]:
    return [
        (
            one_line(export.name, 80),
            one_line(export.framework, 40),
            ", ".join(f"{one_line(name, 40)} {metric(value)}" for name, value in export.metrics.items()),
            " → ".join(one_line(text, 120) for text in export.signature.values()),
            trial_words(trial),
        )
        for export in trial.exports
    ]


def _part(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    return value if isinstance(value, str) else ""
