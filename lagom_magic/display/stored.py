"""A stored run as comparison and report read it: its view and the texts beside, whatever of them can be read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lagom_magic.errors import StoreError
from lagom_magic.events.fold import RunView, TrialView
from lagom_magic.store.journal import read_view
from lagom_magic.store.layout import RunLayout, read_file
from lagom_magic.store.lineage import Trace, trace_of
from lagom_magic.store.tags import note_of, tags_of

#: Of a text that is read.
_LIMIT_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class StoredRun:
    """What a run's folder says.

    Attributes:
        dir: the folder.
        view: the fold of its journal.
        document: content of run.json.
        source: of the function that it called last.
        environment: of environment.txt.
        tags: as they are now.
        note: as it is now.
        trace: where it came from, and the files that the main trial opened; without one, that all trials opened.
        missing: what cannot be read, one line each.
    """

    dir: Path
    view: RunView
    document: dict[str, Any]
    source: str
    environment: str
    tags: tuple[str, ...]
    note: str
    trace: Trace
    missing: tuple[str, ...]

    @property
    def main_trial(self) -> TrialView | None:
        """The best trial, or the only one."""
        return _main_trial(self.view)

    @property
    def packages(self) -> dict[str, str]:
        """Package → version, and Python and the platform, of the driver."""
        found = {}
        for line in self.environment.splitlines():
            name, _, version = line.partition("==")
            if line.startswith("# Python "):
                found["Python"] = line.removeprefix("# Python ").split(" ")[0]
            elif line.strip() and not line.startswith("#"):
                found[name.strip()] = version.strip()
        return found


def read_stored(run_dir: Path) -> StoredRun:
    """The run in a folder; a file that cannot be read is told of, and the rest is there.

    Raises:
        StoreError: when the journal cannot be read.
    """
    layout, missing = RunLayout(run_dir), list[str]()
    try:
        view = read_view(run_dir)
    except OSError as error:
        raise StoreError(f"The journal of run {run_dir.name} cannot be read: {error.strerror}.") from error
    return StoredRun(
        run_dir,
        view,
        _document(layout.run_json, missing),
        read_text(layout.newest_source, missing),
        read_text(layout.environment, missing),
        tags_of(run_dir),
        note_of(run_dir),
        _trace(run_dir, _main_trial(view)),
        tuple(missing),
    )


def read_text(path: Path, missing: list[str]) -> str:
    """The beginning of a text; '' where there is none, with a line in `missing` where it cannot be read."""
    try:
        return read_file(path, _LIMIT_BYTES).decode(errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        missing.append(f"{path.name} cannot be read: {error.strerror}")
        return ""


def _main_trial(view: RunView) -> TrialView | None:
    return view.best or (next(iter(view.trials.values())) if len(view.trials) == 1 else None)


def _trace(run_dir: Path, trial: TrialView | None) -> Trace:
    return trace_of(run_dir) if trial is None else trace_of(run_dir, trial.id, trial.attempt)


def _document(path: Path, missing: list[str]) -> dict[str, Any]:
    text = read_text(path, missing)
    try:
        document = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        missing.append(f"{path.name} is damaged: {error}")
        return {}
    return document if isinstance(document, dict) else {}
