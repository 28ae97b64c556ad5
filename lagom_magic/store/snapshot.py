"""The runs of a home folder as they are now: what the index keeps of them where that is right, the rest read anew.

Used by `store.index` and `store.search`.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

from lagom_magic.errors import StoreError
from lagom_magic.store.entries import RunEntry, RunSummary, as_before, read_entry
from lagom_magic.store.index_file import IndexFile, Kept
from lagom_magic.store.layout import is_run_id

logger = logging.getLogger("lagom_magic.store")

#: In the home folder; hidden, so that no experiment is called so.
INDEX_NAME = ".index.sqlite"
#: Runs that are read before they are kept, so that a first look that is interrupted is not in vain.
_BATCH = 500
#: Seconds after which an index in the user's cache that nothing was added to is removed.
_UNUSED_S = 90 * 86_400
#: Failures of SQLite that a new file may mend; after others (locked, read-only, no locks …) the file itself is whole.
_DAMAGED = (None, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH)

_T = TypeVar("_T")


@dataclass(slots=True)
class Snapshot:
    """The runs of a home folder as they are now.

    Attributes:
        home: the folder.
        now_s: seconds since the epoch.
        paths: 'experiment/run id' of those that were looked at, the newest first.
        n_more: how many older ones there are.
        index: where the entries of `kept` are; None without an index.
        kept: the runs whose entries are in the index, and right.
        read: those that were read now and are not in the index: live ones, for example.
        unreadable: why a folder that should hold a run shows none.
    """

    home: Path
    now_s: float
    paths: list[str]
    n_more: int = 0
    index: IndexFile | None = None
    kept: dict[str, Kept] = field(default_factory=dict)
    read: dict[str, RunEntry] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)

    def summaries(self, paths: Sequence[str]) -> list[RunSummary]:
        """The lines of the list, in the order given; unreadable runs have none.

        Raises:
            sqlite3.Error: when the index fails.
        """
        found = {path: entry.summary for path, entry in self.read.items()}
        ids = {self.kept[path].id: path for path in paths if path in self.kept}
        if self.index is not None and ids:
            found |= {ids[run]: summary for run, summary in self.index.summaries(list(ids)).items()}
        return [found[path] for path in paths if path in found]


def with_snapshot(
    home: Path,
    use: Callable[[Snapshot], _T],
    limit: int | None = None,
    experiment: str | None = None,
    now_s: float | None = None,
) -> _T:
    """What `use` makes of the runs; with the index where it works, else without, and then the log says why.

    Args:
        home: the folder of all experiments.
        use: called again, with another snapshot, when the index fails meanwhile.
        limit: look at so many, the newest.
        experiment: look at the runs of this one.
        now_s: seconds since the epoch; None = by the clock.
    """
    everything = run_paths(home)
    wanted = [path for path in everything if experiment is None or path.startswith(f"{experiment}/")]
    take = partial(_snapshot, home, time.time() if now_s is None else now_s, wanted, limit)
    found = through_index(_index_files(home), home, everything, take, use)
    if found is not None:
        return found
    snapshot = take()
    _read(snapshot, snapshot.paths)
    return use(snapshot)


def through_index(
    files: Iterable[Path],
    home: Path,
    everything: list[str],
    take: Callable[[], Snapshot],
    use: Callable[[Snapshot], _T],
) -> _T | None:
    """What `use` makes of the runs, with the first index that works; None without one."""
    for file in files if everything else ():
        try:
            return _with_index(file, home, everything, take, use)
        except sqlite3.Error as error:
            logger.warning("the index of runs %s is not used: %s", file, error)
    return None


def run_paths(home: Path) -> list[str]:
    """'experiment/run id' of all folders that bear a run's name, newest first."""
    found = [
        (run_id, experiment)
        for experiment in _names(home)
        if experiment[0] != "."
        for run_id in _names(home / experiment)
        if is_run_id(run_id)
    ]
    return [f"{experiment}/{run_id}" for run_id, experiment in sorted(found, reverse=True)]


def _names(folder: Path) -> list[str]:
    """What lies in a folder; [] where there is none, or it cannot be read."""
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        logger.warning("%s is left out of the list of runs: %s", folder, error.strerror)
        return []


def is_there(home: Path, path: str) -> bool:
    """Whether a folder that bears a run's name holds one."""
    return os.path.exists(f"{home}/{path}/run.json")


def _snapshot(home: Path, now_s: float, wanted: list[str], limit: int | None) -> Snapshot:
    if limit is None:
        return Snapshot(home, now_s, wanted)
    paths = list(islice((path for path in wanted if is_there(home, path)), limit))
    n_seen = wanted.index(paths[-1]) + 1 if len(paths) == limit and paths else len(wanted)
    return Snapshot(home, now_s, paths, len(wanted) - n_seen)


def _index_files(home: Path) -> Iterator[Path]:
    """Where the index may lie, the best place first."""
    if os.access(home, os.W_OK):
        yield home / INDEX_NAME
    yield from cache_files(home)


def cache_files(home: Path) -> Iterator[Path]:
    """Where it may lie in the folder of the user's caches; nowhere where there can be no such folder."""
    folder = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        cache = Path(folder).expanduser() / "lagom_magic"
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = cache / f"index-{hashlib.sha256(os.fsencode(home)).hexdigest()[:16]}.sqlite"
        if not file.exists():
            _remove_unused(cache)
    except (OSError, RuntimeError) as error:  # RuntimeError: a user without a home
        reason = error.strerror if isinstance(error, OSError) else error
        logger.warning("there is no place for an index of runs in %s: %s", folder, reason)
        return
    yield file


def _remove_unused(cache: Path) -> None:
    """Remove indices of homes in which nothing was new for long, and which may be gone: before a further one is made.

    Raises:
        OSError: as the file system reports it.
    """
    for file in cache.glob("index-*.sqlite"):
        if file.stat().st_mtime < time.time() - _UNUSED_S:
            file.unlink(missing_ok=True)


def _with_index(
    file: Path, home: Path, everything: list[str], take: Callable[[], Snapshot], use: Callable[[Snapshot], _T]
) -> _T:
    """What `use` makes of the runs, with the index in this file, which is made anew when it is damaged."""
    for is_new in (False, True):
        try:
            with IndexFile.open(file, home) as index:
                snapshot = take()
                _sort_out(snapshot, index, everything)
                return use(snapshot)
        except sqlite3.DatabaseError as error:
            if is_new or getattr(error, "sqlite_errorcode", None) not in _DAMAGED:
                raise
            logger.warning("the index of runs %s is made anew: %s", file, error)
            _remove(file)
    raise AssertionError("unreachable")


def _remove(file: Path) -> None:
    """Remove an index.

    Raises:
        sqlite3.OperationalError: when it cannot be.
    """
    try:
        for path in (Path(f"{file}-journal"), file):  # first what SQLite would mend a new file with
            path.unlink(missing_ok=True)
    except OSError as error:
        raise sqlite3.OperationalError(f"it is damaged and cannot be removed: {error.strerror}") from error


def _sort_out(snapshot: Snapshot, index: IndexFile, everything: list[str]) -> None:
    """Find out which entries are right, read the others, and keep what can be kept."""
    snapshot.index = index
    known = index.kept()
    right = as_before(snapshot.home, ((path, known[path].signature) for path in snapshot.paths if path in known))
    snapshot.kept = {path: known[path] for path in right}
    changed = [path for path in snapshot.paths if path not in right]
    gone = list(known.keys() - set(everything))
    for begin in range(0, max(len(changed), len(gone) > 0), _BATCH):
        _read(snapshot, changed[begin : begin + _BATCH])
        _keep(snapshot, index, gone)
        gone = []


def _read(snapshot: Snapshot, paths: Sequence[str]) -> None:
    """Read runs from their folders."""
    for path in paths:
        try:
            snapshot.read[path] = read_entry(snapshot.home / path, snapshot.now_s)
        except StoreError as error:
            if is_there(snapshot.home, path):  # else deleted meanwhile, or not yet begun
                snapshot.unreadable[path] = str(error)


def _keep(snapshot: Snapshot, index: IndexFile, gone: Sequence[str]) -> None:
    """Keep what was read and may be kept; where that fails, it is in the snapshot all the same."""
    lasting = {path: entry for path, entry in snapshot.read.items() if entry.signature}
    if not lasting and not gone:
        return
    try:
        kept = index.keep(lasting.values(), gone)
    except sqlite3.OperationalError as error:  # locked, full …
        logger.warning("the index of runs in %s is not brought up to date: %s", snapshot.home, error)
        return
    snapshot.kept |= kept
    for path in kept:
        del snapshot.read[path]
