"""Answers to what a page asks about a run, from its folder: a trial's details, its log and files, and what to steer.

Called by a conversation on whatever thread the request came in on, never the driver's. A page may ask for anything,
so every path is checked: only files that the run's journal lists, and only where they really lie inside the run.
"""

from __future__ import annotations

import base64
import codecs
import os
import reprlib
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lagom_magic.display.curves import read_curves
from lagom_magic.display.reading import RunReading
from lagom_magic.display.viewmodel import plain_json
from lagom_magic.display.wording import one_line
from lagom_magic.errors import ConfigError, StoreError
from lagom_magic.events.fold import TrialView
from lagom_magic.store.layout import RunLayout
from lagom_magic.store.requests import send_request

Request = Mapping[str, Any]

LOG_BYTES = 48 * 1024
FILE_BYTES = 8 << 20
#: Characters of a returned value's repr, and of an error's traceback.
_TEXT_LIMIT = 64 * 1024
#: How the pictures begin that a page draws.
_MEDIA_TYPES = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"))
_PROMISES = {
    "stop": "The run is stopping; finished trials are kept.",
    "prune": "Trial {trial_id} is asked to end at its next report.",
    "retry": "Trial {trial_id} runs once more.",
}


@dataclass(frozen=True)
class Backing:
    """What is known of a run beyond its folder, from those who may import more than the display.

    Attributes:
        importances: computes the shares of its hyperparameters; may take seconds.
        is_driven: whether its driver lives; None = look for the lock on its journal.
        steer: passes on what a page asks of it, as `send_request` does; None = by the run's named pipe.
    """

    importances: Callable[[], dict[str, float]]
    is_driven: Callable[[], bool] | None = None
    steer: Callable[[Request], None] | None = None

    def without_driver(self, run_id: str) -> Backing:
        """What is left of it when the driver has ended, which is held no longer."""

        def refuse(_: Request) -> None:
            raise StoreError(f"run {run_id} has ended.")

        return Backing(self.importances, lambda: False, refuse)


class Answers:
    """Answers for one run.

    Attributes:
        backing: of the run; another one when its driver has ended.
    """

    def __init__(self, reading: RunReading, backing: Backing) -> None:
        """Answer for a run.

        Args:
            reading: the run.
            backing: of the same run.
        """
        self._reading = reading
        self._layout = RunLayout(reading.run_dir)
        self.backing = backing
        self._answers: dict[str, Callable[[Request], Any]] = {
            "trial": self._trial,
            "log": self._log,
            "file": self._file,
            "importance": lambda _: self.backing.importances(),
            "board": lambda _: self._open_board(),
            "control": self._control,
        }

    def answer(self, request: Request) -> Any:
        """The value of the reply.

        Raises:
            ConfigError: when the request cannot be answered.
            StoreError: when the run cannot be asked.
            OSError: as the file system reports it.
        """
        kind = request.get("type")
        if not isinstance(kind, str) or kind not in self._answers:
            raise ConfigError(f"a page cannot ask for {_shown(kind)}; allowed: {', '.join(self._answers)}.")
        return self._answers[kind](request)

    def _trial(self, request: Request) -> dict[str, Any]:
        with self._reading.lock:
            trial = self._find(request)
            error = trial.error
            value: dict[str, Any] = {
                "attempt": trial.attempt,
                "dir": self._layout.trial_folder(trial.id, trial.attempt),
                "hparams": plain_json(trial.hparams),
                "metrics": plain_json(trial.metrics),
                "error": error
                and {"kind": error.kind, "message": error.message, "traceback": error.traceback[-_TEXT_LIMIT:]},
                "values": {name: text[:_TEXT_LIMIT] for name, text in trial.values.items()},
                "warnings": list(trial.warnings),
                "files": [{"path": path, "size_bytes": size} for path, size in trial.files.items()],
                "requeue_reason": trial.requeue_reason,
            }
        return {**value, "curves": read_curves(self._layout.journal, trial.id, value["attempt"])}

    def _log(self, request: Request) -> dict[str, Any]:
        with self._reading.lock:
            trial = self._find(request)
        attempt, offset = _number(request, "attempt", 1), _number(request, "offset", -1)
        if attempt > trial.attempt:
            raise ConfigError(f"trial {trial.id} has had {trial.attempt} attempts; there is no attempt {attempt}.")
        path = self._layout.output_log(0, trial.id, attempt)
        try:
            descriptor = _open_inside(path, path.parent, self._layout.root)
        except FileNotFoundError:  # it has printed nothing
            return {"text": "", "begin": 0, "end": 0, "size": 0}
        with open(descriptor, "rb", buffering=0) as file:
            return _read_log(file, os.fstat(descriptor).st_size, offset)

    def _file(self, request: Request) -> dict[str, Any]:
        path = request.get("path")
        with self._reading.lock:
            trial = self._find(request)
            attempt = _number(request, "attempt", 1)
            is_listed = isinstance(path, str) and attempt == trial.attempt and path in trial.files
        if not is_listed or not isinstance(path, str):
            raise ConfigError(f"trial {trial.id}, attempt {attempt}, has no file {_shown(path)}.")
        folder = self._layout.trial_dir(trial.id, attempt)
        with open(_open_inside(folder / path, folder, self._layout.root), "rb") as file:
            size_bytes = os.fstat(file.fileno()).st_size
            if size_bytes > FILE_BYTES:
                raise ConfigError(f"{path} has {size_bytes:,} bytes; at most {FILE_BYTES:,} are shown here.")
            data = file.read(FILE_BYTES)
        return {"media_type": _media_type(data, path), "base64": base64.b64encode(data).decode("ascii")}

    def _open_board(self) -> dict[str, Any]:
        from lagom_magic.display.board import open_board

        board = open_board(self._reading.run_dir, end_with_driver=True)
        return {"port": board.port, "path": board.path}

    def _control(self, request: Request) -> dict[str, str]:
        record = {"action": request.get("action"), "trial_id": request.get("trial_id")}
        if self.backing.steer is not None:
            self.backing.steer(record)
        else:
            send_request(self._reading.run_dir, record)
        return {"text": promise(record)}

    def _find(self, request: Request) -> TrialView:
        trial_id = _number(request, "trial_id", 0)
        if trial_id not in self._reading.view.trials:
            raise ConfigError(f"this run has no trial {trial_id}.")
        return self._reading.view.trials[trial_id]


def promise(record: Mapping[str, Any]) -> str:
    """What will happen after a request that `send_request` took."""
    return _PROMISES[record["action"]].format(trial_id=record.get("trial_id"))


def _number(request: Request, name: str, at_least: int) -> int:
    value = request.get(name)
    if type(value) is not int or value < at_least:
        raise ConfigError(f"{name} is {_shown(value)}; allowed: a whole number from {at_least}.")
    return value


def _shown(value: Any) -> str:
    """What a page sent, of any depth and length, as it may stand in a sentence."""
    return one_line(repr(value) if isinstance(value, str) else reprlib.repr(value), 200)


def _open_inside(path: Path, folder: Path, root: Path) -> int:
    """A descriptor of a regular file that really lies in a folder of the run.

    Args:
        path: the file.
        folder: where it has to lie; at or below `root`, and itself reached through no link.
        root: the run's folder.

    Raises:
        StoreError: when it lies elsewhere or is something else.
        OSError: as the file system reports it.
    """
    real = Path(os.path.realpath(path))
    if not real.is_relative_to(Path(os.path.realpath(root), folder.relative_to(root))):
        raise StoreError(f"{path.name} leads out of its run, so it is not shown.")
    descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise StoreError(f"{path.name} is no regular file, so it is not shown.")
    return descriptor


def _read_log(file: Any, size: int, offset: int) -> dict[str, Any]:
    """The log from an offset, or its end; whole lines, unless one alone is longer than `LOG_BYTES`."""
    begin = max(0, size - LOG_BYTES) if offset < 0 else min(offset, size)
    file.seek(begin)
    data = file.read(LOG_BYTES)
    if offset < 0 and begin and (cut := data.find(b"\n") + 1):
        begin, data = begin + cut, data[cut:]
    if begin + len(data) < size and (cut := data.rfind(b"\n") + 1):
        data = data[:cut]
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    text = decoder.decode(data)
    n_open = len(decoder.getstate()[0])  # the beginning of a character whose rest follows
    if n_open == len(data) < size - begin or not text:
        text, n_open = data.decode("utf-8", "backslashreplace"), 0
    return {"text": text, "begin": begin, "end": begin + len(data) - n_open, "size": size}


def _media_type(data: bytes, path: str) -> str:
    for start, media_type in _MEDIA_TYPES:
        if data.startswith(start):
            return media_type
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    raise ConfigError(f"{path} is no PNG, JPEG, GIF or WebP; look for it in the run's folder.")
