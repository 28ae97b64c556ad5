"""The runs that lie in a home folder: what `%lagom runs` lists, `%lagom show` finds and `%lagom search` looks through.

What was read of a run is kept in an SQLite file for the next time, and taken from there only while the run's files are
those that it was read from. Where there can be no such file, everything is read from the folders.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lagom_magic.errors import StoreError
from lagom_magic.store.entries import RunSummary
from lagom_magic.store.layout import RunLayout
from lagom_magic.store.snapshot import Snapshot, cache_files, is_there, run_paths, through_index, with_snapshot

__all__ = ["Listing", "RunSummary", "find_run", "list_runs", "run_dirs", "run_ids", "runs", "settled_runs"]


@dataclass(frozen=True, slots=True)
class Listing:
    """What is listed, and why folders are left out.

    Attributes:
        runs: the newest first.
        n_more: how many older ones there are.
        unreadable: 'experiment/run id' → the reason.
    """

    runs: list[RunSummary]
    n_more: int
    unreadable: dict[str, str]


def run_dirs(home: Path) -> list[Path]:
    """The folders of all runs, newest first."""
    return [home / path for path in run_paths(home) if is_there(home, path)]


def run_ids(home: Path) -> list[str]:
    """The ids of all runs, newest first."""
    return [path.rpartition("/")[2] for path in run_paths(home) if is_there(home, path)]


def runs(home: Path, limit: int | None = None) -> list[RunSummary]:
    """Summaries of the runs, newest first; a folder that cannot be read is left out.

    Args:
        home: the folder of all experiments; need not exist.
        limit: at most so many, the newest.
    """
    return list_runs(home, limit).runs


def list_runs(
    home: Path, limit: int | None = None, experiment: str | None = None, now_s: float | None = None
) -> Listing:
    """The same, and what is left out.

    Args:
        home: as above.
        limit: as above.
        experiment: only runs of this one.
        now_s: seconds since the epoch; None = by the clock.
    """
    return with_snapshot(
        home,
        lambda snapshot: Listing(snapshot.summaries(snapshot.paths), snapshot.n_more, snapshot.unreadable),
        limit,
        experiment,
        now_s,
    )


def settled_runs(home: Path, paths: Sequence[str], now_s: float | None = None) -> dict[str, RunSummary]:
    """Lines of the list of those runs that are over, for a server, to which a home may be somebody else's.

    An index that lies in the home is not looked at, only one in the folder of this user's caches.

    Args:
        home: the folder of all experiments.
        paths: 'experiment/run id' of runs that are there.
        now_s: seconds since the epoch; None = by the clock.
    """
    snapshot_of = partial(Snapshot, home, time.time() if now_s is None else now_s, list(paths))

    def settled(snapshot: Snapshot) -> dict[str, RunSummary]:
        summaries = snapshot.summaries([path for path in paths if path in snapshot.kept])
        return {f"{summary.experiment}/{summary.run_id}": summary for summary in summaries}

    return through_index(cache_files(home), home, run_paths(home), snapshot_of, settled) or {}


def find_run(home: Path, text: str) -> Path:
    """The folder of the run that a person means.

    Args:
        home: the folder of all experiments.
        text: a run id, the beginning of one (or of its last four letters), 'experiment/run id', a folder's path,
            or an experiment's name for its latest run.

    Raises:
        StoreError: when there is none, or more than one; lists those near.
    """
    paths = run_paths(home)
    exact = (path for path in paths if text in (path, *path.split("/")) and is_there(home, path))
    if (found := next(exact, None)) is not None:
        return home / found
    if RunLayout(Path(text)).run_json.is_file():
        return Path(text).absolute()
    near = runs_that_begin(home, text)
    if len(near) == 1:
        return near[0]
    if near:
        raise StoreError(ambiguous(text, near))
    raise StoreError(not_found(home, text))


def runs_that_begin(home: Path, text: str) -> list[Path]:
    """The folders of the runs whose id, or the last four letters of it, begin with a text."""
    ids = ((path, path.rpartition("/")[2]) for path in run_paths(home) if text)
    near = (path for path, run_id in ids if run_id.startswith(text) or run_id[-4:].startswith(text))
    return [home / path for path in near if is_there(home, path)]


def ambiguous(text: str, near: Sequence[Path]) -> str:
    """What to say when a text begins several runs."""
    shown = ", ".join(path.name for path in near[:5])
    return f"{text!r} begins {len(near)} runs: {shown}{', …' if len(near) > 5 else ''}. Type more of it."


def not_found(home: Path, text: str) -> str:
    """What to say when a text is no run."""
    folders = run_dirs(home)
    if not folders:
        return f"There is no run {text!r}: no run lies in {home} yet. LAGOM_HOME names another folder."
    names = list(dict.fromkeys([*(path.parent.name for path in folders), *(path.name for path in folders)]))
    near = difflib.get_close_matches(text, names, n=3, cutoff=0.5) or [path.name for path in folders[:3]]
    return f"There is no run {text!r} in {home}. Near: {', '.join(near)}. `%lagom runs` lists all {len(folders)}."
