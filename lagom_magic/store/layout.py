"""Where everything of a run lies: the only place that knows file names, used by writers and readers alike."""

from __future__ import annotations

import errno
import hashlib
import math
import os
import re
import secrets
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

from lagom_magic.errors import ConfigError, StoreError
from lagom_magic.spec.secret_urls import without_password

#: The version of everything below a run's folder, `run.json["format"]`.
FORMAT = 1

_EXPERIMENT_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_RUN_ID = re.compile(r"\d{8}-\d{6}-[a-z0-9]{4}")
#: Digits and letters that cannot be taken for one another, as they are sorted.
_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"
_N_LETTERS = 4


@dataclass(frozen=True, slots=True)
class RunLayout:
    """The files of one run.

    Attributes:
        root: the run's folder.
    """

    root: Path

    @property
    def run_json(self) -> Path:
        """What was asked for: config, search space, Spark UI link …"""
        return self.root / "run.json"

    @property
    def source(self) -> Path:
        """The cell, or the function's module, as the run began."""
        return self.root / "source.py"

    def sources(self) -> list[Path]:
        """Those that there are of it and of the functions that the run went on with, source.2.py …; the newest last."""
        return [path for _, path in _versions(self.source)]

    @property
    def newest_source(self) -> Path:
        """That of the function that the run calls now."""
        return max(_versions(self.source), default=(1, self.source))[1]

    @property
    def call(self) -> Path:
        """What the workers get, kept to resume and repeat the run; see `store.call`."""
        return self.root / "call"

    @property
    def notes(self) -> Path:
        """Tags and a note that people gave the stored run; absent until somebody does."""
        return self.root / "notes.json"

    @property
    def environment(self) -> Path:
        """Python, platform and installed packages of the driver."""
        return self.root / "environment.txt"

    @property
    def provenance(self) -> Path:
        """Notebook, git, hardware, Spark's settings and the data that the run was given; see `store.provenance`."""
        return self.root / "provenance.json"

    @property
    def git_diff(self) -> Path:
        """What was not committed when the run began; absent when nothing was."""
        return self.root / "git.diff"

    @property
    def journal(self) -> Path:
        """The spine: every fact, one JSON object a line."""
        return self.root / "events.jsonl"

    @property
    def requests(self) -> Path:
        """A named pipe by which other processes ask something of the run; there only while its driver lives."""
        return self.root / "requests"

    @property
    def result(self) -> Path:
        """How it ended; absent while it runs, and for ever after a crash of the driver."""
        return self.root / "result.json"

    @property
    def console(self) -> Path:
        """Prefixed, rate-limited lines of all workers as a person reads them; the newest part."""
        return self.root / "console.log"

    @property
    def older_console(self) -> Path:
        """The part of the console before the newest; what is older still is in the output.log files only."""
        return self.root / "console.1.log"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard's logdir."""
        return self.root / "tensorboard"

    @property
    def trials(self) -> Path:
        return self.root / "trials"

    @staticmethod
    def trial_name(trial_id: int, attempt: int) -> str:
        """'0007', and '0007.2' for its second attempt."""
        return f"{trial_id:04d}" if attempt == 1 else f"{trial_id:04d}.{attempt}"

    def trial_dir(self, trial_id: int, attempt: int) -> Path:
        return self.root.joinpath("trials", self.trial_name(trial_id, attempt))

    def trial_folder(self, trial_id: int, attempt: int) -> str:
        """`trial_dir` as text: a tenth of the time, for what happens once a trial."""
        return f"{self.root}/trials/{self.trial_name(trial_id, attempt)}"

    def trial_json(self, trial_id: int, attempt: int) -> Path:
        return self.trial_dir(trial_id, attempt) / "trial.json"

    def artifacts(self, trial_id: int, attempt: int) -> Path:
        """Files that the training function returned."""
        return self.trial_dir(trial_id, attempt) / "artifacts"

    def output_log(self, worker_id: int, trial_id: int | None, attempt: int, rank: int | None = None) -> Path:
        """Raw bytes as printed: of a trial, or of a worker outside of trials; each rank but the first has its own."""
        if trial_id is None:
            return self.root / "workers" / f"{worker_id}.log"
        return self.trial_dir(trial_id, attempt) / (f"output.r{rank}.log" if rank else "output.log")

    def tensorboard_dir(self, trial_id: int, attempt: int) -> Path:
        return self.tensorboard / self.trial_name(trial_id, attempt)


def home_url() -> str | None:
    """$LAGOM_HOME when it is a URL; its credentials must not be shown."""
    text = os.environ.get("LAGOM_HOME", "").strip()
    return text if "://" in text else None


def default_home() -> Path:
    """$LAGOM_HOME, else ./lagom_runs; of a URL, the working copy on this machine, below $LAGOM_CACHE."""
    url = home_url()
    if url is not None:
        name = hashlib.sha256(without_password(url.rstrip("/")).encode()).hexdigest()[:16]
        return Path(os.environ.get("LAGOM_CACHE") or "~/.cache/lagom").expanduser().absolute() / name
    return Path(os.environ.get("LAGOM_HOME") or "lagom_runs").expanduser().absolute()


def check_experiment_name(name: str) -> str:
    """The name, which becomes a folder's.

    Raises:
        ConfigError: when it is not 1 to 64 letters, digits, dots, dashes and underscores.
    """
    if not _EXPERIMENT_NAME.fullmatch(name) or set(name) == {"."}:
        raise ConfigError(
            f"{name!r} cannot be an experiment's name, because it becomes a folder's: "
            "use 1 to 64 letters, digits, '.', '_' and '-'."
        )
    return name


def is_run_id(text: str) -> bool:
    """Whether the text has the form of a run id."""
    return _RUN_ID.fullmatch(text) is not None


def create_run_dir(home: Path, experiment: str, now: datetime) -> RunLayout:
    """A new empty folder for a run, claimed by creating it, so that two drivers never share one.

    Args:
        home: the folder of all experiments; made when missing.
        experiment: a checked name.
        now: local time, for the run id.

    Raises:
        StoreError: when the folder cannot be made.
    """
    parent = home / check_experiment_name(experiment)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for run_id in islice(_RUN_IDS.of(f"{now:%Y%m%d-%H%M%S}"), 100):
            root = parent / run_id
            try:
                root.mkdir()
            except FileExistsError:
                continue
            (root / "trials").mkdir()
            return RunLayout(root)
    except OSError as error:
        raise StoreError(
            f"Cannot create a run folder in {parent}: {error}. Set LAGOM_HOME to a folder you own."
        ) from error
    raise StoreError(f"Cannot find a free run id in {parent}: it holds too many runs of this second.")


class _RunIds:
    """Run ids that nobody else has, and that are sorted as this process made them, also within one second."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._second, self._number = "", 0

    def of(self, second: str) -> Iterator[str]:
        """Ids of a second, until its letters are used up."""
        while True:
            with self._lock:
                if second != self._second:
                    self._second, self._number = second, secrets.randbelow(len(_ALPHABET) ** _N_LETTERS // 2)
                else:
                    room = len(_ALPHABET) ** _N_LETTERS - self._number - 1
                    if not room:
                        return
                    self._number += 1 + secrets.randbelow(math.ceil(room / 16))
                number = self._number
            yield f"{second}-{_letters(number)}"


_RUN_IDS = _RunIds()


def _letters(number: int) -> str:
    letters = ""
    for _ in range(_N_LETTERS):
        number, place = divmod(number, len(_ALPHABET))
        letters = _ALPHABET[place] + letters
    return letters


def write_whole(path: Path | str, data: bytes) -> None:
    """Write a file so that readers see all of it or nothing: beside, then renamed.

    Raises:
        OSError: as the file system reports it; what was there before stays.
    """
    folder, name = os.path.split(path)
    beside = f"{folder}/.{name}.part"
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            write_all(descriptor, data)
        finally:
            os.close(descriptor)
        os.rename(beside, path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


def read_file(path: Path, limit_bytes: int) -> bytes:
    """The beginning of a file; a pipe in its place holds nobody up.

    Raises:
        OSError: as the file system reports it, and for what is no file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no file", str(path))
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(limit_bytes)
    finally:
        os.close(descriptor)


def write_unless_kept(path: Path, text: str) -> None:
    """Write a text beside older ones of its kind, `name.txt`, `name.2.txt` …, unless the newest of them is the same.

    Raises:
        OSError: as the file system reports it.
    """
    data = text.encode(errors="backslashreplace")
    number, newest = max(_versions(path), default=(0, path))
    if not number:
        write_whole(path, data)
    elif newest.read_bytes() != data:
        write_whole(path.with_name(f"{path.stem}.{number + 1}{path.suffix}"), data)


def _versions(path: Path) -> list[tuple[int, Path]]:
    """What there is of `name.txt`, which is number 1, `name.2.txt` …, by their numbers."""
    name = re.compile(rf"{re.escape(path.stem)}\.([2-9]|[1-9][0-9]+){re.escape(path.suffix)}")
    beside = ((name.fullmatch(other.name), other) for other in path.parent.glob(f"{path.stem}.*{path.suffix}"))
    found = [(int(match[1]), other) for match, other in beside if match]
    return sorted([(1, path), *found] if path.exists() else found)


def write_all(descriptor: int, data: bytes | bytearray | memoryview) -> None:
    """`os.write` until everything is written.

    Raises:
        OSError: as the file system reports it.
    """
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
