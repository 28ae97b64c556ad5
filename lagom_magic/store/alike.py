"""The files of a run in a working copy, and what of them was alike in the place that LAGOM_HOME names by a URL.

Kept beside the runs, in `.remote/`, for `run_copy.py`, which brings both together, and `mirror.py`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

logger = logging.getLogger("lagom_magic.store")

NOTES, JOURNAL = "notes.json", "events.jsonl"

#: (bytes, modification time in ns) of a file here.
Stamp = tuple[int, int]


class Alike:
    """What of a run was alike here and there when this machine last knew; kept in the home's `.remote/alike/`.

    Attributes:
        files: path → the file here, as it was then.
        notes: MD5 of notes.json as it was then; '' without one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.files: dict[str, Stamp] = {}
        self.notes = ""
        try:
            document = json.loads(path.read_bytes())
            self.files = {str(name): (int(size), int(time)) for name, (size, time) in document["files"].items()}
            self.notes = str(document["notes"])
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError, AttributeError) as error:  # then more is sent than need be
            logger.warning("%s is damaged (%s), and made anew", path, error)
        self._kept = (dict(self.files), self.notes)

    def save(self) -> None:
        """Keep it for the next process, if it is another one now."""
        now = (dict(self.files), self.notes)
        if now == self._kept:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        beside = self._path.with_name(f".{secrets.token_hex(8)}.part")
        try:
            beside.write_text(json.dumps({"files": self.files, "notes": self.notes}))
            os.replace(beside, self._path)
            self._kept = now
        finally:
            beside.unlink(missing_ok=True)


def marker(run_dir: Path, kind: str) -> Path:
    """The file that says something of a run.

    'unsent': it was changed here since it was sent; 'partial': it was made elsewhere and may lack files; 'alike': see
    `Alike`.
    """
    return run_dir.parent.parent / ".remote" / kind / f"{run_dir.parent.name}@{run_dir.name}"


def files_of(root: Path, folders: Iterable[str], is_recursive: bool) -> Iterator[tuple[str, Stamp]]:
    """Regular files that are whole, by their paths in `root`; no links, no pipes, and not the notes.

    A folder's journal is the first, so that others see soon who is ahead.
    """
    waiting = list(folders)
    while waiting:
        folder = waiting.pop()
        try:
            entries = sorted(os.scandir(root / folder), key=lambda entry: (entry.name != JOURNAL, entry.name))
        except (FileNotFoundError, NotADirectoryError):  # not yet, or no longer
            continue
        for entry in entries:
            if not folder and (entry.name.startswith(".") or entry.name == NOTES):
                continue  # locks, what is about to be something else, and what is settled by itself
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


def stamp_of(path: Path) -> Stamp | None:
    """Of a file as it is now; None when there is none."""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_size, status.st_mtime_ns


def md5_of(path: Path, n_bytes: int | None = None) -> str:
    """MD5 of a file as hex, or of its beginning; '' when it is shorter than that."""
    digest = hashlib.md5(usedforsecurity=False)
    left = path.stat().st_size if n_bytes is None else n_bytes
    with open(path, "rb") as file:
        while data := file.read(min(left, 1 << 20)):
            digest.update(data)
            left -= len(data)
    return "" if left else digest.hexdigest()
