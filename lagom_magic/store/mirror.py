"""Keeps runs alike in a working copy on this machine and in the place that LAGOM_HOME names by a URL.

A run is written to the working copy and sent from there, while it goes on, on the thread "lagom-home". What could not
be sent is marked in `.remote/unsent/` of the working copy, and goes with the next run or `%lagom runs`.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from lagom_magic.errors import ConfigError, StoreError
from lagom_magic.events.facts import FileStored, TrialEnded, TrialStarted
from lagom_magic.store.alike import marker
from lagom_magic.store.attempt import tried
from lagom_magic.store.follower import Follower
from lagom_magic.store.journal import JournalReader, is_being_written
from lagom_magic.store.layout import RunLayout, check_experiment_name, default_home, home_url, is_run_id
from lagom_magic.store.locks import locked
from lagom_magic.store.model_mirror import pull_models, send_models
from lagom_magic.store.remote import Remote, RemoteError, open_remote
from lagom_magic.store.run_copy import TURN_S, ConflictError, RunCopy, is_pickled, is_small

logger = logging.getLogger("lagom_magic.store")

#: Seconds before a file system that failed is asked again.
RETRY_S = 15.0
#: What `%lagom runs` waits for a place that may be out of reach.
_REFRESH_TIMEOUT_S = 20.0


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
        #: What the person was told of already.
        self._told = set[type[StoreError]]()
        self._problem = "it is not done yet"
        self._is_conflict = False
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
        if self._is_conflict:
            return f"{self._remote.shown}: {self._problem}."
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
            self._copy.check()
            self._copy.send(["", "workers", "tensorboard"], is_recursive=False)
            self._copy.send(trials, is_recursive=True)
        except ConflictError as error:
            self._tell(error, f"{self._remote.shown}: {error}.")
            return RETRY_S
        except RemoteError as error:
            self._tell(
                error,
                f"{self._remote.shown} takes no files ({str(error).rstrip('.')}); the run goes on, its files are "
                f"kept in {self._layout.root} and sent later.",
            )
            return RETRY_S
        self._late, self._changed = self._changed, set()
        return TURN_S

    def _tell(self, error: StoreError, text: str) -> None:
        """Once for each kind of trouble."""
        if type(error) not in self._told:
            self._told.add(type(error))
            self._notice(text)

    def _finish(self) -> None:
        home = self._layout.root.parent.parent
        try:
            _complete(self._copy, self._layout.root)
            send_models(home, self._remote)
            self._problem = ""
        except StoreError as error:
            self._problem, self._is_conflict = str(error), isinstance(error, ConflictError)
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
    kept = _in_working_copy(run_dir)
    if kept is not None:
        unsent = marker(kept, "unsent")
        unsent.parent.mkdir(parents=True, exist_ok=True)
        unsent.touch()


def _in_working_copy(run_dir: Path) -> Path | None:
    """Where the working copy has a run, whichever links lead there or from there; None where LAGOM_HOME has no URL."""
    if home_url() is not None:
        home = default_home()
        for place in (run_dir, run_dir.resolve()):
            if place.parent.parent.resolve() == home.resolve():
                return home / place.parent.name / place.name
    return None


def unmark_changed(run_dir: Path) -> None:
    """Say that it was sent."""
    marker(run_dir, "unsent").unlink(missing_ok=True)


def _forget_copy(run_dir: Path) -> None:
    """Take all marks of a run off, which is no longer here."""
    for kind in ("unsent", "partial", "alike"):
        marker(run_dir, kind).unlink(missing_ok=True)


def _marked(home: Path, kind: str) -> Iterator[Path]:
    """The folders of the runs that are marked so."""
    for path in sorted((home / ".remote" / kind).glob("*@*")):
        experiment, _, run_id = path.name.rpartition("@")
        yield home / experiment / run_id


def send_unsent(home: Path, remote: Remote) -> None:
    """Send the runs that earlier processes could not send; those that live are their drivers' own.

    Raises:
        RemoteError: for the first that is not taken.
        ConflictError: for runs that somebody else changed, too, when all others are sent.
    """
    conflicts: list[str] = []
    for run_dir in _marked(home, "unsent"):
        if not run_dir.is_dir():
            _forget_copy(run_dir)
        elif not is_being_written(run_dir):
            try:
                _complete(RunCopy(RunLayout(run_dir), remote), run_dir)
            except ConflictError as error:
                conflicts.append(str(error))
    send_models(home, remote)
    if conflicts:
        raise ConflictError("; ".join(conflicts))


def _complete(copy: RunCopy, run_dir: Path) -> None:
    """Bring a copy up to date and take the mark off, unless somebody marked the run again meanwhile."""
    unsent = marker(run_dir, "unsent")
    before = unsent.stat().st_mtime_ns if unsent.exists() else None
    copy.complete()
    if before is not None and unsent.exists() and unsent.stat().st_mtime_ns == before:
        unmark_changed(run_dir)


def forget(run_dir: Path) -> None:
    """Delete a run in the remote place; does nothing in a home without a URL.

    Raises:
        StoreError: when the place does not do it; then the run would come back with the next `%lagom runs`.
    """
    url, kept = home_url(), _in_working_copy(run_dir)
    if url is not None and kept is not None:
        open_remote(url).remove(f"{kept.parent.name}/{kept.name}")
        _forget_copy(kept)


# what lies in the remote place and not in the working copy


def refresh_home() -> str:
    """Send what is not sent yet, and fetch what others made since; for at most some seconds.

    What takes longer goes on behind, and until it is done nothing more is begun.

    Returns:
        What did not go, for a person; "" when all did, and where LAGOM_HOME is a folder.

    Raises:
        ConfigError: when its URL cannot work.
    """
    url = home_url()
    if url is None:
        return ""
    remote = open_remote(url)

    def refresh() -> None:
        try:
            send_unsent(default_home(), remote)
        finally:  # also where one run of ours cannot be sent
            pull(default_home(), remote)

    problem = tried(default_home(), refresh, _REFRESH_TIMEOUT_S)
    return f"{remote.shown}: {problem}; what is shown is this machine's copy." if problem else ""


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
            elif _may_live_elsewhere(run_dir) or _is_unlisted(run_dir):
                RunCopy(RunLayout(run_dir), remote).bring(is_small)
    pull_models(home, remote)


def _may_live_elsewhere(run_dir: Path) -> bool:
    is_over = RunLayout(run_dir).result.exists()
    return marker(run_dir, "partial").exists() and not is_over and not is_being_written(run_dir)


def _is_unlisted(run_dir: Path) -> bool:
    """Whether lists have nothing of a run because its working copy was tidied."""
    layout = RunLayout(run_dir)
    return not (layout.run_json.exists() and layout.journal.exists()) and not is_being_written(run_dir)


def fetch(run_dir: Path) -> None:
    """Fetch what is missing here of a run: what another machine made, and what was tidied away in the working copy.

    That is what was added where it went on elsewhere, artifacts, outputs, TensorBoard's files.

    Not its pickled function, which would be run as ours when the run is resumed or repeated, whoever put it there.

    Raises:
        ConfigError: when LAGOM_HOME's URL cannot work.
        RemoteError: when the place cannot be read, and files may be missing here.
    """
    url, kept = home_url(), _in_working_copy(run_dir)
    if url is None or kept is None:
        return
    run_dir = kept
    copy = RunCopy(RunLayout(run_dir), open_remote(url))
    if not marker(run_dir, "partial").exists():
        if is_being_written(run_dir):
            return
        problem = tried(default_home(), lambda: copy.bring(_is_nothing), _REFRESH_TIMEOUT_S)
        if problem:
            logger.warning("whether another machine went on with run %s is not known: %s", run_dir.name, problem)
            return
    if copy.may_lack_files():
        copy.bring(lambda path: not is_pickled(path))


def _is_nothing(path: str) -> bool:
    return False


def _pull_run(run_dir: Path, remote: Remote) -> None:
    """Whole or not at all: beside, then renamed."""
    kept = run_dir.parent.parent / ".remote"
    home = kept / f"part-{secrets.token_hex(8)}"
    beside = home / run_dir.parent.name / run_dir.name
    beside.mkdir(parents=True)
    try:
        RunCopy(RunLayout(beside), remote).bring(is_small)
        if not RunLayout(beside).run_json.exists():
            return  # it has only begun
        (beside / "trials").mkdir(exist_ok=True)
        with locked(kept / "pulling"):  # so that what is known of the files is of those that are here
            if not run_dir.exists():  # another kernel may have fetched it, too
                _put_in_place(beside, run_dir)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _put_in_place(beside: Path, run_dir: Path) -> None:
    """The marks come first: a run of others is never taken for one that was made here."""
    run_dir.parent.mkdir(parents=True, exist_ok=True)
    partial, alike = marker(run_dir, "partial"), marker(run_dir, "alike")
    for mark in (partial, alike):
        mark.parent.mkdir(parents=True, exist_ok=True)
    os.replace(marker(beside, "alike"), alike)
    partial.touch()
    try:
        os.rename(beside, run_dir)
    except OSError:
        if not run_dir.exists():
            raise  # else another kernel was first, on a file system without locks


def _is_experiment(name: str) -> bool:
    try:
        return not check_experiment_name(name).startswith(".")
    except ConfigError:
        return False
