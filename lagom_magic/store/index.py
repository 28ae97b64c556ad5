"""The runs that lie in a home folder: what `%lagom runs` lists and `%lagom show` finds."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from lagom_magic.errors import StoreError
from lagom_magic.events.facts import RunState, TrialState
from lagom_magic.store.journal import is_being_written, read_view
from lagom_magic.store.layout import RunLayout, is_run_id
from lagom_magic.store.summary import result_document


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One line of the list of runs.

    Attributes:
        run_id: unique in practice, over all experiments.
        experiment: the name that groups runs.
        dir: its folder.
        kind: hpo, run …
        state: FAILED also for a run whose driver died.
        created_at: with its time zone.
        duration_s: until its end, or until its last event so far.
        n_done: trials in a final state.
        n_complete: those that are COMPLETE.
        metric: name of the metric that counts, when known.
        best_id: the best trial; None without one.
        best_val: its metric.
    """

    run_id: str
    experiment: str
    dir: Path
    kind: str
    state: RunState
    created_at: datetime
    duration_s: float
    n_done: int
    n_complete: int
    metric: str | None
    best_id: int | None
    best_val: float | None


def run_dirs(home: Path) -> list[Path]:
    """The folders of all runs, newest first."""
    found = [path.parent for path in home.glob("*/*/run.json") if is_run_id(path.parent.name)]
    return sorted(found, key=lambda path: (path.name, path.parent.name), reverse=True)


def runs(home: Path, limit: int | None = None) -> list[RunSummary]:
    """Summaries of the runs, newest first; a folder that cannot be read is left out.

    Args:
        home: the folder of all experiments; need not exist.
        limit: at most so many, the newest.
    """
    summaries = (_summary(path) for path in run_dirs(home)[:limit])
    return [summary for summary in summaries if summary is not None]


def find_run(home: Path, text: str) -> Path:
    """The folder of the run that a person means.

    Args:
        home: the folder of all experiments.
        text: a run id, the beginning of one (or of its last four letters), 'experiment/run id', a folder's path,
            or an experiment's name for its latest run.

    Raises:
        StoreError: when there is none, or more than one; lists those near.
    """
    folders = run_dirs(home)
    exact = [path for path in folders if text in (path.name, f"{path.parent.name}/{path.name}", path.parent.name)]
    if exact:
        return exact[0]
    if RunLayout(Path(text)).run_json.is_file():
        return Path(text).absolute()
    near = [path for path in folders if text and (path.name.startswith(text) or path.name[-4:].startswith(text))]
    if len(near) == 1:
        return near[0]
    if near:
        shown = ", ".join(path.name for path in near[:5])
        raise StoreError(f"{text!r} begins {len(near)} runs: {shown}{', …' if len(near) > 5 else ''}. Type more of it.")
    raise StoreError(_not_found(home, text, folders))


def _not_found(home: Path, text: str, folders: list[Path]) -> str:
    if not folders:
        return f"There is no run {text!r}: no run lies in {home} yet. LAGOM_HOME names another folder."
    names = list(dict.fromkeys([*(path.parent.name for path in folders), *(path.name for path in folders)]))
    near = difflib.get_close_matches(text, names, n=3, cutoff=0.5) or [path.name for path in folders[:3]]
    return f"There is no run {text!r} in {home}. Near: {', '.join(near)}. `%lagom runs` lists all {len(folders)}."


def _summary(run_dir: Path) -> RunSummary | None:
    layout = RunLayout(run_dir)
    try:
        document = _read_json(layout.run_json)
        result = _result(layout)
        counts = {TrialState(state): int(n) for state, n in result["counts"].items()}
        return RunSummary(
            run_id=run_dir.name,
            experiment=run_dir.parent.name,
            dir=run_dir,
            kind=str(document.get("kind", "")),
            state=RunState(result["state"]),
            created_at=datetime.fromisoformat(document["created_at"]),
            duration_s=float(result["duration_s"]),
            n_done=sum(n for state, n in counts.items() if state.is_final),
            n_complete=counts.get(TrialState.COMPLETE, 0),
            metric=result["metric"],
            best_id=result["best_id"],
            best_val=result["best_val"],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # deleted meanwhile, or not a run of ours
        return None


def _result(layout: RunLayout) -> dict[str, Any]:
    """result.json, or what it would hold now."""
    if layout.result.exists() and not is_being_written(layout.root):
        return _read_json(layout.result)
    return result_document(read_view(layout.root))


def _read_json(path: Path) -> dict[str, Any]:
    value = json.loads(path.read_bytes())
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds no JSON object")
    return value
