"""What came from what: files, trials and models, read from the runs' journals, their provenance.json and the registry.

`%lagom lineage` shows it. Nothing is kept beside: the folders are all there is.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from lagom_magic.errors import StoreError
from lagom_magic.store import registry
from lagom_magic.store.index import run_dirs
from lagom_magic.store.layout import RunLayout, is_run_id
from lagom_magic.store.model_version import ModelVersion

How = Literal["read", "written", "given"]

#: Of a trial and an attempt, as `RunLayout.trial_name` has it.
_TRIAL_FOLDER = re.compile(r"([0-9]{4,18})(?:\.([0-9]{1,18}))?")
#: (trial id, attempt)
Attempt = tuple[int, int]

_FILES_USED = b'"files_used"'


@dataclass(frozen=True, slots=True)
class Use:
    """One file or folder in one run.

    Attributes:
        how: opened for reading or writing by trials, or given to the run as data.
        entry: as in `FilesUsed`, as the last of the trials found it.
        attempts: which of which trials, sorted; () of what was given to the run.
        argument: what it was given as; "" of what trials opened.
        versions: how many different contents the trials found, as far as their hashes say.
    """

    how: How
    entry: dict[str, Any]
    attempts: tuple[Attempt, ...] = ()
    argument: str = ""
    versions: int = 1

    @property
    def path(self) -> str:
        """Absolute, with "/" at its end for a folder; or a URI."""
        return str(self.entry["path"])

    @property
    def trials(self) -> tuple[int, ...]:
        """Their ids, sorted."""
        return tuple(dict.fromkeys(trial_id for trial_id, _ in self.attempts))

    def covers(self, path: str) -> bool:
        """Whether it is this file, or one in this folder, or below `path`, a folder that ends in "/"."""
        is_inside = self.path.endswith("/") and path.startswith(self.path)
        return (
            path.rstrip("/") == self.path.rstrip("/")
            or is_inside
            or (path.endswith("/") and self.path.startswith(path))
        )


@dataclass(frozen=True, slots=True)
class Trace:
    """The files of one run.

    Attributes:
        dir: the run's folder.
        uses: what it was given, then what its trials opened, in that order.
        n_more: files that trials opened beyond what is recorded.
        provenance: content of provenance.json; {} without one.
    """

    dir: Path
    uses: tuple[Use, ...]
    n_more: int
    provenance: dict[str, Any]

    @property
    def run_id(self) -> str:
        return self.dir.name

    @property
    def experiment(self) -> str:
        return self.dir.parent.name


@dataclass(frozen=True, slots=True)
class Maker:
    """Whose file it is that lies in a run's folder.

    Attributes:
        dir: the run's folder.
        attempt: the trial's that made it; None for what is no trial's.
    """

    dir: Path
    attempt: Attempt | None = None


@dataclass(frozen=True, slots=True)
class FileUsers:
    """Who has to do with a file or folder.

    Attributes:
        path: absolute, "/" at the end for a folder.
        maker: the run in whose folder it lies; or None.
        model: the version of a model whose file it is; or None.
        traces: the runs that used it, newest first, each with these uses alone.
        models: versions by the id of the run that exported them, where the very attempt had used the file.
        orphans: versions that came of it and whose run is not there any more.
    """

    path: str
    maker: Maker | None
    model: tuple[str, int] | None
    traces: tuple[Trace, ...]
    models: dict[str, list[ModelVersion]]
    orphans: tuple[ModelVersion, ...]


def trace_of(run_dir: Path, trial_id: int | None = None, attempt: int | None = None) -> Trace:
    """What is recorded of a run's files; nothing of a run that recorded none.

    Args:
        run_dir: the run's folder.
        trial_id: the only trial that counts; None = all of them.
        attempt: the only one of it that counts; None = all of them.

    Raises:
        StoreError: when its journal cannot be read.
    """
    layout = RunLayout(run_dir)
    provenance = _provenance(layout)
    try:
        journal = layout.journal.read_bytes()
    except FileNotFoundError:
        journal = b""
    except OSError as error:
        raise StoreError(f"The journal of run {run_dir.name} cannot be read: {error}.") from error
    opened: dict[tuple[How, str], _Opened] = {}
    n_more = 0
    for said_by, record in _files_used(journal):
        if trial_id not in (None, said_by[0]) or attempt not in (None, said_by[1]):
            continue
        n_more += _number(record.get("n_more"))
        for how, entries in (("read", record.get("reads")), ("written", record.get("writes"))):
            for entry in entries if isinstance(entries, list) else ():
                if isinstance(entry, dict) and isinstance(entry.get("path"), str):
                    opened.setdefault((how, entry["path"]), _Opened()).add(said_by, entry)  # type: ignore[arg-type]
    uses = [use for item in _given(provenance) for use in item]
    uses += [one.use(how) for (how, _), one in opened.items()]
    return Trace(run_dir, tuple(uses), n_more, provenance)


def models_of(home: Path) -> dict[str, list[ModelVersion]]:
    """Run id → the versions that its trials exported; "" → those from outside of runs.

    Raises:
        StoreError: when the registry is there and cannot be read.
    """
    found: dict[str, list[ModelVersion]] = {}
    for version in registry.versions(home).versions:
        found.setdefault("" if version.run is None else version.run["id"], []).append(version)
    return found


def users_of(home: Path, path: str) -> FileUsers:
    """Who used a file, and what came of it; reads every run of the folder.

    Args:
        home: the folder of all experiments.
        path: absolute and real; of a folder with "/" at its end.

    Raises:
        StoreError: when the registry cannot be read.
    """
    exported = models_of(home)
    traces, models = [], {}
    there = set()
    for run_dir in run_dirs(home):
        there.add(run_dir.name)
        try:
            trace = trace_of(run_dir)
        except StoreError:  # one that cannot be read must not hide the others
            continue
        uses = tuple(use for use in trace.uses if use.covers(path))
        if uses:
            traces.append(replace(trace, uses=uses))
            models[run_dir.name] = list(_came_of(exported.get(run_dir.name, ()), uses))
    orphans = [
        version
        for run_id, versions in exported.items()
        for version in versions
        if run_id not in there and any(Use("read", item).covers(path) for item in _entries(version.inputs))
    ]
    return FileUsers(path, maker_of(home, path), model_file(home, path), tuple(traces), models, tuple(orphans))


def maker_of(home: Path, path: str) -> Maker | None:
    """The run in whose folder a file lies, and the attempt in whose; None elsewhere."""
    parts = _parts_below(home, path)
    if len(parts) < 3 or not is_run_id(parts[1]):
        return None
    folder = parts[3] if len(parts) > 3 and parts[2] in ("trials", "tensorboard") else ""
    named = _TRIAL_FOLDER.fullmatch(folder)
    return Maker(home / parts[0] / parts[1], (int(named[1]), int(named[2] or 1)) if named else None)


def model_file(home: Path, path: str) -> tuple[str, int] | None:
    """(name, version) of the model in whose folder a file lies."""
    parts = _parts_below(home, path)
    is_one = len(parts) > 3 and parts[0] == registry.FOLDER and parts[2].isdecimal()
    return (parts[1], int(parts[2])) if is_one else None


def _parts_below(home: Path, path: str) -> list[str]:
    top = os.path.realpath(home) + os.sep
    return path[len(top) :].split(os.sep) if path.startswith(top) else []


def _came_of(versions: Iterable[ModelVersion], uses: tuple[Use, ...]) -> Iterator[ModelVersion]:
    """The versions whose trial read the file in the attempt that exported them, or whose run was given it."""
    for version in versions:
        by = (version.trial_id, version.attempt)
        if any(use.how == "given" or (use.how == "read" and by in use.attempts) for use in uses):
            yield version


class _Opened:
    """What the trials of a run found of one file."""

    def __init__(self) -> None:
        self._entry: dict[str, Any] = {}
        self._attempts: set[Attempt] = set()
        self._hashes: set[str] = set()

    def add(self, attempt: Attempt, entry: dict[str, Any]) -> None:
        self._entry = entry
        self._attempts.add(attempt)
        if entry.get("sha256"):
            self._hashes.add(str(entry["sha256"]))

    def use(self, how: How) -> Use:
        return Use(how, self._entry, tuple(sorted(self._attempts)), versions=max(1, len(self._hashes)))


def _files_used(journal: bytes) -> Iterator[tuple[Attempt, dict[str, Any]]]:
    """Who said it, and the record, of each such line; the others are not even parsed."""
    position = journal.find(_FILES_USED)
    while position >= 0:
        end = journal.find(b"\n", position)
        if end < 0:  # it is being written
            return
        line = journal[journal.rfind(b"\n", 0, position) + 1 : end]
        position = journal.find(_FILES_USED, end)
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):  # damaged
            continue
        if isinstance(record, dict) and record.get("type") == "files_used":
            trial_id, attempt = record.get("trial_id"), record.get("attempt")
            if type(trial_id) is int and type(attempt) is int:
                yield (trial_id, attempt), record


def _provenance(layout: RunLayout) -> dict[str, Any]:
    try:
        document = json.loads(layout.provenance.read_bytes())
    except (OSError, ValueError, RecursionError):  # not written yet, of an older version, or damaged
        return {}
    return document if isinstance(document, dict) else {}


def _given(provenance: dict[str, Any]) -> Iterator[list[Use]]:
    inputs = provenance.get("inputs")
    for item in inputs if isinstance(inputs, list) else ():
        if isinstance(item, dict):
            yield [Use("given", entry, argument=str(item.get("argument", ""))) for entry in _entries(item.get("files"))]


def _entries(value: object) -> Iterator[dict[str, Any]]:
    for entry in value if isinstance(value, (list, tuple)) else ():
        if isinstance(entry, dict) and isinstance(entry.get("path"), str):
            yield entry


def _number(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0
