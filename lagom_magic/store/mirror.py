"""Keeps runs alike in a working copy on this machine and in the place that LAGOM_HOME names by a URL.

A run is written to the working copy and sent from there, while it goes on, on the thread "lagom-home". What could not
be sent is marked in `.remote/unsent/` of the working copy, and goes with the next run or `%lagom runs`.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from lagom_magic.errors import ConfigError, StoreError
from lagom_magic.events.facts import FileStored, TrialEnded, TrialStarted
from lagom_magic.store.follower import Follower
from lagom_magic.store.journal import JournalReader, is_being_written
from lagom_magic.store.layout import RunLayout, check_experiment_name, default_home, home_url, is_run_id
from lagom_magic.store.model_mirror import pull_models, send_models
from lagom_magic.store.remote import Remote, RemoteError, RemoteFile, open_remote

logger = logging.getLogger("lagom_magic.store")

#: Seconds in which news is gathered, and those before a file system that failed is asked again.
TURN_S = 3.0
RETRY_S = 15.0
#: A file that grows is sent again after this many times what sending it took.
_REST = 10.0
#: So many files may fail at the end before the others are not tried any more.
_MOST_FAILURES = 3
#: What `%lagom runs` waits for a place that may be out of reach.
_REFRESH_TIMEOUT_S = 20.0

#: What is fetched of a run that was made elsewhere, before more is asked for.
_SMALL = frozenset(
    {"run.json", "result.json", "events.jsonl", "source.py", "notes.json", "environment.txt", "provenance.json"}
)

#: (bytes, modification time in ns) of a file as it was sent.
_Stamp = tuple[int, int]


class RunCopy:
    """One run's folder there, and what of it was sent."""

    def __init__(self, layout: RunLayout, remote: Remote) -> None:
        self._root, self.remote = layout.root, remote
        self.name = f"{layout.root.parent.name}/{layout.root.name}"
        self._sent: dict[str, _Stamp] = {}
        #: Growing files → when they may be sent again, on the monotonic clock.
        self._due: dict[str, float] = {}

    def send(self, folders: Iterable[str], *, is_recursive: bool) -> None:
        """Send what has changed in some folders of the run, growing files not too often.

        Raises:
            RemoteError: for the first file that is not taken.
        """
        for path, stamp in _files_of(self._root, folders, is_recursive):
            if self._sent.get(path) != stamp and time.monotonic() >= self._due.get(path, 0.0):
                self._put(path, stamp)

    def _put(self, path: str, stamp: _Stamp) -> None:
        began_s = time.monotonic()
        try:
            self.remote.put(self._root / path, f"{self.name}/{path}")
        except RemoteError:
            if (self._root / path).exists():
                raise
            return  # deleted meanwhile
        self._sent[path] = stamp
        now_s = time.monotonic()
        self._due[path] = now_s + max(TURN_S, _REST * (now_s - began_s))

    def complete(self) -> None:
        """Send all that is not there yet, remove what is there and no longer here, and look at the outcome.

        Raises:
            RemoteError: when something is missing there afterwards; says what.
        """
        is_whole = not _marker(self._root, "partial").exists()
        there = self.remote.files(self.name)
        failures: list[str] = []
        here = dict(_files_of(self._root, [""], is_recursive=True))
        for path, stamp in here.items():
            if len(failures) >= _MOST_FAILURES:
                failures.append(path)
            elif not self._is_there(path, stamp, there.get(path)):
                self._put_or_note(path, stamp, failures)
        if not failures:
            there = self.remote.files(self.name)
            for path in [path for path in here if not self._is_same(path, there.get(path))]:
                self._put_or_note(path, here[path], failures)
                if path not in failures and not self._is_same(path, self.remote.files(self.name).get(path)):
                    failures.append(f"{path}: it is not there as it was sent")
            for path in sorted(there.keys() - here.keys()) if is_whole else ():
                self.remote.remove(f"{self.name}/{path}")
        if failures:
            raise RemoteError(f"{len(failures)} of {len(here)} files are not there ({failures[0]})")

    def _put_or_note(self, path: str, stamp: _Stamp, failures: list[str]) -> None:
        try:
            self._put(path, stamp)
        except RemoteError as error:
            failures.append(f"{path}: {error}")

    def _is_there(self, path: str, stamp: _Stamp, there: RemoteFile | None) -> bool:
        """Whether a file need not be sent: this object has done so, or somebody before it."""
        if there is None or there.size_bytes != stamp[0]:
            return False
        if self._sent.get(path) == stamp:
            return True
        if there.md5:
            return there.md5 == _md5_of(self._root / path)
        return self.remote.modified_at(f"{self.name}/{path}") > stamp[1] / 1e9

    def _is_same(self, path: str, there: RemoteFile | None) -> bool:
        """Whether a file is there with all its bytes, as far as the file system tells."""
        whole = self._root / path
        if there is None or there.size_bytes != whole.stat().st_size:
            return False
        if not there.md5:
            return True
        # A tag that looks like an MD5 need not be one (S3 with its own keys): then the bytes themselves tell.
        expected = _md5_of(whole)
        return expected in (there.md5, self.remote.md5_of(f"{self.name}/{path}"))


class HomeMirror:
    """Keeps a live run's copy."""

    def __init__(self, layout: RunLayout, remote: Remote, notice: Callable[[str], None]) -> None:
        """Make it; it begins with `start`.

        Args:
            layout: of the run.
            remote: the home folder to keep it in.
            notice: takes one line for the person who watches the run; called from our thread.
        """
        self._layout, self._remote, self._notice = layout, remote, notice
        self._copy = RunCopy(layout, remote)
        self._journal = JournalReader(layout.root)
        #: Folders of trials that run, that changed since the last turn, and that had changed before it: their last
        #: files were being written then.
        self._running: set[str] = set()
        self._changed: set[str] = set()
        self._late: set[str] = set()
        self._follower = Follower("lagom-home", self._turn, self._finish)
        self._is_told = False
        self._problem = "it is not done yet"
        self._is_marked = False
        self.wake = self._follower.wake

    def start(self) -> None:
        """Begin to follow the run."""
        self._follower.start()

    def close(self, timeout_s: float, goes_on: bool = False) -> str:
        """Send the rest, for at most so long; what is not sent by then goes on while this process lives.

        Returns:
            What is missing there and how to send it, for a person; "" when all is there.
        """
        is_done = self._follower.close(timeout_s)
        if not self._problem or (goes_on and not is_done):
            return ""
        return (
            f"{self._remote.shown} has not got all of this run: {self._problem.rstrip('.')}. It is whole in "
            f"{self._layout.root}; the next run or `%lagom runs` sends the rest."
        )

    def _turn(self) -> float:
        if not self._is_marked:
            mark_changed(self._layout.root)
            self._is_marked = True
        for line in self._journal.read_new():
            match line.fact:
                case TrialStarted(trial_id, attempt):
                    self._running.add(RunLayout.trial_name(trial_id, attempt))
                case TrialEnded(trial_id, attempt) | FileStored(trial_id, attempt):
                    self._changed.add(RunLayout.trial_name(trial_id, attempt))
                    if isinstance(line.fact, TrialEnded):
                        self._running.discard(RunLayout.trial_name(trial_id, attempt))
        names = self._running | self._changed | self._late
        trials = [folder for name in sorted(names) for folder in (f"trials/{name}", f"tensorboard/{name}")]
        try:
            self._copy.send(["", "workers", "tensorboard"], is_recursive=False)
            self._copy.send(trials, is_recursive=True)
        except RemoteError as error:
            if not self._is_told:
                self._is_told = True
                self._notice(
                    f"{self._remote.shown} takes no files ({str(error).rstrip('.')}); the run goes on, its files are "
                    f"kept in {self._layout.root} and sent later."
                )
            return RETRY_S
        self._late, self._changed = self._changed, set()
        return TURN_S

    def _finish(self) -> None:
        home = self._layout.root.parent.parent
        try:
            _complete(self._copy, self._layout.root)
            send_models(home, self._remote)
            self._problem = ""
        except StoreError as error:
            self._problem = str(error)
            return
        except Exception as error:
            self._problem = f"{type(error).__name__}: {error}"
            raise
        try:
            send_unsent(home, self._remote)
        except StoreError as error:  # they stay marked
            logger.info("what earlier runs left is not sent: %s", error)


# what lies in the working copy and is not sent


def mark_changed(run_dir: Path) -> None:
    """Say that the folder of a run was changed, so that it is sent again; does nothing in a home without a URL."""
    if home_url() is not None and run_dir.parent.parent == default_home():
        marker = _marker(run_dir, "unsent")
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()


def unmark_changed(run_dir: Path) -> None:
    """Say that it was sent."""
    _marker(run_dir, "unsent").unlink(missing_ok=True)


def _marker(run_dir: Path, kind: str) -> Path:
    """The file that says something of a run: 'unsent', or 'partial' when it was made elsewhere and may lack files."""
    return run_dir.parent.parent / ".remote" / kind / f"{run_dir.parent.name}@{run_dir.name}"


def _marked(home: Path, kind: str) -> Iterator[Path]:
    """The folders of the runs that are marked so."""
    for marker in sorted((home / ".remote" / kind).glob("*@*")):
        experiment, _, run_id = marker.name.rpartition("@")
        yield home / experiment / run_id


def send_unsent(home: Path, remote: Remote) -> None:
    """Send the runs that earlier processes could not send; those that live are their drivers' own.

    Raises:
        RemoteError: for the first that is not taken.
    """
    for run_dir in _marked(home, "unsent"):
        if not run_dir.is_dir():
            unmark_changed(run_dir)
        elif not is_being_written(run_dir):
            _complete(RunCopy(RunLayout(run_dir), remote), run_dir)
    send_models(home, remote)


def _complete(copy: RunCopy, run_dir: Path) -> None:
    """Bring a copy up to date and take the mark off, unless somebody marked the run again meanwhile."""
    marker = _marker(run_dir, "unsent")
    before = marker.stat().st_mtime_ns if marker.exists() else None
    copy.complete()
    if before is not None and marker.exists() and marker.stat().st_mtime_ns == before:
        unmark_changed(run_dir)


def forget(run_dir: Path) -> None:
    """Delete a run in the remote place; does nothing in a home without a URL.

    Raises:
        StoreError: when the place does not do it; then the run would come back with the next `%lagom runs`.
    """
    url = home_url()
    if url is not None and run_dir.parent.parent == default_home():
        open_remote(url).remove(f"{run_dir.parent.name}/{run_dir.name}")
        unmark_changed(run_dir)
        _marker(run_dir, "partial").unlink(missing_ok=True)


# what lies in the remote place and not in the working copy


def refresh_home() -> str:
    """Send what is not sent yet, and fetch what others made since; for at most some seconds.

    Returns:
        What did not go, for a person; "" when all did, and where LAGOM_HOME is a folder.

    Raises:
        ConfigError: when its URL cannot work.
    """
    url = home_url()
    if url is None:
        return ""
    remote, problem = open_remote(url), [f"it is not done after {_REFRESH_TIMEOUT_S:.0f} s"]

    def refresh() -> None:
        try:
            send_unsent(default_home(), remote)
            pull(default_home(), remote)
            problem.clear()
        except OSError as error:  # of the place, or of the disk
            problem[:] = [str(error)]

    thread = threading.Thread(target=refresh, name="lagom-home", daemon=True)
    thread.start()
    thread.join(_REFRESH_TIMEOUT_S)
    return f"{remote.shown}: {problem[0]}; what is shown is this machine's copy." if problem else ""


def pull(home: Path, remote: Remote) -> None:
    """Fetch the runs that are in the remote place only: what lists and shows need, without their artifacts.

    Raises:
        RemoteError: when the place cannot be read.
    """
    for experiment in remote.folders(""):
        if not _is_experiment(experiment):
            continue
        for run_id in filter(is_run_id, remote.folders(experiment)):
            run_dir = home / experiment / run_id
            if not run_dir.exists():
                _pull_run(run_dir, remote)
            elif _marker(run_dir, "partial").exists() and not RunLayout(run_dir).result.exists():
                _get(run_dir, remote, _is_small)  # it may live there still
    pull_models(home, remote)


def fetch(run_dir: Path) -> None:
    """Fetch the files of a run that are in the remote place only: artifacts, outputs, TensorBoard's.

    Not its pickled function, which would be run as ours when the run is resumed or repeated, whoever put it there.

    Raises:
        ConfigError: when LAGOM_HOME's URL cannot work.
        RemoteError: when the place cannot be read.
    """
    url = home_url()
    if url is None or not _marker(run_dir, "partial").exists():
        return
    _get(run_dir, open_remote(url), lambda path: not path.startswith(f"{RunLayout(run_dir).call.name}/"))


def _pull_run(run_dir: Path, remote: Remote) -> None:
    """Whole or not at all: beside, then renamed."""
    beside = run_dir.parent.parent / ".remote" / f"part-{secrets.token_hex(8)}" / run_dir.parent.name / run_dir.name
    beside.mkdir(parents=True)
    try:
        _get(beside, remote, _is_small)
        if not RunLayout(beside).run_json.exists():
            return  # it has only begun
        marker = _marker(run_dir, "partial")
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
        run_dir.parent.mkdir(parents=True, exist_ok=True)
        (beside / "trials").mkdir(exist_ok=True)
        os.rename(beside, run_dir)
    finally:
        shutil.rmtree(beside.parent.parent, ignore_errors=True)


def _get(run_dir: Path, remote: Remote, is_wanted: Callable[[str], bool]) -> None:
    name = f"{run_dir.parent.name}/{run_dir.name}"
    # What was changed here, and is not sent yet, is newer than what is there.
    is_older = not _marker(run_dir, "unsent").exists() and not is_being_written(run_dir)
    for path, there in remote.files(name).items():
        target = run_dir / path
        if not _is_inside(path) or not is_wanted(path):
            continue
        if target.exists() and (not is_older or target.stat().st_size == there.size_bytes):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.part")
        try:
            remote.get(f"{name}/{path}", part)
            os.rename(part, target)
        finally:
            part.unlink(missing_ok=True)


def _is_small(path: str) -> bool:
    parts = path.split("/")
    return path in _SMALL or (len(parts) == 3 and parts[0] == "trials" and parts[2] == "trial.json")


def _is_inside(path: str) -> bool:
    return all(part not in ("", ".", "..") and "\0" not in part for part in path.split("/"))


def _is_experiment(name: str) -> bool:
    try:
        return not check_experiment_name(name).startswith(".")
    except ConfigError:
        return False


# files


def _files_of(root: Path, folders: Iterable[str], is_recursive: bool) -> Iterator[tuple[str, _Stamp]]:
    """Regular files that are whole, by their paths in `root`; no links and no pipes."""
    waiting = list(folders)
    while waiting:
        folder = waiting.pop()
        try:
            entries = sorted(os.scandir(root / folder), key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):  # not yet, or no longer
            continue
        for entry in entries:
            if not folder and entry.name.startswith("."):  # locks, and what is about to be something else
                continue
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                waiting += [path] if is_recursive else []
            elif entry.is_file(follow_symlinks=False) and not _is_part(entry.name):
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                yield path, (status.st_size, status.st_mtime_ns)


def _is_part(name: str) -> bool:
    return name.startswith(".") and name.endswith(".part")


def _md5_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
