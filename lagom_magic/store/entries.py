"""What the list and the search know of one run, read from its folder, and whether the folder is as it was then.

Used by the index, which keeps entries, and without it.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from lagom_magic.errors import StoreError
from lagom_magic.events.facts import Metrics, RunState, TrialState
from lagom_magic.events.views import RunView, TrialView
from lagom_magic.store.journal import is_being_written, read_view
from lagom_magic.store.layout import RunLayout, read_file
from lagom_magic.store.query import TrialValues, searchable
from lagom_magic.store.summary import result_document
from lagom_magic.store.tags import note_of, tags_of

logger = logging.getLogger("lagom_magic.store")

#: The files that an entry is made of, result.json not among them: the journal says the same. The first is what makes a
#: folder a run's.
FILES = ("run.json", "events.jsonl", "source.py", "notes.json")
#: Of the byte that says which of them are there: there is source.2.py, too, or more of its kind. Seldom: their times
#: stand in the signature behind the others', and it takes a look into the folder to compare it.
_HAS_FURTHER = 1 << len(FILES)
#: What was written less than this before it was read may be written again without showing a later time.
_SETTLED_S = 2.0
#: Bytes of each source that are searched, and of a document that is read.
_SOURCE_LIMIT, _DOCUMENT_LIMIT = 100_000, 64 << 20
#: By which of `FILES` are there: what is asked for, and how the answers are packed.
_NAMES = tuple(
    tuple(f"/{name}" for bit, name in enumerate(FILES) if mask >> bit & 1) for mask in range(1 << len(FILES))
)
_PACKING = tuple(struct.Struct(f"<{2 + 2 * len(names)}q") for names in _NAMES)
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError)


class RunSummary(NamedTuple):
    """One line of the list of runs.

    Attributes:
        run_id: unique in practice, over all experiments.
        experiment: the name that groups runs.
        folder: where it lies; `dir` as a path.
        kind: hpo, run …
        state: FAILED also for a run whose driver died.
        created_at: with its time zone.
        duration_s: until its end, or until its last event so far.
        n_done: trials in a final state.
        n_complete: those that are COMPLETE.
        metric: name of the metric that counts, when known.
        best_id: the best trial; None without one.
        best_val: its metric.
        tags: as they are now.
        n_trials: how many trials it was to have; None when that was open.
    """

    run_id: str
    experiment: str
    folder: str
    kind: str
    state: RunState
    created_at: datetime
    duration_s: float
    n_done: int
    n_complete: int
    metric: str | None
    best_id: int | None
    best_val: float | None
    tags: tuple[str, ...] = ()
    n_trials: int | None = None

    @property
    def dir(self) -> Path:
        """Its folder."""
        return Path(self.folder)


@dataclass(frozen=True, slots=True)
class RunEntry:
    """A run as list and search know it.

    Attributes:
        summary: its line in the list.
        user: who ran it.
        models: names of the models that its trials exported.
        text: everything that words are looked for in, see `query.searchable`.
        trials: the COMPLETE ones, the best first.
        signature: of the files that it was read from; b"" when they may change unseen, so that it must not be kept.
    """

    summary: RunSummary
    user: str
    models: tuple[str, ...]
    text: str
    trials: tuple[TrialValues, ...]
    signature: bytes


def as_before(home: Path, signatures: Iterable[tuple[str, bytes]]) -> set[str]:
    """Those of a home's runs whose files are those that their entries were read from; a look at the disk for each.

    A file that came or went has changed the folder's own time. A file's time is that of its last change of any kind,
    which, unlike the one that people see, nobody can set back.

    Args:
        home: the folder of all experiments.
        signatures: ('experiment/run id', the entry's signature).
    """
    found, look = set(), os.stat
    root = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # paths from here take less time
    try:
        for path, signature in signatures:
            try:
                mask = signature[0]
                if mask & _HAS_FURTHER:
                    if _sign(f"{home}/{path}", 0.0)[0] == signature:
                        found.add(path)
                    continue
                values = [mask, look(path, dir_fd=root).st_mtime_ns]
                for name in _NAMES[mask]:
                    file = look(path + name, dir_fd=root)
                    values += file.st_ctime_ns, file.st_size
                if _PACKING[mask].pack(*values) == signature:
                    found.add(path)
            except (OSError, LookupError, TypeError):  # deleted; or no signature of ours
                continue
    finally:
        os.close(root)
    return found


def read_entry(folder: Path, now_s: float) -> RunEntry:
    """The run in a folder.

    Args:
        folder: of the run.
        now_s: seconds since the epoch.

    Raises:
        StoreError: when it holds no run that can be read, with the reason.
    """
    layout = RunLayout(folder)
    try:
        signature, is_settled = _sign(
            str(folder), now_s
        )  # before reading, so that what comes in between is seen as a change
        document = _read_json(layout.run_json)
        (sources, has_all_sources), (view, is_live) = _sources(layout), _view(folder)
        result = _result(layout) if view is None else result_document(view)
        summary = _summary(folder, document, result, view)
        is_whole = view is not None and has_all_sources
        return RunEntry(
            summary,
            _user(document),
            _models(view) if view else (),
            searchable(_texts(document, summary, view, sources)),
            _trials(document, view) if view else (),
            signature if is_settled and is_whole and not is_live else b"",
        )
    except OSError as error:
        raise StoreError(str(error) if isinstance(error, StoreError) else str(error.strerror)) from error
    except _UNREADABLE as error:
        raise StoreError(f"it is not as a run's folder is made ({type(error).__name__}: {error})") from error


def _sign(folder: str, now_s: float) -> tuple[bytes, bool]:
    """The signature of the files as they are, and whether their times will tell of every later change."""
    mask, values = 0, [os.stat(folder).st_mtime_ns]
    newest = values[0]
    further = [path.name for path in RunLayout(Path(folder)).sources() if path.name not in FILES]
    for bit, name in enumerate((*FILES, *further)):
        try:
            found = os.stat(f"{folder}/{name}")
        except FileNotFoundError:
            continue
        mask |= min(1 << bit, _HAS_FURTHER)
        values += found.st_ctime_ns, found.st_size
        newest = max(newest, found.st_mtime_ns, found.st_ctime_ns)
    packed = struct.pack(f"<{1 + len(values)}q", mask, *values)
    return packed, newest < 1e9 * (now_s - _SETTLED_S)


def _view(folder: Path) -> tuple[RunView | None, bool]:
    """The fold of the journal, None where it cannot be read, and whether the run is alive."""
    try:
        if not RunLayout(folder).journal.is_file() and RunLayout(folder).journal.exists():
            raise OSError(errno.EINVAL, "it is no file")
        is_live = is_being_written(folder)  # before reading: a run that ends in between has its end in the journal
        return read_view(folder), is_live
    except OSError as error:
        logger.warning("%s/events.jsonl cannot be read: %s", folder, error.strerror)
        return None, False


def _result(layout: RunLayout) -> dict[str, Any]:
    """Content of result.json, which says what the journal says."""
    try:
        return _read_json(layout.result)
    except (OSError, ValueError, RecursionError) as error:
        logger.warning("%s cannot be read: %s", layout.result, error)
        raise StoreError("neither events.jsonl nor result.json can be read") from error


def _sources(layout: RunLayout) -> tuple[list[str], bool]:
    """The beginnings of all sources that can be read, and whether that is all there are."""
    texts, has_all = [], True
    for path in layout.sources():
        try:
            texts.append(read_file(path, _SOURCE_LIMIT).decode(errors="replace"))
        except OSError as error:
            logger.warning("%s cannot be read: %s", path, error.strerror)
            has_all = False
    return texts, has_all


def _summary(folder: Path, document: dict[str, Any], result: dict[str, Any], view: RunView | None) -> RunSummary:
    counts = {TrialState(state): int(n) for state, n in result["counts"].items()}
    best_val = result["best_val"]
    return RunSummary(
        run_id=folder.name,
        experiment=folder.parent.name,
        folder=str(folder),
        kind=str(document.get("kind", "")),
        state=RunState(result["state"]),
        created_at=datetime.fromisoformat(document["created_at"]),
        duration_s=float(result["duration_s"]),
        n_done=sum(n for state, n in counts.items() if state.is_final),
        n_complete=counts.get(TrialState.COMPLETE, 0),
        metric=None if result["metric"] is None else str(result["metric"]),
        best_id=None if result["best_id"] is None else int(result["best_id"]),
        best_val=None if best_val is None else float(best_val),
        tags=tags_of(folder),
        n_trials=view.n_trials if view else None,
    )


def _user(document: dict[str, Any]) -> str:
    driver = document.get("driver")
    return str(driver.get("user", "")) if isinstance(driver, dict) else ""


def _models(view: RunView) -> tuple[str, ...]:
    return tuple(dict.fromkeys(export.name for trial in view.trials.values() for export in trial.exports))


def _texts(document: dict[str, Any], summary: RunSummary, view: RunView | None, sources: list[str]) -> Iterator[str]:
    config, space = document.get("config"), document.get("searchspace")
    yield summary.experiment
    yield summary.run_id
    yield str(config.get("description", "")) if isinstance(config, dict) else ""
    yield note_of(summary.dir)
    yield from summary.tags
    yield str(document.get("train_fn", ""))
    yield summary.metric or ""
    names = dict.fromkeys([*(space if isinstance(space, dict) else ()), *_defaults(document)])
    if view is not None:
        names |= view.hparam_names | view.metric_names
    yield from names
    yield from sources


def _trials(document: dict[str, Any], view: RunView) -> tuple[TrialValues, ...]:
    complete = (trial for trial in view.ranked() if trial.state is TrialState.COMPLETE)
    defaults = _defaults(document)
    return tuple(TrialValues(trial.id, _metrics(view, trial), {**defaults, **trial.hparams}) for trial in complete)


def _defaults(document: dict[str, Any]) -> dict[str, Any]:
    """The function's own defaults, which every trial had where it was given nothing."""
    defaults = document.get("defaults")
    return defaults if isinstance(defaults, dict) else {}


def _metrics(view: RunView, trial: TrialView) -> Metrics:
    """All of them, and the one that counts by the name that it has for the run, if it was returned without one."""
    if trial.metric is None or view.metric_name is None:
        return trial.metrics
    return {view.metric_name: trial.metric, **trial.metrics}


def _read_json(path: Path) -> dict[str, Any]:
    value = json.loads(read_file(path, _DOCUMENT_LIMIT))
    if not isinstance(value, dict):
        raise ValueError(f"{path.name} holds no JSON object")
    return value
