"""The runs that lie below a folder, as a page lists them; called on the extension's threads."""

from __future__ import annotations

import json
import math
import os
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lagom_magic.events.facts import RunState, TrialState, number_to_json
from lagom_magic.server.places import NotAPlaceError, Places
from lagom_magic.store.entries import RunSummary
from lagom_magic.store.index import settled_runs
from lagom_magic.store.journal import is_being_written, read_view
from lagom_magic.store.layout import RunLayout, is_run_id
from lagom_magic.store.summary import result_document

#: The newest runs that are listed.
RUNS_LIMIT = 500
#: Folders looked into, and how deep below the one that was named.
_FOLDERS_LIMIT = 20_000
_DEPTH_LIMIT = 8
_NAME_LIMIT = 200
#: A result.json that is larger belongs to nobody's run.
_DOCUMENT_BYTES = 64 << 20
#: What a folder gives rise to that is deleted meanwhile, or no run of ours: it may hold anything.
_UNREADABLE = (
    NotAPlaceError,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)
#: Where nobody keeps runs.
_SKIPPED = frozenset({"node_modules", "site-packages", "__pycache__"})


def list_runs(places: Places, under: Path, now_s: float | None = None) -> list[dict[str, Any]]:
    """One row a run, newest first; a folder that cannot be read is left out.

    Args:
        places: what the page may see.
        under: where to look; a real folder below the root.
        now_s: seconds since the epoch; None = by the clock.
    """
    found = sorted(run_folders(under), key=lambda folder: (folder.name, str(folder)), reverse=True)[:RUNS_LIMIT]
    settled = _settled(found, now_s)
    rows = (_row(places, folder, settled.get(str(folder))) for folder in found)
    return [row for row in rows if row is not None]


def _settled(folders: Sequence[Path], now_s: float | None) -> dict[str, RunSummary]:
    """What the index of this server's user says of the runs that are over, by their folders."""
    homes: dict[Path, list[str]] = {}
    for folder in folders:
        homes.setdefault(folder.parent.parent, []).append(f"{folder.parent.name}/{folder.name}")
    return {
        summary.folder: summary
        for home, paths in homes.items()
        for summary in settled_runs(home, paths, now_s).values()
    }


def run_folders(under: Path) -> Iterator[Path]:
    """Folders of runs at or below a folder."""
    return (folder for folder, is_run in folders_below(under) if is_run)


def folders_below(under: Path) -> Iterator[tuple[Path, bool]]:
    """A folder and those below it, each with whether it is a run's; nothing in runs, hidden or behind links."""
    waiting = deque([(under, 0)])
    for _ in range(_FOLDERS_LIMIT):
        if not waiting:
            return
        folder, depth = waiting.popleft()
        is_run = is_run_id(folder.name) and os.path.isfile(f"{folder}/run.json")
        yield folder, is_run
        if not is_run and depth < _DEPTH_LIMIT:
            waiting.extend((child, depth + 1) for child in _children(folder))


def _children(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [
                Path(entry.path)
                for entry in entries
                if not entry.name.startswith(".") and entry.name not in _SKIPPED and entry.is_dir(follow_symlinks=False)
            ]
    except OSError:  # deleted meanwhile, or another user's
        return []


def _row(places: Places, folder: Path, settled: RunSummary | None) -> dict[str, Any] | None:
    try:
        layout = RunLayout(places.run_folder(str(folder)))
        if settled is not None and not layout.result.is_symlink():
            return _settled_row(places, folder, settled)
        is_live = is_being_written(folder)
        result = _result(layout, is_live)
        document = _read_json(layout.run_json)
        states = {TrialState(state): int(n) for state, n in result["counts"].items()}
        return {
            "dir": places.shown(folder),
            "run_id": folder.name,
            "experiment": folder.parent.name,
            "kind": str(document.get("kind", "")),
            "state": RunState(result["state"]).value,
            "is_live": is_live,
            "created_at": str(document["created_at"]),
            "duration_s": _finite(round(float(result["duration_s"]), 3)),
            "n_done": sum(n for state, n in states.items() if state.is_final),
            "n_trials": _n_trials(layout),
            "metric": None if result["metric"] is None else str(result["metric"])[:_NAME_LIMIT],
            "best_id": None if result["best_id"] is None else int(result["best_id"]),
            "best_val": None if result["best_val"] is None else number_to_json(float(result["best_val"])),
        }
    except _UNREADABLE:
        return None


def _settled_row(places: Places, folder: Path, run: RunSummary) -> dict[str, Any]:
    return {
        "dir": places.shown(folder),
        "run_id": run.run_id,
        "experiment": run.experiment,
        "kind": run.kind,
        "state": run.state.value,
        "is_live": False,
        "created_at": run.created_at.isoformat(timespec="milliseconds"),
        "duration_s": _finite(round(run.duration_s, 3)),
        "n_done": run.n_done,
        "n_trials": run.n_trials,
        "metric": None if run.metric is None else run.metric[:_NAME_LIMIT],
        "best_id": run.best_id,
        "best_val": None if run.best_val is None else number_to_json(run.best_val),
    }


def _result(layout: RunLayout, is_live: bool) -> dict[str, Any]:
    """result.json, or what it would hold now."""
    if not is_live and layout.result.is_file() and not layout.result.is_symlink():
        return _read_json(layout.result)
    return result_document(read_view(layout.root))


def _n_trials(layout: RunLayout) -> int | None:
    """How many trials the run was to have, from the journal's first line; None when that is open."""
    with open(layout.journal, "rb") as file:
        value = json.loads(file.readline(1 << 20))["n_trials"]
    return None if value is None else int(value)


def _finite(value: float) -> float:
    """The number, which JSON can hold.

    Raises:
        ValueError: for nan and ±inf.
    """
    if not math.isfinite(value):
        raise ValueError(f"{value} is no time")
    return value


def _read_json(path: Path) -> dict[str, Any]:
    with open(path, "rb") as file:
        text = file.read(_DOCUMENT_BYTES + 1)
    if len(text) > _DOCUMENT_BYTES:
        raise ValueError(f"{path} is too large")
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds no JSON object")
    return value
