"""The journal `events.jsonl`: written by the driver a tick at a time, followed by every reader.

The writer holds a lock on the file for as long as the run lives, so a reader can tell a run whose driver
died from one that goes on elsewhere.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from lagom_magic.errors import StoreError
from lagom_magic.events.facts import (
    Fact,
    RunEnded,
    RunState,
    TrialEnded,
    TrialError,
    TrialState,
    from_record,
    to_record,
)
from lagom_magic.events.fold import RunView, fold
from lagom_magic.store.jsontext import json_line
from lagom_magic.store.layout import RunLayout

#: Why a run is FAILED that nobody drives any more and whose journal has no end.
INTERRUPTED = "interrupted: its driver ended before the run did"
#: Bytes kept for another try while the disk refuses them; beyond, the journal is given up.
_MAX_PENDING_BYTES = 16 << 20


class JournalLine(NamedTuple):
    """One line: `time` in seconds since the epoch, `seq` dense from 0."""

    seq: int
    time: float
    fact: Fact


class JournalWriter:
    """Appends facts; `flush` makes them visible to readers."""

    def __init__(self, path: Path, on_error: Callable[[str], None]) -> None:
        """Create the file, or open it to go on, and lock it.

        A last line that was not finished is ended: readers skip it, and nothing that was written is taken away.

        Raises:
            StoreError: when another process drives this run.
            OSError: when it cannot be opened.
        """
        self._path = path
        self._on_error = on_error
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            if not _lock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB):
                raise StoreError(f"run {path.parent.name} is alive: another process drives it.")
            self._seq, is_torn = _end_of(self._descriptor)
        except BaseException:
            os.close(self._descriptor)
            raise
        self._pending = bytearray(b"\n" if is_torn else b"")
        self._is_given_up = False

    def append(self, fact: Fact, time: float) -> None:
        """Take one fact."""
        self._pending += f'{{"seq":{self._seq},"time":{time!r},{json_line(to_record(fact))[1:]}\n'.encode()
        self._seq += 1

    def flush(self) -> None:
        """Write what was appended; what the disk refuses is kept for the next flush and reported."""
        if self._is_given_up:
            self._pending.clear()
        while self._pending:
            try:
                del self._pending[: os.write(self._descriptor, self._pending)]
            except OSError as error:
                self._is_given_up = len(self._pending) > _MAX_PENDING_BYTES
                self._on_error(f"cannot write {self._path}: {error}")
                return

    def close(self) -> None:
        """Write the rest and release the lock, which a forked child of this process would otherwise hold on."""
        self.flush()
        try:
            _lock(self._descriptor, fcntl.LOCK_UN)
        finally:
            os.close(self._descriptor)


class JournalReader:
    """Follows a journal, of a living run or of one long gone."""

    def __init__(self, run_dir: Path) -> None:
        self._path = RunLayout(run_dir).journal
        self._offset = 0
        #: Complete lines that hold no fact we know: damaged, or of a newer version.
        self.n_unreadable = 0

    def read_new(self) -> list[JournalLine]:
        """The lines that became complete since the last call; an unfinished last one waits for its end."""
        try:
            with open(self._path, "rb", buffering=0) as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        end = data.rfind(b"\n") + 1
        self._offset += end
        lines = [_parse(line) for line in data[:end].split(b"\n")[:-1]]
        self.n_unreadable += lines.count(None)
        return [line for line in lines if line is not None]


def read_view(run_dir: Path) -> RunView:
    """The view of a run as it stands now; a run whose driver died is shown as FAILED, interrupted."""
    view, reader = RunView(), JournalReader(run_dir)
    is_alive = is_being_written(run_dir)  # before reading: a run that ends in between has its end in the journal
    for line in reader.read_new():
        fold(view, line.fact, line.time)
    if not is_alive:
        interrupt(view)
    return view


def interrupt(view: RunView) -> None:
    """Close the view of a run that nobody drives any more and whose journal has no end; else do nothing."""
    if view.state.is_final:
        return
    time = view.updated_at or 0.0
    for trial in [view.trials[trial_id] for trial_id in sorted(view.running)]:
        error = TrialError("INTERRUPTED", "the driver ended while this trial ran")
        duration_s = trial.elapsed_s(time) or 0.0
        worker_id = trial.worker_id or 0
        ended = TrialEnded(
            trial.id, trial.attempt, worker_id, TrialState.STOPPED, metric=None, duration_s=duration_s, error=error
        )
        fold(view, ended, time)
    fold(view, RunEnded(RunState.FAILED, INTERRUPTED), time)


def is_being_written(run_dir: Path) -> bool:
    """Whether a living process drives this run, on this machine or wherever the file system's locks reach."""
    try:
        descriptor = os.open(RunLayout(run_dir).journal, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _lock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)


def wait_for_driver(run_dir: Path) -> None:
    """Wait until no process drives this run; a signal's handler may raise out of it."""
    try:
        descriptor = os.open(RunLayout(run_dir).journal, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        _lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _end_of(descriptor: int) -> tuple[int, bool]:
    """The `seq` of the next line, and whether the last one was not finished."""
    size = os.fstat(descriptor).st_size
    if not size:
        return 0, False
    with open(os.dup(descriptor), "rb") as file:
        file.seek(0)
        lines = file.read().split(b"\n")
    return max(map(_seq_of, lines), default=-1) + 1, lines[-1] != b""


def _seq_of(line: bytes) -> int:
    """The number of a line, also of one that a newer version wrote; -1 for one that cannot be read."""
    try:
        return int(json.loads(line)["seq"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return -1


def _lock(descriptor: int, operation: int) -> bool:
    """Whether the lock was got; a file system without locks counts as got."""
    try:
        fcntl.flock(descriptor, operation)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS):
            raise
    return True


def _parse(line: bytes) -> JournalLine | None:
    try:
        record = json.loads(line)
        return JournalLine(record["seq"], record["time"], from_record(record))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
