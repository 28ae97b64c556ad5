"""One run's folder in the place that LAGOM_HOME names by a URL: sent, fetched, and never spoilt by an older copy.

Object stores have no locks, so two machines may have a run that both change. Which of them is ahead its journal says:
it only grows, and whoever drives the run adds to it. If the journal there is a beginning of ours, our files are newer
and are sent. If ours is a beginning of that one, another machine went on with the run, and its files are fetched. If
neither is, both went on: nothing is sent or overwritten, and the person is told. Tags and notes change without the
journal; for them the content that was alike at last says who changed it.

A file that is missing here says nothing of the one there: working copies lie where people and programs tidy up. So
only what a run itself replaces when it goes on is removed there; all else is fetched when somebody asks for it.
"""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from enum import Enum, auto
from pathlib import Path

from lagom_magic.errors import StoreError
from lagom_magic.events.facts import RunEnded, RunStarted
from lagom_magic.events.paths import OWN_SUFFIX, TENSORBOARD
from lagom_magic.store.alike import JOURNAL, NOTES, Alike, Stamp, files_of, marker, md5_of, stamp_of
from lagom_magic.store.journal import JournalReader, is_being_written
from lagom_magic.store.layout import RunLayout
from lagom_magic.store.remote import Remote, RemoteError, RemoteFile

logger = logging.getLogger("lagom_magic.store")

#: A file that grows is sent again after these seconds at least, and after this many times what sending it took.
TURN_S = 3.0
_REST = 10.0
#: So many files may fail at the end before the others are not tried any more.
_MOST_FAILURES = 3

#: What is fetched of a run that was made elsewhere, before more is asked for.
_SMALL = frozenset({"run.json", "result.json", "events.jsonl", "notes.json", "environment.txt", "provenance.json"})
_CALL, _RESULT = "call", "result.json"
#: Checkpoints of an attempt that `trials.remove_older` leaves.
_CHECKPOINTS_KEPT = 2


class ConflictError(StoreError):
    """A run that was changed here and elsewhere; nothing of it is sent or overwritten until a person decides."""


class Ahead(Enum):
    """Whose copy is newer."""

    OURS = auto()  # or both are alike
    THEIRS = auto()
    NEITHER = auto()  # they are apart


class RunCopy:
    """One run's folder there, and what of it is alike here."""

    def __init__(self, layout: RunLayout, remote: Remote) -> None:
        self._root, self.remote = layout.root, remote
        self.name = f"{layout.root.parent.name}/{layout.root.name}"
        self._alike = Alike(marker(layout.root, "alike"))
        #: What this object has sent → when it may be sent again if it grows, on the monotonic clock.
        self._due: dict[str, float] = {}
        #: Bytes of the journal there when it was last known to be ours; None = there was none, -1 = not looked yet.
        self._journal_bytes: int | None = -1

    # while the run goes on

    def check(self) -> None:
        """Look whether another machine writes the run that this one writes; one question when nothing happened.

        Raises:
            ConflictError: when it does.
            RemoteError: when the place cannot be read.
        """
        if self._journal_bytes == self.remote.size_of(f"{self.name}/{JOURNAL}"):
            return
        there = self._files_there()
        if self._ahead(there) is not Ahead.OURS:
            raise self._went_apart()
        self._journal_bytes = there[JOURNAL].size_bytes if JOURNAL in there else None
        self._remove_replaced(there)

    def send(self, folders: Iterable[str], *, is_recursive: bool) -> None:
        """Send what has changed in some folders of the run, growing files not too often.

        Raises:
            RemoteError: for the first file that is not taken.
        """
        try:
            for path, stamp in files_of(self._root, folders, is_recursive):
                if self._alike.files.get(path) != stamp and time.monotonic() >= self._due.get(path, 0.0):
                    self._put(path, stamp)
                    if _is_columns(path):  # whoever fetches them now is not to have the earlier ones, too
                        self._remove_replaced([path for path in self._alike.files if _is_columns(path)])
        finally:
            self._alike.save()

    def _put(self, path: str, stamp: Stamp) -> None:
        began_s = time.monotonic()
        try:
            self.remote.put(self._root / path, f"{self.name}/{path}")
            if path == JOURNAL:
                self._journal_bytes = self.remote.size_of(f"{self.name}/{path}")
        except RemoteError:
            if (self._root / path).exists():
                raise
            return  # deleted meanwhile
        self._alike.files[path] = stamp
        now_s = time.monotonic()
        self._due[path] = now_s + max(TURN_S, _REST * (now_s - began_s))

    # when it is over

    def complete(self) -> None:
        """Send all that is not there yet, remove there what the run has replaced, and look at the outcome.

        Where another machine has gone on with the run, its files are fetched first.

        Raises:
            ConflictError: when both have gone on, or changed the notes.
            RemoteError: when something is missing there afterwards; says what.
        """
        there = self._files_there()
        ahead = self._ahead(there)
        if ahead is Ahead.NEITHER or (ahead is Ahead.THEIRS and is_being_written(self._root)):
            raise self._went_apart()
        try:
            if ahead is Ahead.THEIRS:
                self._take(there)
            self._send_rest(there, is_ours=ahead is Ahead.OURS)
            self._settle_notes(there)
        finally:
            self._alike.save()

    def _send_rest(self, there: Mapping[str, RemoteFile], *, is_ours: bool) -> None:
        """Send what is not there; of a run of which theirs is newer, only what they do not have at all."""
        here = dict(files_of(self._root, [""], is_recursive=True))
        if not is_ours:
            here = {path: stamp for path, stamp in here.items() if path not in there}
        failures: list[str] = []
        for path, stamp in here.items():
            if len(failures) >= _MOST_FAILURES:
                failures.append(path)
            elif not self._is_there(path, stamp, there.get(path)):
                self._put_or_note(path, stamp, failures)
        if not failures:
            now = self.remote.files(self.name)
            for path in [path for path in here if self._is_ours(path) and not self._is_same(path, now.get(path))]:
                if not self._put_or_note(path, here[path], failures):
                    continue
                if not self._is_same(path, self.remote.files(self.name).get(path)):
                    failures.append(f"{path}: it is not there as it was sent")
                    self._alike.files.pop(path, None)
        if failures:
            raise RemoteError(f"{len(failures)} of {len(here)} files are not there ({failures[0]})")
        if is_ours:
            self._remove_replaced(there)

    def _put_or_note(self, path: str, stamp: Stamp, failures: list[str]) -> bool:
        try:
            self._put(path, stamp)
        except RemoteError as error:
            failures.append(f"{path}: {error}")
            return False
        return True

    def _remove_replaced(self, there: Collection[str]) -> None:
        """Remove there what was alike and the run itself has replaced here since."""
        gone = [path for path in self._alike.files if path in there and not self._has(path)]
        for path in sorted(filter(self._is_replaced, gone)):
            self.remote.remove(f"{self.name}/{path}")
            del self._alike.files[path]

    def _is_replaced(self, path: str) -> bool:
        """Whether a file that is missing here is one that a run which goes on removes: what takes its place is here."""
        folder = path.rpartition("/")[0]
        if path == _RESULT:
            return self._is_driver() or self._is_begun_again()
        if _is_columns(path):  # one that was never here another machine has written since
            return path in self._alike.files and bool(self._columns_here())
        if folder.startswith("trials/") and folder.endswith("/checkpoint"):
            return sum(other > path for other in self._paths_in(folder)) >= _CHECKPOINTS_KEPT
        return False

    def _is_begun_again(self) -> bool:
        """Whether the journal says that the run went on and has not ended since."""
        facts = (line.fact for line in reversed(JournalReader(self._root).read_new()))
        return isinstance(next((fact for fact in facts if isinstance(fact, (RunStarted, RunEnded))), None), RunStarted)

    def _paths_in(self, folder: str) -> list[str]:
        """Files in a folder here that are whole."""
        return [path for path, _ in files_of(self._root, [folder], is_recursive=False)]

    def _is_driver(self) -> bool:
        """Whether this object follows a run that goes on here."""
        return self._journal_bytes != -1

    def _is_there(self, path: str, stamp: Stamp, there: RemoteFile | None) -> bool:
        """Whether a file need not be sent."""
        is_known = self._alike.files.get(path) == stamp
        if is_known and not self._is_ours(path):
            return True
        if there is None or there.size_bytes != stamp[0]:
            return False
        if not is_known and there.md5 and there.md5 == md5_of(self._root / path):
            self._alike.files[path] = stamp
            return True
        return is_known

    def _is_ours(self, path: str) -> bool:
        """Whether it is for this copy to say how a file is: where it was fetched from there, only when it sent it."""
        return path in self._due or not self._is_partial()

    def _is_partial(self) -> bool:
        return marker(self._root, "partial").exists()

    def _mark_partial(self) -> None:
        partial = marker(self._root, "partial")
        partial.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()

    def _is_same(self, path: str, there: RemoteFile | None) -> bool:
        """Whether a file is there with all its bytes, as far as the file system tells."""
        whole = self._root / path
        if there is None or there.size_bytes != whole.stat().st_size:
            return False
        if not there.md5:
            return True
        # A tag that looks like an MD5 need not be one (S3 with its own keys): then the bytes themselves tell.
        expected = md5_of(whole)
        return expected == there.md5 or expected == self.remote.md5_of(f"{self.name}/{path}")

    # who is ahead

    def _files_there(self) -> dict[str, RemoteFile]:
        """All files there.

        Raises:
            ConflictError: when there are none any more.
        """
        there = self.remote.files(self.name)
        if self._alike.files and not there:
            raise ConflictError(
                f"run {self.name} was deleted there and changed here since, so it is not sent again. Delete it here, "
                f"too, with %lagom delete {self._root.name}; or move {self._root} into another LAGOM_HOME to keep it"
            )
        return there

    def _ahead(self, there: Mapping[str, RemoteFile]) -> Ahead:
        theirs, journal = there.get(JOURNAL), self._root / JOURNAL
        if theirs is None:
            return Ahead.OURS
        if theirs.md5 and journal.exists() and theirs.md5 == md5_of(journal, theirs.size_bytes):
            return Ahead.OURS
        if not journal.exists():
            return Ahead.THEIRS
        with open(journal, "rb") as ours:
            for data in self.remote.chunks(f"{self.name}/{JOURNAL}"):
                mine = ours.read(len(data))
                if mine != data:
                    return Ahead.THEIRS if len(mine) < len(data) and data.startswith(mine) else Ahead.NEITHER
        return Ahead.OURS

    def _went_apart(self) -> ConflictError:
        return ConflictError(
            f"run {self.name} went on here and on another machine, so nothing of it is sent or overwritten. To take "
            f"that of the other, delete {self._root} and call `%lagom runs`; to keep this one too, move that folder "
            "into another LAGOM_HOME instead"
        )

    def _settle_notes(self, there: Collection[str]) -> None:
        """Send or fetch the tags and the note, whoever has changed them; who has none takes theirs."""
        ours, theirs = self._notes_here(), self._notes_there(there)
        if ours and theirs == self._alike.notes != ours:
            self.remote.put(self._root / NOTES, f"{self.name}/{NOTES}")
            self._alike.notes = ours
        elif ours in ("", theirs, self._alike.notes):
            self._take_notes(theirs)
        else:
            raise ConflictError(
                f"tags and note of run {self.name} were changed here and on another machine, so neither is "
                f"overwritten. To take those of the other, delete {self._root / NOTES} and call `%lagom runs`"
            )

    def _take_notes(self, theirs: str) -> None:
        if theirs != self._notes_here():
            if theirs:
                self._get(NOTES)
            else:
                (self._root / NOTES).unlink()
        self._alike.notes = theirs

    def _notes_here(self) -> str:
        return md5_of(self._root / NOTES) if self._has(NOTES) else ""

    def _notes_there(self, there: Collection[str]) -> str:
        return self.remote.md5_of(f"{self.name}/{NOTES}") if NOTES in there else ""

    # what others made

    def bring(self, is_wanted: Callable[[str], bool]) -> None:
        """Fetch what others made since, and what is missing here of the files that are wanted.

        A copy that gets files so is a partial one from then on: what it holds may be of others.

        Raises:
            RemoteError: when the place cannot be read.
        """
        there = self.remote.files(self.name)
        if not there:
            return
        ahead = self._ahead(there)
        is_quiet = not is_being_written(self._root)
        is_unchanged = is_quiet and not marker(self._root, "unsent").exists()
        try:
            if (is_quiet and ahead is Ahead.THEIRS) or (is_unchanged and ahead is Ahead.NEITHER):  # nothing can be lost
                self._take(there)
            elif ahead is not Ahead.OURS:
                return  # who sends finds out, and says so
            for path, theirs in there.items():
                if path != NOTES and is_wanted(path) and self._is_missing_or_older(path, theirs):
                    self._mark_partial()
                    self._get(path)
            if is_unchanged:
                self._take_columns(there)
            if is_unchanged and self._notes_here() in ("", self._alike.notes):
                self._take_notes(self._notes_there(there))
        finally:
            self._alike.save()

    def _is_missing_or_older(self, path: str, theirs: RemoteFile) -> bool:
        """Whether a file is not here, or is as it was fetched and another one there now."""
        stamp = stamp_of(self._root / path)
        if stamp is None:
            return not self._is_replaced(path)
        return stamp == self._alike.files.get(path) and stamp[0] != theirs.size_bytes and not self._is_ours(path)

    def may_lack_files(self) -> bool:
        """Whether files may be there that are not here: it was made elsewhere or tidied, or nothing is known of it."""
        known = [path for path in self._alike.files if not is_pickled(path)]
        return self._is_partial() or not known or any(not self._has(path) for path in known)

    def _take(self, there: Mapping[str, RemoteFile]) -> None:
        """Let the files here be as theirs; of those that were never here only what lists and tables need.

        The journal comes last: until then theirs is ahead, so that one who is cut off does it again.
        """
        self._mark_partial()
        for path, theirs in there.items():
            if path in (NOTES, JOURNAL) or is_pickled(path):
                continue
            is_other = self._has(path) and (self._root / path).stat().st_size != theirs.size_bytes
            if is_other or path in _SMALL or (is_small(path) and not self._has(path)):
                self._get(path)
        for path in [path for path in self._alike.files if is_small(path) and path not in there]:
            if stamp_of(self._root / path) == self._alike.files.pop(path):
                (self._root / path).unlink()
        self._take_columns(there)
        if JOURNAL in there:
            self._get(JOURNAL)

    def _take_columns(self, there: Collection[str]) -> None:
        """Let the columns of the HParams tab be theirs, where there are any here: TensorBoard shows the first ones."""
        ours, theirs = self._columns_here(), [path for path in there if _is_columns(path)]
        if ours and theirs:
            for path in theirs:
                if not self._has(path):
                    self._get(path)
            for path in ours - set(theirs):
                (self._root / path).unlink()
                self._alike.files.pop(path, None)

    def _columns_here(self) -> set[str]:
        return set(filter(_is_columns, self._paths_in(TENSORBOARD)))

    def _has(self, path: str) -> bool:
        return (self._root / path).exists()

    def _get(self, path: str) -> None:
        """Fetch one file, whole or not at all; none that would lie elsewhere."""
        if any(part in ("", ".", "..") or "\0" in part for part in path.split("/")):
            return
        target = self._root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{secrets.token_hex(8)}.part")  # another process may fetch the same file
        try:
            self.remote.get(f"{self.name}/{path}", part)
            os.rename(part, target)
        finally:
            part.unlink(missing_ok=True)
        stamp = stamp_of(target)
        if stamp is not None and path != NOTES:
            self._alike.files[path] = stamp


def was_fetched(run_dir: Path) -> bool:
    """Whether files of a run may have come from the place that LAGOM_HOME names by a URL, where others write, too."""
    return marker(run_dir.resolve(), "partial").exists()


def is_small(path: str) -> bool:
    """Whether lists and tables need a file of a run."""
    parts = path.split("/")
    is_further_source = len(parts) == 1 and path.startswith("source.") and path.endswith(".py")
    return (
        path in _SMALL or is_further_source or (len(parts) == 3 and parts[0] == "trials" and parts[2] == "trial.json")
    )


def _is_columns(path: str) -> bool:
    """Whether a file is that of the HParams tab's columns, of which a run that goes on writes another one."""
    folder, _, name = path.rpartition("/")
    return folder == TENSORBOARD and name.endswith(OWN_SUFFIX)


def is_pickled(path: str) -> bool:
    """Whether a file is of the pickled function, which would be run as ours, whoever put it there."""
    return path.split("/", maxsplit=1)[0] == _CALL
