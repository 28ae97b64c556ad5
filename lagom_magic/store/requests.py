"""The named pipe `<run>/requests`: how other processes of the same user stop a living run, prune and retry its trials.

The driver's loop waits on it; `Run`, `%lagom` and a Jupyter server write into it. Its file mode is the whole of its
protection, so nothing but these three requests can be asked for, and whatever else comes is refused.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import reprlib
import select
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lagom_magic.errors import ConfigError, StoreError
from lagom_magic.store.layout import RunLayout

logger = logging.getLogger("lagom_magic.store")

#: Bytes of one request at most: so many arrive in one piece, whoever else writes.
MAX_REQUEST_BYTES = select.PIPE_BUF
#: Bytes taken at once, so that a flood does not hold up the driver's loop.
_READ_BYTES = 4 * MAX_REQUEST_BYTES
#: Whole numbers up to here are the same in every reader of JSON.
_MAX_TRIAL_ID = 2**53 - 1
#: Why a run ended that was asked to stop.
BY_USER = "stopped by its user"
_TAKES_A_TRIAL = {"stop": False, "prune": True, "retry": True}


@dataclass(frozen=True, slots=True)
class Request:
    """What a person asks of a living run.

    Attributes:
        action: stop, prune or retry.
        trial_id: which trial to prune or retry, >= 0; None to stop.

    Raises:
        ConfigError: for anything else.
    """

    action: str
    trial_id: int | None = None

    def __post_init__(self) -> None:
        if self.action not in _TAKES_A_TRIAL:
            raise ConfigError(
                f"a run cannot be asked to {reprlib.repr(self.action)}; allowed: {', '.join(_TAKES_A_TRIAL)}."
            )
        if not _TAKES_A_TRIAL[self.action]:
            if self.trial_id is not None:
                raise ConfigError(f"{self.action} takes no trial, not {reprlib.repr(self.trial_id)}.")
        elif type(self.trial_id) is not int or not 0 <= self.trial_id <= _MAX_TRIAL_ID:
            raise ConfigError(f"{self.action} takes the number of a trial, not {reprlib.repr(self.trial_id)}.")

    @classmethod
    def of(cls, record: object) -> Request:
        """The request that a JSON object states.

        Raises:
            ConfigError: when it states none.
        """
        if isinstance(record, Mapping) and record.keys() <= {"action", "trial_id"}:
            action = record.get("action")
            if isinstance(action, str):
                return cls(action, record.get("trial_id"))
        raise ConfigError(f'a request is {{"action": …, "trial_id": …}}, not {reprlib.repr(record)}.')


class RequestPipe:
    """The driver's end. A writer that goes away in the middle of a line spoils nobody else's."""

    def __init__(self, path: Path) -> None:
        """Make the pipe, readable and writable by its user only, in place of one that a killed driver has left.

        Call it with the lock on the run's journal: nobody else drives the run then.

        Raises:
            OSError: when it cannot be made, as on file systems without named pipes.
        """
        self._path = path
        if path.is_fifo() and not path.is_symlink():
            path.unlink()
        os.mkfifo(path, 0o600)
        try:
            # Also for writing: else the end of the last writer would look like data for ever.
            self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        self._unfinished = b""
        self._is_closed = False

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._descriptor

    def read(self) -> list[Request]:
        """The requests that have come whole; what is none is logged and refused."""
        try:
            data = os.read(self._descriptor, _READ_BYTES)
        except BlockingIOError:
            return []
        *lines, self._unfinished = (self._unfinished + data).split(b"\n")
        # Of what is too long for a request the beginning is enough: the line stays too long until it ends.
        self._unfinished = self._unfinished[: MAX_REQUEST_BYTES + 1]
        requests, refused = [], []
        for line in lines:
            try:
                if line:
                    requests.append(_parse(line))
            except ConfigError as error:
                refused.append(error)
        if refused:
            logger.warning("%s: lines refused: %d; the first: %s", self._path, len(refused), refused[0])
        return requests

    def close(self) -> None:
        """Remove the pipe: whoever asks from now on is told that the run has ended. May be called again."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("cannot remove %s: %s", self._path, error)
        finally:
            os.close(self._descriptor)


def _parse(line: bytes) -> Request:
    if len(line) > MAX_REQUEST_BYTES:
        raise ConfigError(f"a request has at most {MAX_REQUEST_BYTES} bytes.")
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{line[:80]!r} is no JSON: {error}.") from error
    return Request.of(record)


def send_request(run_dir: Path, record: Mapping[str, Any]) -> None:
    """Ask something of a living run, from any process of the user that drives it; returns at once.

    The driver decides what becomes of it. What it declines, because the trial is in another state, stands as a notice
    above the run's table.

    Args:
        run_dir: the run's folder.
        record: `{"action": "stop" | "prune" | "retry", "trial_id": int | None}`.

    Raises:
        ConfigError: when the record is no request.
        StoreError: when nobody listens, or the pipe is not the user's own.
    """
    request = Request.of(record)
    text = json.dumps({"action": request.action, "trial_id": request.trial_id})
    layout = RunLayout(Path(run_dir))
    try:
        descriptor = _open_own_pipe(layout.requests)
        try:
            # Begins with a line end, which ends whatever another writer has left behind.
            os.write(descriptor, f"\n{text}\n".encode())
        finally:
            os.close(descriptor)
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(f"run {layout.root.name} cannot be asked to {request.action}: {_why(error)}.") from error


def _open_own_pipe(path: Path) -> int:
    """A descriptor for writing, which never blocks.

    Raises:
        StoreError: when it is something else, or belongs to somebody else.
        OSError: ENOENT without it, ENXIO when nobody listens.
    """
    _check_own_pipe(path, os.lstat(path))
    descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _check_own_pipe(path, os.fstat(descriptor))  # it may have been replaced in between
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_own_pipe(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISFIFO(status.st_mode) or status.st_uid != os.geteuid():
        raise StoreError(f"{path} is not a named pipe of yours, so nothing is written into it.")


def _why(error: OSError) -> str:
    match error:
        case FileNotFoundError():
            return "it has ended, or its folder cannot hold named pipes"
        case BrokenPipeError():
            return "it has just ended"
        case BlockingIOError():
            return "its driver does not read what it is asked; there is too much of it already"
        case OSError() if error.errno == errno.ENXIO:
            return "its driver is gone, or runs on another machine"
    return str(error)
