"""`%lagom lineage MODEL | FILE | RUN`: what it came from and what came of it, as a tree of text."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from lagom_magic.display.wording import count, hparam, metric, one_line, size
from lagom_magic.errors import StoreError
from lagom_magic.magics.namespace import look_up, named_run
from lagom_magic.run import Run
from lagom_magic.spec.names import is_plain_name
from lagom_magic.store import registry
from lagom_magic.store.data_files import change_of, file_entries
from lagom_magic.store.journal import read_view
from lagom_magic.store.layout import RunLayout, is_run_id
from lagom_magic.store.lineage import Attempt, Maker, Trace, Use, maker_of, model_file, models_of, trace_of, users_of

if TYPE_CHECKING:
    from lagom_magic.magics.backend import Backend
    from lagom_magic.store.model_version import ModelVersion

#: Rows below one line of the tree, values in one, and characters of a path.
_MAX_ROWS = 20
_MAX_VALUES = 6
_MAX_PATH = 160
#: Files that are named to have changed.
_MAX_CHANGED = 3
_CHANGES = {"same": "unchanged", "changed": "changed since", "gone": "not there any more", "unknown": ""}
_VERBS = {"read": "read", "written": "wrote"}
_NOT_SEEN = "no run is known to have used it; docs/provenance.md says what is not seen"


@dataclass(slots=True)
class Node:
    """A line and what hangs on it."""

    text: str
    below: list[Node] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The tree."""
        drawn = [self.text]
        for i, node in enumerate(self.below):
            is_last = i == len(self.below) - 1
            first, *rest = node.lines()
            drawn.append(f"{'└─' if is_last else '├─'} {first}")
            drawn += [f"{'  ' if is_last else '│ '} {line}" for line in rest]
        return drawn


def say_lineage(target: str, names: Mapping[str, Any], backend: Backend, home: Path) -> str:
    """The tree of a model, file or run.

    Args:
        target: `NAME` or `NAME:VERSION` of the registry, a file's or folder's path, or a run as `%lagom show` takes it.
        names: the notebook's namespace, in which it may be a variable.
        backend: finds runs.
        home: the folder of all experiments.

    Raises:
        UsageError: when it is none of them.
        StoreError: when what there is cannot be read.
    """
    return "\n".join(_tree(target, names, backend, home).lines())


def changed_data(run: Run, trial_id: int | None = None) -> str:
    """A line that names what a run, or one of its trials, had read and what has changed since; "" where nothing has.

    Raises:
        StoreError: when its journal cannot be read.
    """
    read = [use.entry for use in trace_of(run.dir, trial_id).uses if use.how in ("read", "given")]
    changes = {str(entry["path"]): change for entry in read if (change := change_of(entry)) in ("changed", "gone")}
    shown = [f"{_path(path)} ({_CHANGES[change]})" for path, change in list(changes.items())[:_MAX_CHANGED]]
    more = [f"and {len(changes) - _MAX_CHANGED:,} more"] if len(changes) > _MAX_CHANGED else []
    return f"data that run {run.id} read: {', '.join([*shown, *more])}" if changes else ""


def _tree(target: str, names: Mapping[str, Any], backend: Backend, home: Path) -> Node:
    text = _value(target, names)
    name, _, version = text.rpartition(":")
    if is_plain_name(name) and version.isdecimal() and name in registry.names(home):
        return _model(registry.find(home, name, int(version)), home)
    if is_plain_name(text) and text in registry.names(home):
        return _model(registry.find(home, text), home)
    path = os.path.realpath(os.path.expanduser(text))
    if not os.path.isfile(path):
        try:
            return _run(named_run(target, names, backend).dir, home)
        except StoreError as error:
            if not (os.path.exists(path) or os.sep in text):
                raise UsageError(f"%lagom lineage: {target!r} is no model, and no file. {error}") from error
    return _file(path + os.sep * os.path.isdir(path), home)


def _value(target: str, names: Mapping[str, Any]) -> str:
    """The text that a variable of the notebook holds, or the target itself."""
    if target.partition(".")[0] not in names:
        return target
    value = look_up(target, names, "X") if _is_attribute(target, names) else None
    return os.fspath(value) if isinstance(value, (str, os.PathLike)) and isinstance(os.fspath(value), str) else target


def _is_attribute(target: str, names: Mapping[str, Any]) -> bool:
    """Whether it can be looked up: `data.csv` is a file though there is a variable `data`."""
    first, *rest = target.split(".")
    found = names[first]
    for name in rest:
        if not hasattr(found, name):
            return False
        found = getattr(found, name)
    return True


def _model(version: ModelVersion, home: Path) -> Node:
    node = Node(f"model {_about_model(version)} · {version.created_at[:16].replace('T', ' ')}{_by(version.user)}")
    if version.run is None:
        node.below.append(Node("exported outside of a run"))
        return node
    run_dir = _run_dir(version.run, home)
    what = f"{_exporter(version)} of run {version.run['experiment']}/{version.run['id']}"
    if run_dir is None:
        read = [Use("read", entry) for entry in version.inputs]
        node.below.append(Node(one_line(f"from {what}, which is not there any more", _MAX_PATH), _uses(read, home)))
        return node
    trace = trace_of(run_dir, version.trial_id, version.attempt)
    trial = read_view(run_dir).trials.get(-1 if version.trial_id is None else version.trial_id)
    state = version.state or ("" if trial is None else trial.state.value)
    about = f" · {one_line(state, 24)}" * bool(state) + ("" if trial is None else _hparams(trial.hparams))
    rows = [*_origin(trace), *_uses(trace.uses, home), *_more(trace)]
    node.below.append(Node(f"from {one_line(what, _MAX_PATH)}{about}", rows))
    return node


def _run(run_dir: Path, home: Path) -> Node:
    trace = trace_of(run_dir)
    view = read_view(run_dir)
    node = Node(f"run {trace.experiment}/{trace.run_id} · {view.state.value} · {count(len(view.trials), 'trial')}")
    node.below = [*_origin(trace), *_uses(trace.uses, home, with_trials=True), *_more(trace)]
    node.below += _models(models_of(home).get(trace.run_id, []))
    return node


def _file(path: str, home: Path) -> Node:
    found = users_of(home, path)
    entries, _ = ([], 0) if path.endswith(os.sep) else file_entries([path])
    now = entries[0] if entries else None
    is_there = os.path.exists(path)
    node = Node(f"{'folder' if path.endswith(os.sep) else 'file'} {_path(path)}{_size(now or {})}")
    if not is_there:
        node.text += " · not there any more"
    if found.model is not None:
        node.below.append(Node(f"of model {found.model[0]}:{found.model[1]}"))
    if found.maker is not None:
        node.below.append(Node(f"kept from {_maker(found.maker)}"))
    for trace in found.traces[:_MAX_ROWS]:
        rows = [Node(f"{_using(use)} · {_compared(use, path, now)}".removesuffix(" · ")) for use in trace.uses]
        rows += _models(found.models.get(trace.run_id, []))
        node.below.append(Node(f"run {trace.experiment}/{trace.run_id}", _cut(rows)))
    if len(found.traces) > _MAX_ROWS:
        node.below.append(Node(f"… and {len(found.traces) - _MAX_ROWS:,} older runs"))
    for version in found.orphans:
        node.below.append(Node(f"model {_about_model(version)} · its run is not there any more"))
    if not node.below:
        node.below.append(Node(_NOT_SEEN))
    return node


def _origin(trace: Trace) -> list[Node]:
    """The source, the notebook and the commit, and the run that is repeated or gone on from."""
    parts = [f"source {_path(str(RunLayout(trace.dir).newest_source))}"]
    notebook, git = trace.provenance.get("notebook"), trace.provenance.get("git")
    if isinstance(notebook, str):
        parts.append(f"notebook {_path(notebook)}")
    if isinstance(git, dict) and git.get("commit"):
        branch = f" on {one_line(str(git['branch']), 40)}" if git.get("branch") else ""
        changes = " with changes (git.diff)" if git.get("is_dirty") else ""
        parts.append(f"git {one_line(str(git['commit']), 64)[:10]}{branch}{changes}")
    return [Node(" · ".join(parts)), *_earlier(trace)]


def _earlier(trace: Trace) -> list[Node]:
    """The run that it repeats, or from whose checkpoint it goes on."""
    document = Run(trace.dir).config
    repeated, resumed = document.get("repeats"), document.get("resumes")
    if isinstance(repeated, dict) and isinstance(run_id := repeated.get("run_id"), str):
        trial_id = repeated.get("trial_id")
        which = f"trial {trial_id} of " if isinstance(trial_id, int) else ""
        return [Node(f"repeats {which}run {one_line(run_id, 64)}")]
    if isinstance(resumed, str):
        return [Node(f"goes on from the checkpoint of run {one_line(resumed, 64)}")]
    return []


def _uses(uses: Sequence[Use], home: Path, *, with_trials: bool = False) -> list[Node]:
    shown = [
        Node(" · ".join(filter(None, [_used(use, with_trials), *_facts(use.entry), _changed(use), _made(use, home)])))
        for use in uses[:_MAX_ROWS]
    ]
    n_more = len(uses) - len(shown)
    return [*shown, *([Node(f"… and {n_more:,} more files")] if n_more else [])]


def _used(use: Use, with_trials: bool) -> str:
    if use.how == "given":
        return f"given as {one_line(use.argument, 40)}: {_path(use.path)}"
    who = f" by {_trials(use.attempts)}" if with_trials else ""
    different = f" ({use.versions} different contents)" if use.versions > 1 else ""
    return f"{_VERBS[use.how]} {_path(use.path)}{who}{different}"


def _changed(use: Use) -> str:
    return _CHANGES[change_of(use.entry)]


def _made(use: Use, home: Path) -> str:
    """Where a file comes from that lies in a run's folder or in the registry."""
    model, maker = model_file(home, use.path), maker_of(home, use.path)
    if model is not None:
        return f"of model {model[0]}:{model[1]}"
    return "" if maker is None else f"kept from {_maker(maker)}"


def _maker(maker: Maker) -> str:
    trial = "" if maker.attempt is None else f"{_trials([maker.attempt])} of "
    return f"{trial}run {maker.dir.parent.name}/{maker.dir.name}"


def _exporter(version: ModelVersion) -> str:
    """The trial that exported a model, with its attempt unless that was the first."""
    return (
        f"trial {version.trial_id}" if version.trial_id is None else _trials([(version.trial_id, version.attempt or 1)])
    )


def _using(use: Use) -> str:
    if use.how == "given":
        return f"given as {one_line(use.argument, 40)}"
    return f"{use.how} by {_trials(use.attempts)}"


def _compared(use: Use, path: str, now: Mapping[str, Any] | None) -> str:
    """How the file was when it was used, beside how it is now."""
    if use.path.rstrip(os.sep) != path.rstrip(os.sep):
        files = f", {use.entry['n_files']:,} files of it" if isinstance(use.entry.get("n_files"), int) else ""
        return f"as {_path(use.path)}{files}"
    if use.versions > 1:
        return f"{use.versions} different contents"
    then = str(use.entry.get("sha256") or "")
    if now is None or not then or not now.get("sha256"):
        return " · ".join(filter(None, [*_facts(use.entry), _changed(use)]))
    return "the same content as now" if then == now["sha256"] else f"another content than now, sha256 {then[:10]}"


def _models(versions: Iterable[ModelVersion]) -> list[Node]:
    return [Node(f"→ model {_about_model(version)} from {_exporter(version)}") for version in versions]


def _about_model(version: ModelVersion) -> str:
    metrics = [f"{one_line(name, 24)} {metric(value)}" for name, value in list(version.metrics.items())[:_MAX_VALUES]]
    return " · ".join(
        filter(None, [f"{version.name}:{version.version}", ", ".join(metrics), one_line(version.framework, 24)])
    )


def _run_dir(run: Mapping[str, str], home: Path) -> Path | None:
    """The run's folder, here or where it was when the model was exported."""
    if not is_run_id(run["id"]) or not is_plain_name(run["experiment"]):
        return None
    places = [home / run["experiment"] / run["id"], Path(run["dir"])]
    found = (place for place in places if place.name == run["id"] and RunLayout(place).run_json.is_file())
    return next(found, None)


def _facts(entry: Mapping[str, Any]) -> list[str]:
    sha256 = str(entry.get("sha256") or "")
    facts = [_size(entry).removeprefix(" · "), f"sha256 {one_line(sha256, 64)[:10]}" if sha256 else ""]
    return [fact for fact in facts if fact]


def _size(entry: Mapping[str, Any]) -> str:
    n_files = entry.get("n_files")
    told = count(n_files, "file") if isinstance(n_files, int) else size(entry.get("size_bytes"))
    return f" · {told}" if told else ""


def _trials(attempts: Iterable[Attempt]) -> str:
    """'trial 3', 'trials 0–39', 'trials 0–2, 5, … (9)', 'trial 3, trial 7 (attempts 1–2)'."""
    tries: dict[int, list[int]] = {}
    for trial_id, attempt in attempts:
        tries.setdefault(trial_id, []).append(attempt)
    alike: dict[tuple[int, ...], list[int]] = {}
    for trial_id, numbers in tries.items():
        alike.setdefault(tuple(numbers), []).append(trial_id)
    told = [
        f"trial{'s' * (len(ids) > 1)} {_spans(ids)}"
        + (f" (attempt{'s' * (len(numbers) > 1)} {_spans(numbers)})" if numbers != (1,) else "")
        for numbers, ids in alike.items()
    ]
    return ", ".join(told[:_MAX_VALUES]) + ", …" * (len(told) > _MAX_VALUES)


def _spans(numbers: Sequence[int]) -> str:
    """'3', '0–39', '0–2, 5, … (9)'."""
    spans = []
    for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        first, *rest = [number for _, number in run]
        spans.append(f"{first}–{rest[-1]}" if rest else str(first))
    more = f", … ({len(numbers):,})" if len(spans) > _MAX_VALUES else ""
    return f"{', '.join(spans[:_MAX_VALUES])}{more}"


def _hparams(hparams: Mapping[str, Any]) -> str:
    shown = [f"{one_line(name, 24)} {hparam(value)}" for name, value in list(hparams.items())[:_MAX_VALUES]]
    return f" · {', '.join(shown)}{', …' if len(hparams) > _MAX_VALUES else ''}" if shown else ""


def _more(trace: Trace) -> list[Node]:
    return [Node(f"and about {count(trace.n_more, 'more file')} beyond what is recorded")] if trace.n_more else []


def _cut(rows: list[Node]) -> list[Node]:
    n_more = len(rows) - _MAX_ROWS
    return rows if n_more <= 0 else [*rows[:_MAX_ROWS], Node(f"… and {n_more:,} more")]


def _by(user: str) -> str:
    return f" by {one_line(user, 24)}" if user else ""


def _path(path: str) -> str:
    return one_line(path, _MAX_PATH)
