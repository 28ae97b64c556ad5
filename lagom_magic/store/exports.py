"""Models that trials export, on their way into the registry: the driver's side of `model.export`.

`Exports` follows the facts and says when a trial has ended and all files of an export are there; `Registrar` then makes
the version, on the store's thread. Each attempt's exports count by themselves.
"""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import dataclass, field
from pathlib import Path

from lagom_magic.errors import StoreError
from lagom_magic.events.facts import Fact, FileStored, FilesUsed, ModelExported, RunEnded, TrialEnded, TrialStarted
from lagom_magic.store.layout import RunLayout
from lagom_magic.store.model_version import Details, Hashes, fingerprint_of
from lagom_magic.store.registry import add, mark_registered, names, versions, was_registered

#: Of how many exports that never arrived the notice tells by name.
_MAX_NAMED = 5


@dataclass(frozen=True, slots=True)
class Export:
    """An export whose files have all arrived.

    Attributes:
        ended: how its trial ended.
        used: files that the trial opened; None when it did not say.
        files: those below the export's folder.
        is_last: no later export of that attempt has the name.
        is_past: of a run that is resumed; it may be in the registry already.
    """

    fact: ModelExported
    ended: TrialEnded
    used: FilesUsed | None
    files: tuple[FileStored, ...]
    is_last: bool
    is_past: bool = False


@dataclass(slots=True)
class _Pending:
    """An export that is not whole yet."""

    fact: ModelExported
    #: Path → the file, of those below its folder.
    files: dict[str, FileStored] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        return len(self.files) >= max(1, self.fact.n_files)


@dataclass(slots=True)
class _Attempt:
    """What was heard of an attempt that has exported something."""

    pending: list[_Pending] = field(default_factory=list)
    used: FilesUsed | None = None
    ended: TrialEnded | None = None
    #: Name → its newest export.
    last_of: dict[str, ModelExported] = field(default_factory=dict)

    def take_whole(self, *, is_past: bool) -> list[Export]:
        """The exports that can be registered now; they are not pending any more."""
        if self.ended is None:
            return []
        whole = [one for one in self.pending if one.is_whole]
        self.pending = [one for one in self.pending if not one.is_whole]
        return [
            Export(
                one.fact,
                self.ended,
                self.used,
                tuple(one.files.values()),
                self.last_of[one.fact.name] is one.fact,
                is_past,
            )
            for one in whole
        ]


class Exports:
    """The exports of a run that are not in the registry yet."""

    def __init__(self) -> None:
        #: {(trial_id, attempt)}; only those with an export under way.
        self._attempts: dict[tuple[int, int], _Attempt] = {}

    def add(self, fact: Fact, *, is_past: bool = False) -> list[Export]:
        """The exports that are whole with this fact."""
        match fact:
            case FileStored() | FilesUsed() | TrialEnded():
                return self._go_on(fact, is_past)
            case ModelExported():
                attempt = self._attempts.setdefault((fact.trial_id, fact.attempt), _Attempt())
                attempt.pending.append(_Pending(fact))
                attempt.last_of[fact.name] = fact
            case TrialStarted():  # an attempt of a run that is resumed begins with nothing
                self._attempts.pop((fact.trial_id, fact.attempt), None)
            case RunEnded():  # what is not whole now was told of
                self._attempts.clear()
        return []

    def _go_on(self, fact: FileStored | FilesUsed | TrialEnded, is_past: bool) -> list[Export]:
        attempt = self._attempts.get((fact.trial_id, fact.attempt))
        if attempt is None:
            return []
        if isinstance(fact, FilesUsed):
            attempt.used = fact
            return []
        if isinstance(fact, TrialEnded):
            attempt.ended = fact
        else:
            owner = next((one for one in attempt.pending if fact.path.startswith(one.fact.folder + "/")), None)
            if owner is None:
                return []
            owner.files[fact.path] = fact
            if not owner.is_whole:
                return []
        whole = attempt.take_whole(is_past=is_past)
        if attempt.ended is not None and not attempt.pending:
            del self._attempts[fact.trial_id, fact.attempt]
        return whole

    def missing(self) -> str:
        """What to say at the end of the run of exports that never became whole; '' when there is nothing to say."""
        left = [one.fact for attempt in self._attempts.values() for one in attempt.pending]
        if not left:
            return ""
        named = ", ".join(f"{fact.name} of trial {fact.trial_id}" for fact in left[:_MAX_NAMED])
        more = f" and {len(left) - _MAX_NAMED:,} more" if len(left) > _MAX_NAMED else ""
        return f"Not in the model registry, because the trial did not end or files did not arrive: {named}{more}."


class Registrar:
    """Makes the versions of a run's exports."""

    def __init__(self, layout: RunLayout) -> None:
        self._layout = layout
        self._home = layout.root.parent.parent
        #: Model → fingerprints of the versions that the registry had when a past export was first asked for.
        self._versions: dict[str, set[str]] = {}

    def register(self, export: Export) -> None:
        """Make the version of an export; a past one may have, or have had, it already.

        Args:
            export: whole.

        Raises:
            ConfigError: a worker sent a name that cannot be.
            StoreError: when the registry cannot be written.
            OSError: as the file system reports it, when a file is gone.
        """
        fact, root = export.fact, self._layout.root
        trial_dir = self._layout.trial_dir(fact.trial_id, fact.attempt)
        inner = {file.path.removeprefix(fact.folder + "/"): file for file in export.files}
        hashes = {path: file.sha256 for path, file in inner.items()}
        if export.is_past and self._was_registered(fact, hashes):
            return

        def place(folder: Path) -> Details:
            for path, file in inner.items():
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                _link(trial_dir / file.path, target, trial_dir)
            return Details(
                metrics=fact.metrics or (export.ended.metrics if export.is_last else {}),
                description=fact.description,
                framework=fact.framework,
                signature=fact.signature,
                run={"id": root.name, "experiment": root.parent.name, "dir": str(root)},
                trial_id=fact.trial_id,
                attempt=fact.attempt,
                state=export.ended.state.value,
                folder=fact.folder,
                inputs=_inputs(export.used),
            )

        add(self._home, fact.name, place, hashes)

    def _was_registered(self, fact: ModelExported, hashes: Hashes) -> bool:
        fingerprint = fingerprint_of(self._layout.root.name, fact.trial_id, fact.attempt, fact.folder, hashes)
        if was_registered(self._home, fact.name, fingerprint):
            return True
        if fingerprint not in self._versions_of(fact.name):
            return False
        mark_registered(self._home, fact.name, fingerprint)  # by a killed driver, or an older lagom_magic
        return True

    def _versions_of(self, name: str) -> set[str]:
        if name not in self._versions:
            found = versions(self._home, name).versions if name in names(self._home) else ()
            self._versions[name] = {version.fingerprint for version in found}
        return self._versions[name]


def _inputs(used: FilesUsed | None) -> tuple[dict[str, object], ...]:
    """What the trial read; what it had written before is not among that."""
    return () if used is None else used.reads


def _link(path: Path, target: Path, trial_dir: Path) -> None:
    """The same file under another name where the file system can do that, else a copy.

    Raises:
        StoreError: when it is gone, is no regular file any more, or lies elsewhere.
        OSError: as the file system reports it.
    """
    try:
        is_within = path.resolve(strict=True).is_relative_to(trial_dir.resolve())
    except FileNotFoundError as error:
        raise StoreError(f"{path} is not there any more.") from error
    if not is_within or not stat.S_ISREG(path.lstat().st_mode):
        raise StoreError(f"{path} is no regular file of the trial any more.")
    try:
        os.link(path, target)
    except FileExistsError:  # nothing of anybody's is written over
        raise
    except OSError:  # another file system, one without hard links, or too many of them
        shutil.copy2(path, target, follow_symlinks=False)
