"""What a trial's folder holds beside its files: output.log as it is printed, trial.json when it has ended.

Used by the store's thread only.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from lagom_magic.events.facts import FileStored, TrialEnded
from lagom_magic.events.views import TrialView
from lagom_magic.store.jsontext import json_line
from lagom_magic.store.layout import FORMAT, RunLayout, write_all, write_whole


class OutputLogs:
    """Appends raw output; one file a worker is open at a time."""

    def __init__(self, layout: RunLayout) -> None:
        self._layout = layout
        #: {worker_id: ((trial_id, attempt), file descriptor)}
        self._open: dict[int, tuple[tuple[int | None, int], int]] = {}

    def write(self, worker_id: int, trial_id: int | None, attempt: int, data: bytes, rank: int | None = None) -> None:
        """Append to the log of the trial, or of the worker when `trial_id` is None.

        Raises:
            OSError: as the file system reports it.
        """
        source, descriptor = self._open.get(worker_id, (None, -1))
        if source != (trial_id, attempt):
            self.close_of(worker_id)
            path = self._layout.output_log(worker_id, trial_id, attempt, rank)
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            self._open[worker_id] = ((trial_id, attempt), descriptor)
        write_all(descriptor, data)

    def close_of(self, worker_id: int) -> None:
        """Close the worker's log, if one is open."""
        if worker_id in self._open:
            os.close(self._open.pop(worker_id)[1])

    def close(self) -> None:
        for worker_id in list(self._open):
            self.close_of(worker_id)


def remove_older(layout: RunLayout, newest: FileStored) -> None:
    """Remove the checkpoints of an attempt but the newest, and the one before it, which may be on its way to a worker.

    Raises:
        OSError: as the file system reports it.
    """
    path = layout.trial_dir(newest.trial_id, newest.attempt) / newest.path
    for old in sorted(other for other in path.parent.iterdir() if not other.name.startswith("."))[:-2]:
        old.unlink()


def write_trial_json(layout: RunLayout, trial: TrialView, ended: TrialEnded) -> None:
    """Write how an attempt ended.

    Args:
        layout: of the run.
        trial: its view, for what the end does not say again (hyperparameters, times, steps).
        ended: the end.

    Raises:
        OSError: as the file system reports it.
    """
    folder = layout.trial_folder(ended.trial_id, ended.attempt)
    with suppress(FileExistsError):  # of a trial that printed or sent files
        os.mkdir(folder)
    write_whole(f"{folder}/trial.json", json_line(_trial_document(trial, ended)).encode())


def _trial_document(trial: TrialView, ended: TrialEnded) -> dict[str, Any]:
    error = ended.error
    return {
        "format": FORMAT,
        "id": ended.trial_id,
        "attempt": ended.attempt,
        "state": ended.state.value,
        "worker_id": ended.worker_id,
        "hparams": trial.hparams,
        "budget": trial.budget,
        "metric": ended.metric,
        "metrics": ended.metrics,
        "n_steps": trial.n_steps,
        "last_step": trial.last_step,
        "started_at": trial.started_at,
        "duration_s": ended.duration_s,
        "error": error and {"kind": error.kind, "message": error.message, "traceback": error.traceback},
        "warnings": ended.warnings,
        "values": ended.values,
        "params": ended.params,
        "files": ended.files,
    }
